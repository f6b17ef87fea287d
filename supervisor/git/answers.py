"""The reads of all callers: what is the same is asked once, what waits together goes together, answers are kept.

Only a question that was not yet put may be shared: one that is under way may have looked before something that the
later caller has seen already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from actors.git.values import Asked, Outcome, Read
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


class Answers:
    """All in the supervisor's event loop."""

    def __init__(self, host: GitPort, permits: Permits, cache: AnswerCache, figures: GitFigures) -> None:
        self._host = host
        self._permits = permits
        self._cache = cache
        self._figures = figures
        self._waiting: dict[_Key, asyncio.Future[Answer]] = {}
        self._askers: set[asyncio.Task[None]] = set()
        self._about_to_take = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def answer(self, directory: Path, read: Read) -> Answer:
        """Raises ``UnavailableError`` when the host does not answer."""
        key = (directory, read)
        answer = self._waiting.get(key)
        if answer is None:
            answer = self._waiting[key] = asyncio.get_running_loop().create_future()
            self._begin_asking()
        else:
            self._figures.shared += 1
        return await asyncio.shield(answer)

    async def end(self) -> None:
        for task in self._askers:
            task.cancel()
        for answer in self._waiting.values():
            answer.cancel()
        await asyncio.gather(*self._askers, return_exceptions=True)

    def _begin_asking(self) -> None:
        if self._about_to_take >= min(self._permits.limit, len(self._waiting)):
            return
        self._about_to_take += 1
        task = asyncio.create_task(self._ask_in_turn(), name="git reads")
        self._askers.add(task)
        task.add_done_callback(self._askers.discard)

    async def _ask_in_turn(self) -> None:
        async with self._permits.hold():
            taken = self._take()
            self._about_to_take -= 1
            if not self._about_to_take:
                self._begin_asking()
            if taken:
                await self._ask(taken)

    def _take(self) -> dict[_Key, asyncio.Future[Answer]]:
        """This asker's share of what waits; those who gave up waiting are left out."""
        for key in [key for key, answer in self._waiting.items() if answer.cancelled()]:
            del self._waiting[key]
        share = min(MOST_TOGETHER, ceil(len(self._waiting) / self._about_to_take))
        return {key: self._waiting.pop(key) for key in list(self._waiting)[:share]}

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
