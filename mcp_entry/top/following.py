"""The team's news as a view follows them: rows, and the screen of one instance. Each goes on for ever.

Between two answers a call waits in the supervisor, so nothing is asked while nothing happens. When the team does not
answer, an ``Away`` says why in words, and the next answer says that it is back. A refusal (an unknown instance, a
team that is too old to know the verb) is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from actors.backoff import Backoff
from actors.errors import TeamNotRunningError, UnavailableError
from supervisor.api.requests import ChangesRequest, ScreenRequest
from supervisor.api.results import ChangesResult, ScreenResult
from supervisor.rpc.client import SupervisorClient

POLL_S = 25.0
_RETRY = Backoff(first_s=0.2, longest_s=5.0)
_LOST = "The supervisor has gone away."
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Away:
    words: str


async def changes(client: SupervisorClient) -> AsyncGenerator[ChangesResult | Away, None]:
    cursor: str | None = None
    failures, wait_s = 0, 0.0
    while True:
        try:
            answer = await _while_connected(
                client, client.changes(ChangesRequest(cursor=cursor, timeout_seconds=wait_s))
            )
        except (TeamNotRunningError, UnavailableError) as error:
            yield Away(str(error))
            wait_s = 0.0  # a team that is back says so at once
            failures += 1
            await asyncio.sleep(_RETRY.pause_s(failures))
        else:
            cursor, failures, wait_s = answer.cursor, 0, POLL_S
            yield answer


async def screens(client: SupervisorClient, instance_id: str) -> AsyncGenerator[ScreenResult | Away, None]:
    """Each screen that differs from the one before. Raises ``PhalanxError`` for an instance that shows none."""
    version: str | None = None
    failures = 0
    while True:
        request = ScreenRequest(instance_id=instance_id, after=version, timeout_seconds=POLL_S)
        try:
            answer = await _while_connected(client, client.screen(request))
        except (TeamNotRunningError, UnavailableError) as error:
            yield Away(str(error))
            version = None
            failures += 1
            await asyncio.sleep(_RETRY.pause_s(failures))
        else:
            failures = 0
            if answer.version != version:
                version = answer.version
                yield answer


async def _while_connected(client: SupervisorClient, call: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    """The answer. Raises ``UnavailableError`` as soon as the connection that it was asked on has ended.

    The client itself would ask again, and tell nobody meanwhile that the team is away.
    """
    asked = asyncio.ensure_future(call)
    lost: asyncio.Future[None] | None = None
    try:
        if not client.closed:
            lost = asyncio.ensure_future(client.until_lost())
            await asyncio.wait({asked, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise UnavailableError(_LOST)
        return await asked
    finally:
        for task in (asked, lost):
            if task is not None:
                task.cancel()
        await asyncio.gather(asked, *([lost] if lost else []), return_exceptions=True)
