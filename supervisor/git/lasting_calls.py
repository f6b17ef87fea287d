"""Calls of ``merge`` and ``sync``: each goes on when its caller goes away, and is done once.

git has begun by then, and those whose work it is are to be told. The outcome is stored under the call's request id, and
a repeated call gets it. If the supervisor died before that, the call looks anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from actors.concurrency import TaskSet
from supervisor.api.requests import Request
from supervisor.api.results import Result
from supervisor.rpc.idempotency import fingerprint
from supervisor.team.team import Team

_ResultT = TypeVar("_ResultT", bound=Result)


class LastingCalls:
    """Of one service, which also ends its other tasks with them."""

    def __init__(self, team: Team, what: str) -> None:
        self._team = team
        self._what = what
        self._tasks = TaskSet(what)

    def begin(self, work: Coroutine[Any, Any, object], name: str) -> None:
        """Runs beside the calls."""
        self._tasks.begin(work, name=name)

    async def end(self) -> None:
        await self._tasks.end()

    async def once(
        self, request: Request, request_id: str | None, kind: type[_ResultT], work: Callable[[], Awaitable[_ResultT]]
    ) -> _ResultT:
        idempotency, content = self._team.idempotency, fingerprint(request)

        async def done() -> _ResultT:
            result = await work()
            noted = idempotency.note(request_id, content, [result.model_dump(mode="json")])
            await self._team.save_noted(noted)
            idempotency.keep(noted)
            return result

        async def begun() -> _ResultT:
            earlier = idempotency.outcomes(request_id, content)
            if earlier is not None:
                return kind.model_validate(earlier[0])
            task = asyncio.create_task(done(), name=f"{self._what} {request_id}")
            self._tasks.keep(task)
            return await asyncio.shield(task)

        return await idempotency.once(request, request_id, begun)
