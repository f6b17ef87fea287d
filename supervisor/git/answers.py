"""The reads of all callers: what is the same is asked once, what waits together goes together, answers are kept.

Only a question that was not yet put may be shared: one that is under way may have looked before something that the
later caller has seen already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from actors.concurrency import Background
from actors.git.values import Asked, ListRefs, Outcome, Read
from supervisor.git.cache import AnswerCache, Kept
from supervisor.git.figures import GitFigures
from supervisor.git.settling import settle, settle_error
from supervisor.permits import Permits
from supervisor.ports import GitPort

MOST_TOGETHER = 16
"""Reads that a host does one after another under one permit, before others have their turn."""
_Key = tuple[Path, Read]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``cached``: an earlier result, of which the host has seen after the call that it still holds."""

    outcome: Outcome
    result: Mapping[str, Any] | None
    cached: bool = False


@dataclass(eq=False, slots=True)
class _Line:
    """What one caller waits for, and how many askers are about to take their share of it."""

    waiting: dict[_Key, asyncio.Future[Answer]] = field(default_factory=dict)
    about_to_take: int = 0


class Answers:
    """All in the supervisor's event loop. Callers take turns: who asks much does not keep out who asks little."""

    def __init__(self, host: GitPort, permits: Permits, cache: AnswerCache, figures: GitFigures) -> None:
        self._host = host
        self._permits = permits
        self._cache = cache
        self._figures = figures
        self._lines: dict[str, _Line] = {}
        self._line_of: dict[_Key, _Line] = {}
        self._askers = Background("git reads")

    @property
    def waiting(self) -> int:
        return len(self._line_of)

    async def answer(self, caller: str, directory: Path, read: Read) -> Answer:
        """Raises ``UnavailableError`` when the host does not answer."""
        key = (directory, read)
        line = self._lines.setdefault(caller, _Line())
        holder = self._line_of.get(key)
        if holder is None:
            line.waiting[key] = asyncio.get_running_loop().create_future()
            self._line_of[key] = line
        else:
            self._figures.shared += 1
            if len(line.waiting) < len(holder.waiting):
                line.waiting[key] = holder.waiting.pop(key)
                self._line_of[key] = line
        answer = self._line_of[key].waiting[key]
        self._begin_asking(caller, line)
        return await asyncio.shield(answer)

    async def end(self) -> None:
        for key, line in self._line_of.items():
            line.waiting[key].cancel()
        await self._askers.end()

    def _begin_asking(self, caller: str, line: _Line) -> None:
        if line.about_to_take < min(self._permits.limit, len(line.waiting)):
            line.about_to_take += 1
            self._askers.begin(self._ask_in_turn(caller, line))
        elif not line.about_to_take:
            self._lines.pop(caller, None)

    async def _ask_in_turn(self, caller: str, line: _Line) -> None:
        async with self._permits.hold(caller):
            share = min(MOST_TOGETHER, ceil(len(line.waiting) / line.about_to_take))
            taken = {key: line.waiting.pop(key) for key in _first(line.waiting, share)}
            for key in taken:
                del self._line_of[key]
            line.about_to_take -= 1
            if not line.about_to_take:
                self._begin_asking(caller, line)
            if taken:
                await self._ask(taken)

    async def _ask(self, taken: Mapping[_Key, asyncio.Future[Answer]]) -> None:
        kept = {key: self._cache.get(key) for key in taken}
        asked = [
            Asked(directory=key[0], operation=key[1], known=known.proof if known else None)
            for key, known in kept.items()
        ]
        try:
            outcomes = await self._host.git_read(asked)
        except Exception as error:  # noqa: BLE001 - handed to those who wait
            for answer in taken.values():
                settle_error(answer, error)
            return
        for (key, answer), outcome in zip(taken.items(), outcomes, strict=True):
            settle(answer, self._made(key, kept[key], outcome))

    def _made(self, key: _Key, known: Kept | None, outcome: Outcome) -> Answer:
        self._figures.count(outcome)
        if outcome.unchanged and known is not None:
            self._figures.looked_up(hit=True)
            return Answer(outcome=outcome, result=known.result, cached=True)
        self._figures.looked_up(hit=False)
        if outcome.proof is not None and outcome.result is not None:
            self._figures.evicted(self._cache.put(key, outcome.result, outcome.proof))
        else:
            self._cache.drop(key)
        return Answer(outcome=outcome, result=outcome.result)


def _first(waiting: Iterable[_Key], share: int) -> list[_Key]:
    """``share`` of those that wait. Lists go together, whatever their number: one git makes those of a repository."""
    first = list(islice(waiting, share))
    if any(isinstance(read, ListRefs) for _, read in first):
        first += (key for key in islice(waiting, share, None) if isinstance(key[1], ListRefs))
    return first
