"""A client's connection to the team's socket, and one call over as many connections as it takes.

``SupervisorClient`` opens one ``GatewayConnection``, and another when it is lost: calls run side by side, each answered
by its id. It keeps a ``RetryState`` for each call, which knows whether the call may be made again after a lost
connection, how long it may still take, and what to tell when its outcome stays unknown. Time in which the team was away
does not count as the call's own, but is bounded too. All in one event loop.

Arguments are JSON, as they are sent. They may come from a model unchecked, so nothing here relies on their types.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from actors.errors import UnavailableError, from_wire
from actors.sockets import FrameError, pack, read_frame
from supervisor.api.requests import MAX_WAIT_S
from supervisor.api.verbs import ProgressCallback, Verb

RETURN_PATIENCE_S = 60.0
"""How long a call waits at once for a team that was lost: somebody may be bringing back all of Ray."""
_SHORTEST_WAIT_S = 0.1


def completed(verb: Verb[Any, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with a request id, where the verb takes one, so that it may be made twice. They also say how
    long the call may wait, since the client waits for the answer by that."""
    fields = verb.request.model_fields
    added: dict[str, Any] = {}
    if "request_id" in fields and arguments.get("requestId") is None:
        added["requestId"] = secrets.token_hex(16)
    if "timeout_seconds" in fields and "timeoutSeconds" not in arguments:
        added["timeoutSeconds"] = fields["timeout_seconds"].default
    return {**arguments, **added}


def advice(verb: Verb[Any, Any]) -> str:
    if verb.repeatable:
        return "Make the call again."
    return "Whether it took effect is not known: look with list what became of it before you make the call again."


def waits_s(verb: Verb[Any, Any], arguments: Mapping[str, Any]) -> float:
    """How long the supervisor may take over it because it was asked to wait for something."""
    fields = verb.request.model_fields
    if "timeout_seconds" not in fields:
        return 0.0
    if "wait" in fields and not arguments.get("wait", fields["wait"].default):
        return 0.0
    try:
        return max(0.0, min(MAX_WAIT_S, float(arguments["timeoutSeconds"])))
    except (KeyError, TypeError, ValueError, OverflowError):
        return float(fields["timeout_seconds"].default)


def limit_s(verb: Verb[Any, Any], arguments: Mapping[str, Any]) -> float:
    """How long the client waits for the answer."""
    members = arguments.get(verb.members)
    many = len(members) if isinstance(members, list | str) else 1  # a list that was written as a text is longer still
    return verb.timeout_s + waits_s(verb, arguments) + verb.each_s * many


class RetryState:
    def __init__(
        self, verb: Verb[Any, Any], arguments: Mapping[str, Any], now: Callable[[], float] = time.monotonic
    ) -> None:
        self.verb = verb
        self._arguments = completed(verb, arguments)
        self.limit_s = limit_s(verb, self._arguments)
        """How long the call may take while the team is there."""
        self._now = now
        self._deadline = now() + self.limit_s
        self._away_left_s = max(RETURN_PATIENCE_S, self.limit_s)
        self.lost = False
        """A connection was lost since the call began."""
        self.may_have_taken_effect = False

    @property
    def left_s(self) -> float:
        return max(0.0, self._deadline - self._now())

    @property
    def patience_s(self) -> float:
        """How long to wait now for a team that was lost."""
        return min(RETURN_PATIENCE_S, self._away_left_s)

    @property
    def may_be_repeated(self) -> bool:
        known = self.verb.repeatable or "requestId" in self._arguments
        return (known or not self.may_have_taken_effect) and self.patience_s > 0

    def params(self) -> dict[str, Any]:
        """What is sent. A call that waits for something waits, when it is made again, only for what is left of it."""
        if self.lost and (wanted_s := waits_s(self.verb, self._arguments)):
            left_s = max(_SHORTEST_WAIT_S, wanted_s - (self.limit_s - self.left_s))
            return {**self._arguments, "timeoutSeconds": left_s}
        return self._arguments

    def connection_lost(self, *, was_sent: bool) -> None:
        self.lost = True
        self.may_have_taken_effect |= was_sent and not self.verb.repeatable

    @contextmanager
    def waiting_for_the_team(self) -> Iterator[None]:
        begun = self._now()
        yield
        self.was_sent_away(begun)

    def was_sent_away(self, begun: float) -> None:
        """Since ``begun`` the team was waited for."""
        away_s = self._now() - begun
        if self.lost:
            self._away_left_s -= away_s
        self._deadline += away_s

    def lost_error(self) -> UnavailableError:
        return UnavailableError(f"The connection to the team was lost during {self.verb.name}. {advice(self.verb)}")


_OPEN_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_READ_AHEAD_BYTES = 1 << 20


class RequestNotSentError(ConnectionError):
    """The connection had ended before anything of the call was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    answer: asyncio.Future[Any]
    on_progress: ProgressCallback


class GatewayConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use ``open``."""
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self.team_version = ""
        """Empty until the gateway has said it, which it does before its first answer; one of before says none."""
        self.has_answered = False
        self._reading = asyncio.create_task(self._read(), name="answers of the gateway")

    @classmethod
    async def open(cls, socket: Path, hello: Mapping[str, str | int]) -> Self:
        """Raises ``OSError`` when it cannot be reached."""
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_READ_AHEAD_BYTES)
        writer.write(pack({"hello": dict(hello)}))
        return cls(reader, writer)

    @property
    def closed(self) -> bool:
        return self._reading.done() or self._writer.is_closing()

    async def ended(self) -> None:
        """Returns when the connection has ended, whoever ended it."""
        await asyncio.wait([self._reading])

    async def call(
        self, verb: Verb[Any, Any], params: Mapping[str, Any], on_progress: ProgressCallback, timeout_s: float
    ) -> Any:
        """The result of the verb.

        Raises the ``PhalanxError`` that came instead, ``TimeoutError``, ``ConnectionError`` when the connection ends
        first (``RequestNotSentError`` when nothing was sent), and ``FrameError`` when the request cannot be sent. After
        a timeout only a looking verb is cancelled.
        """
        call_id = next(self._ids)
        frame = pack({"id": call_id, "verb": verb.name, "params": params})
        call = _Call(answer=asyncio.get_running_loop().create_future(), on_progress=on_progress)
        self._calls[call_id] = call
        call.answer.add_done_callback(_noticed)
        try:
            async with asyncio.timeout(timeout_s):
                self._write(frame)
                await self._writer.drain()
                return await call.answer
        except asyncio.CancelledError:
            self._cancel(call_id)
            raise
        except TimeoutError:
            if verb.looks:
                self._cancel(call_id)
            raise
        finally:
            del self._calls[call_id]

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])  # which, unlike the task itself, only raises when the caller is cancelled
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()

    def _write(self, data: bytes) -> None:
        if self.closed:
            raise RequestNotSentError
        self._writer.write(data)

    def _cancel(self, call_id: int) -> None:
        with suppress(ConnectionError):
            self._write(pack({"cancel": call_id}))

    async def _read(self) -> None:
        reason: Exception = ConnectionResetError("the connection ended")
        try:
            while (frame := await read_frame(self._reader)) is not None:
                if "hello" in frame:
                    self.team_version = str(frame["hello"].get("version", ""))
                    continue
                if "id" not in frame:
                    reason = from_wire(frame["error"])
                    break
                self._take(frame)
        except (FrameError, OSError) as error:
            reason = ConnectionResetError(str(error))
        finally:
            self._writer.close()
            for call in self._calls.values():
                if not call.answer.done():
                    call.answer.set_exception(reason)

    def _take(self, frame: Mapping[str, Any]) -> None:
        self.has_answered = True
        call = self._calls.get(frame["id"])
        if call is None or call.answer.done():
            return
        if "progress" in frame:
            self._tell(call, frame["progress"])
        elif "error" in frame:
            call.answer.set_exception(from_wire(frame["error"]))
        else:
            call.answer.set_result(frame["result"])

    def _tell(self, call: _Call, progress: Mapping[str, Any]) -> None:
        """A caller whose callback fails learns it from its own call; the others go on."""
        try:
            call.on_progress(progress["done"], progress["total"], progress["what"])
        except Exception as error:  # noqa: BLE001 - handed to the caller
            call.answer.set_exception(error)


def _noticed(answer: asyncio.Future[Any]) -> None:
    """A connection that ends while the request is still being written fails both: the second is no news."""
    if not answer.cancelled():
        answer.exception()
