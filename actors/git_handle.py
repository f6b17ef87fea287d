"""How the supervisor has a host's actor work with git: near by a way of its own where there is one, else through Ray.

``HostHandle`` makes one. Of a call whose answer was lost on the way of its own the same is true as of one through Ray:
what only looks is asked again, of the rest the outcome is not known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from actors.errors import UnavailableError
from actors.git.local import GitWay, NearLook, NotSentError, asked_of, outcome_of, plain_asked, plain_outcome
from actors.git.model import READ_S, WRITE_S, Asked, Outcome, Place
from actors.ray_client import ActorAwayError, answer_of, answer_when_back

_LOOK_S = 30.0
_FRESH_S = 0.5
"""A host that has answered so lately is taken to be there, and not asked for that before something is written."""
_Write = Callable[[Sequence[Asked]], Awaitable[Sequence[Outcome | None]]]


class GitHandle:
    def __init__(self, actor: Any, near: NearLook | None, way: GitWay | None) -> None:
        """``near`` and ``way``: to the host of this machine, whose repositories this process can look at itself."""
        self._actor = actor
        self._near = near
        self._way = way
        self._answered_at = -_FRESH_S

    def close(self) -> None:
        """The host is released."""
        if self._way is not None:
            self._way.close()

    async def places(self, directories: Sequence[Path]) -> tuple[Place | None, ...]:
        places: tuple[Place | None, ...] = await answer_when_back(
            lambda: self._actor.git_places.remote(directories), "The host", _LOOK_S
        )
        return places

    async def read(self, asked: Sequence[Asked]) -> tuple[Outcome, ...]:
        return await self._near.read(asked, self._read) if self._near else await self._read(asked)

    async def _read(self, asked: Sequence[Asked]) -> tuple[Outcome, ...]:
        limit_s = _LOOK_S + READ_S * len(asked)
        try:
            told = await self._by_own_way("read", asked, limit_s)
        except (NotSentError, ConnectionError):
            told = await answer_when_back(lambda: self._actor.git_read.remote(asked), "The host", limit_s)
            self._answered_at = asyncio.get_running_loop().time()
        return tuple(told)

    async def write(self, asked: Sequence[Asked]) -> tuple[Outcome | None, ...]:
        try:
            return tuple(await self._by_own_way("write", asked, WRITE_S))
        except NotSentError:
            return await self._write_through_ray(asked)
        except ConnectionError as error:
            raise ActorAwayError("The host is not running just now: try again.") from error

    async def _write_through_ray(self, asked: Sequence[Asked]) -> tuple[Outcome | None, ...]:
        if asyncio.get_running_loop().time() - self._answered_at > _FRESH_S:
            await answer_when_back(self._actor.name.remote, "The host", _LOOK_S)
        done: tuple[Outcome | None, ...] = await answer_of(self._actor.git_write.remote(asked), "The host", WRITE_S)
        self._answered_at = asyncio.get_running_loop().time()
        return done

    async def _by_own_way(self, what: str, asked: Sequence[Asked], limit_s: float) -> list[Any]:
        """Raises ``NotSentError`` and ``ConnectionError``."""
        if self._way is None:
            raise NotSentError
        try:
            async with asyncio.timeout(limit_s):
                told = await self._way.call(what, list(map(plain_asked, asked)))
        except TimeoutError:
            raise UnavailableError(f"The host did not answer within {limit_s:.0f} s: try again.") from None
        return list(map(outcome_of, told))


def own_way_of(read: _Write, write: _Write) -> dict[str, Callable[[Any], Awaitable[Any]]]:
    """What the host's end of the way answers."""

    def answering(work: _Write) -> Callable[[Any], Awaitable[Any]]:
        async def answer(given: Any) -> Any:
            return list(map(plain_outcome, await work(tuple(map(asked_of, given)))))

        return answer

    return {"read": answering(read), "write": answering(write)}
