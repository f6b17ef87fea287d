"""A client's connection to the team's socket, and the state of one call over as many connections as it takes.

``SupervisorClient`` opens one ``GatewayConnection``, and another when it is lost. Calls run side by side; each is
answered by its id. For each call it keeps a ``RetryState``: whether the call may be repeated after a lost connection,
how long it may still take, and what to say when its outcome stays unknown. Time in which the team is away does not
count as the call's own, but is bounded too. All of it runs in one event loop.

Arguments are JSON. They may come from a model unchecked, so nothing here relies on their types.
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
from actors.versions import AS_INSTANCE
from supervisor.api.requests import MAX_WAIT_S
from supervisor.api.verbs import ProgressCallback, Verb

RETURN_PATIENCE_S = 60.0
"""How long a call waits at a time for a team that was lost: all of Ray may be on its way back."""
_SHORTEST_WAIT_S = 0.1
_OPEN_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_READ_AHEAD_BYTES = 1 << 20


class RequestNotSentError(ConnectionError):
    """The connection had ended before anything of the call was sent."""


class GatewayConnection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use ``open``."""
        self._reader = reader
        self._writer = writer
        self._ids = itertools.count(1)
        self._calls: dict[int, _Call] = {}
        self.team_version = ""
        """The gateway sends it before its first answer, an old gateway never; empty until then."""
        self.has_answered = False
        self._reading = asyncio.create_task(self._read(), name="answers of the gateway")

    @classmethod
    async def open(cls, socket: Path, hello: Mapping[str, str | int]) -> Self:
        """Raises ``OSError`` when the socket cannot be reached."""
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket, limit=_READ_AHEAD_BYTES)
        writer.write(pack({"hello": dict(hello)}))
        return cls(reader, writer)

    @property
    def closed(self) -> bool:
        return self._reading.done() or self._writer.is_closing()

    async def ended(self) -> None:
        """Returns when the connection has ended, on either side."""
        await asyncio.wait([self._reading])

    async def call(
        self,
        verb: Verb[Any, Any],
        params: Mapping[str, Any],
        on_progress: ProgressCallback,
        timeout_s: float,
        token: str | None = None,
    ) -> Any:
        """The result of the verb. ``token``: of the instance in whose name this is; None: the user's.

        Raises the ``PhalanxError`` of the answer, ``TimeoutError``, ``ConnectionError`` when the connection ends first
        (``RequestNotSentError`` when nothing was sent), and ``FrameError`` when the request cannot be sent. A timeout
        cancels the call in the supervisor only if the verb is read-only.
        """
        call_id = next(self._ids)
        named = {"verb": verb.name} if token is None else {"verb": AS_INSTANCE, "as": verb.name, "token": token}
        frame = pack({"id": call_id, **named, "params": params})
        call = _Call(answer=asyncio.get_running_loop().create_future(), on_progress=on_progress)
        self._calls[call_id] = call
        call.answer.add_done_callback(_retrieve_error)
        try:
            async with asyncio.timeout(timeout_s):
                self._write(frame)
                await self._writer.drain()
                return await call.answer
        except asyncio.CancelledError:
            self._cancel(call_id)
            raise
        except TimeoutError:
            if verb.read_only:
                self._cancel(call_id)
            raise
        finally:
            del self._calls[call_id]

    async def close(self) -> None:
        self._writer.close()
        self._reading.cancel()
        await asyncio.wait([self._reading])  # unlike the task itself, it only raises when the caller is cancelled
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
                self._handle(frame)
        except (FrameError, OSError) as error:
            reason = ConnectionResetError(str(error))
        finally:
            self._writer.close()
            for call in self._calls.values():
                if not call.answer.done():
                    call.answer.set_exception(reason)

    def _handle(self, frame: Mapping[str, Any]) -> None:
        self.has_answered = True
        call = self._calls.get(frame["id"])
        if call is None or call.answer.done():
            return
        if "progress" in frame:
            self._report_progress(call, frame["progress"])
        elif "error" in frame:
            call.answer.set_exception(from_wire(frame["error"]))
        else:
            call.answer.set_result(frame["result"])

    def _report_progress(self, call: _Call, progress: Mapping[str, Any]) -> None:
        """A callback that fails makes its own call fail; the others go on."""
        try:
            call.on_progress(progress["done"], progress["total"], progress["what"])
        except Exception as error:  # noqa: BLE001 - handed to the caller
            call.answer.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    answer: asyncio.Future[Any]
    on_progress: ProgressCallback


def _retrieve_error(answer: asyncio.Future[Any]) -> None:
    """When the connection ends during the write, both raise; asyncio must not complain about the second error."""
    if not answer.cancelled():
        answer.exception()


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
        """The arguments to send. A repeated call waits only for the rest of its time."""
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
        self.add_away_time(begun)

    def add_away_time(self, begun: float) -> None:
        """Counts the time since ``begun`` as time in which the team was away."""
        away_s = self._now() - begun
        if self.lost:
            self._away_left_s -= away_s
        self._deadline += away_s

    def lost_error(self) -> UnavailableError:
        return UnavailableError(f"The connection to the team was lost during {self.verb.name}. {advice(self.verb)}")


def completed(verb: Verb[Any, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with a request id, if the verb takes one, so that the call may be repeated. Also with the time that
    the call may wait, because the client's own limit follows from it."""
    fields = verb.request.model_fields
    added: dict[str, Any] = {}
    if "request_id" in fields and arguments.get("requestId") is None:
        added["requestId"] = secrets.token_hex(16)
    if "timeout_seconds" in fields and "timeoutSeconds" not in arguments:
        added["timeoutSeconds"] = fields["timeout_seconds"].default
    return {**arguments, **added}


def waits_s(verb: Verb[Any, Any], arguments: Mapping[str, Any]) -> float:
    """How long the call asks the supervisor to wait for something."""
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
    count = len(members) if isinstance(members, list | str) else 1  # a list written as a text has more characters
    return verb.timeout_s + waits_s(verb, arguments) + verb.each_s * count


def advice(verb: Verb[Any, Any]) -> str:
    if verb.repeatable:
        return "Make the call again."
    return "Whether it took effect is not known: look with list what became of it before you make the call again."
