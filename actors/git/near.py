"""Looks whether known answers still hold, from any process on the machine where the repositories are.

The handle of this machine's host actor asks here first, so that an answer that holds needs no call of the actor. It
only looks, and never in the event loop: a file system that hangs costs threads of its own, and then every question goes
to the host as if nothing had been known.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from actors.git.guards import Guards
from actors.git.places import find_place
from actors.git.sight import Parts
from actors.git.values import Asked, Outcome, Place, Proof, ReadStatus
from actors.git.watching import Watch

_THREADS = 2
"""Looks at once; others wait for their turn. While all hang, what comes is asked of the host, which has more."""
_PATIENCE_S = 2.0
_MOST_LEARNT = 500
_Given = TypeVar("_Given")
_Seen = TypeVar("_Seen")


class NearLook:
    """``environment`` is the one that git runs in. All in one event loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._watch = Watch(environment)
        self._guards = Guards()
        self._ignored: OrderedDict[Path, frozenset[str]] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="near look")
        self._looking: dict[Future[Any], float] = {}

    async def read(
        self, asked: Sequence[Asked], ask_host: Callable[[Sequence[Asked]], Awaitable[Sequence[Outcome]]]
    ) -> tuple[Outcome, ...]:
        """What holds from here, the rest from the host."""
        seen = await self._seen(asked)
        left = [each for each in seen if isinstance(each, Asked)]
        read = await ask_host(left) if left else ()
        learnt = [(each, outcome) for each, outcome in zip(left, read, strict=True) if self._learns(each, outcome)]
        if learnt:
            await self._in_thread(self._narrow, learnt, None)
        told = iter(read)
        return tuple(next(told) if isinstance(each, Asked) else each for each in seen)

    async def _seen(self, asked: Sequence[Asked]) -> list[Outcome | Asked]:
        """In the place of each whose known answer holds, that outcome; of the others what to ask the host."""
        if not any(each.known or _is_status(each) for each in asked):
            return list(asked)
        return await self._in_thread(self._look, asked, list(asked))

    async def _in_thread(self, look: Callable[[_Given], _Seen], given: _Given, otherwise: _Seen) -> _Seen:
        """``otherwise`` when all threads hang or it takes too long."""
        now = asyncio.get_running_loop().time()
        self._looking = {each: since for each, since in self._looking.items() if not each.done()}
        hanging = sum(each.running() and now - since > _PATIENCE_S for each, since in self._looking.items())
        if hanging >= _THREADS:
            return otherwise
        looking = self._threads.submit(look, given)
        self._looking[looking] = now
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await asyncio.wrap_future(looking)
        except TimeoutError:
            return otherwise

    def _learns(self, asked: Asked, outcome: Outcome) -> bool:
        """Whether the host's answer tells that more or less is ignored than was known here."""
        if outcome.ignored is None or outcome.ignored == self._ignored.get(asked.directory, frozenset()):
            return False
        self._ignored[asked.directory] = outcome.ignored
        if len(self._ignored) > _MOST_LEARNT:
            self._ignored.popitem(last=False)
        return True

    def _narrow(self, learnt: Sequence[tuple[Asked, Outcome]]) -> None:
        for asked, outcome in learnt:
            place = find_place(asked.directory) if asked.guard is not None else None
            if place is not None and asked.guard is not None and outcome.ignored is not None:
                self._guards.narrow(str(place.top), asked.guard, outcome.ignored)

    def _look(self, asked: Sequence[Asked]) -> list[Outcome | Asked]:
        parts: Parts = {}
        return [self._looked_at(each, parts) for each in asked]

    def _looked_at(self, asked: Asked, parts: Parts) -> Outcome | Asked:
        begun = time.monotonic()
        try:
            place = find_place(asked.directory)
            if place is None:
                return replace(asked, known=None)
            if asked.known is not None and self._holds(place, asked.known, parts):
                return Outcome(unchanged=True, took_s=time.monotonic() - begun)
            return replace(asked, known=None, guard=self._guarded(place, asked))
        except OSError:
            return replace(asked, known=None)  # whatever is wrong there is for the host to tell

    def _holds(self, place: Place, proof: Proof, parts: Parts) -> bool:
        guarded = proof.guard is None or self._guards.holds(str(place.top), proof.guard, proof.ignored)
        return guarded and self._watch.holds(place, proof, parts)

    def _guarded(self, place: Place, asked: Asked) -> int | None:
        if place.top is None or not _is_status(asked):
            return None
        return self._guards.begin(str(place.top), self._ignored.get(asked.directory, frozenset()))


def _is_status(asked: Asked) -> bool:
    return isinstance(asked.operation, ReadStatus)
