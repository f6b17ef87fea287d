"""A client as a lead has one: the official MCP client over stdio, to an entry that may be killed at any moment.

It makes its calls one after the other. When the entry dies, does not answer or answers with an error, the very same
call is made again, with the same ``requestId``, through a new entry if need be, until it has an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TextIO

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from tests.chaos.ledger import Ledger
from tests.chaos.plan import Call

_LOST = (MCPError, OSError, anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream)
_ANSWER_S = 45.0
"""A call that takes longer is given up and made again."""
_PATIENCE_S = 120.0
"""A call that is refused again and again is dropped after that time, and the ledger tells of it."""
_START_S = 30.0
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 1.0
_LOOK_EVERY_S = 1.0


class EntryLostError(Exception):
    """The entry has gone; whether it did what it was asked to is not known."""


@dataclass(slots=True, kw_only=True)
class LoadClient:
    """``begun_at``: loop time from which calls are due. ``under_way``: the tool that is just being called."""

    name: str
    entry: StdioServerParameters
    ledger: Ledger
    errors: TextIO
    begun_at: float = 0.0
    under_way: str = ""
    in_a_hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Once set, calls are made as soon as they can be."""
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every answer to a send; who waits for the next one clears it."""
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By request id."""

    async def run(self, calls: Iterable[Call], stop: asyncio.Event) -> None:
        """Returns when all calls have an answer and ``stop`` is set; looks at the team now and then meanwhile."""
        todo = deque(calls)
        while todo or not stop.is_set():
            try:
                await self._through_one_entry(todo, stop)
            except* (EntryLostError, TimeoutError, *_LOST) as lost:
                self.ledger.note("entry lost", client=self.name, why=[repr(each) for each in _leaves(lost)])
                await asyncio.sleep(_PAUSE_S)

    async def _through_one_entry(self, todo: deque[Call], stop: asyncio.Event) -> None:
        transport = stdio_client(self.entry, self.errors)
        async with Client(transport, read_timeout_seconds=_START_S) as client:
            self.ledger.note("entry", client=self.name)
            while todo:
                await _within(self.begun_at + todo[0].due_s - _now(), self.in_a_hurry)
                await self._until_answered(client, todo[0])
                todo.popleft()
            while not stop.is_set():
                await self._until_answered(client, Call(due_s=0, tool="list"))
                await _within(_LOOK_EVERY_S, stop)

    async def _until_answered(self, client: Client, call: Call) -> None:
        """A look at the team that is refused is not repeated: while it recovers there may be nothing to see.

        Raises ``EntryLostError``: then it is for the next entry to go on with this call.
        """
        deadline, pause_s = _now() + _PATIENCE_S, _PAUSE_S
        while (answer := await self._ask(client, call)) is None:
            if not call.arguments.get("requestId"):
                return
            if _now() > deadline:
                self.ledger.abandoned.append(f"{self.name}: {call.tool} {call.arguments.get('requestId', '')}")
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self._take(call, answer)

    async def _ask(self, client: Client, call: Call) -> dict[str, Any] | None:
        """None when it is to be asked again."""
        common = {"client": self.name, "tool": call.tool, "request": call.arguments.get("requestId", "")}
        self.ledger.note("call", **common, numbers=[letter.number for letter in call.letters])
        self.under_way = call.tool
        began = time.monotonic()
        try:
            async with asyncio.timeout(_ANSWER_S):
                result = await client.call_tool(call.tool, dict(call.arguments), read_timeout_seconds=2 * _ANSWER_S)
        except TimeoutError:
            self.ledger.note("no answer", **common)
            return None
        except _LOST as error:
            self.ledger.note("lost", **common, why=repr(error))
            raise EntryLostError(call.tool) from error
        finally:
            self.under_way = ""
        took_s = round(time.monotonic() - began, 3)
        if result.is_error:
            text = "".join(getattr(block, "text", "") for block in result.content)
            self.ledger.note("refused", **common, took_s=took_s, why=text)
            return None
        answer = result.structured_content or {}
        self.ledger.note("answer", **common, took_s=took_s, counts=answer.get("counts"))
        return answer

    def _take(self, call: Call, answer: dict[str, Any]) -> None:
        if request_id := call.arguments.get("requestId", ""):
            self.answers[request_id] = answer
        if call.letters:
            self.ledger.answered(call.letters, answer.get("results", [answer]))
            self.sent.set()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


async def _within(limit_s: float, event: asyncio.Event) -> None:
    """Returns when the event is set, at the latest after ``limit_s``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, limit_s)):
            await event.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
