"""The server of the team's socket: a Unix socket of mode 0600 on this machine that speaks frames.

The supervisor's actor starts one ``Gateway``; ``SupervisorClient`` is the other end. The gateway makes a
``ClientConnection`` for each client, which reads its calls, checks them, runs them side by side and writes the answers.
This is the trust border: requests are checked here, and nowhere before.

Promises: only the user can connect. The socket of a gateway that answers is never taken over, a stale one is. Clients
do not disturb each other. A call that fails is answered and touches no other call. A bad frame ends its connection
only. A client that does not read its answers is disconnected after ``WRITE_TIMEOUT_S`` and holds at most
``MAX_CLIENT_CALLS`` answers until then. The instances of a host share one client, but not its limit: each has its own.
When a client goes away, calls that only look are cancelled; calls that change something run to their end.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.concurrency import TaskSet
from actors.errors import InvalidRequestError, TooManyCallsError, UnavailableError, VersionError, to_wire
from actors.sockets import FrameError, check_is_socket, is_answered, listen, pack, read_frame
from actors.versions import AS_INSTANCE, PROTOCOL, RENEW, check_protocol
from supervisor.api.requests import Request
from supervisor.api.results import Result, public_error
from supervisor.api.validation import parse
from supervisor.api.verbs import VERBS, Caller, Dispatcher
from supervisor.versions import VERSION

logger = logging.getLogger(__name__)
EVERY_S = 0.05
"""The shortest time between two progress frames of a call."""
MAX_CALLS = 256
"""Calls that run at the same time: of one client, or of one instance that calls through it."""
MAX_CLIENT_CALLS = 4096
"""Of one client with all instances that call through it."""
HELLO_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 30.0
_CLOSE_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 5.0
_READ_AHEAD_BYTES = 1 << 20
"""A connection is read up to twice this ahead, beside the frame in hand."""
_VERSION_CHARACTERS = 40
_SENDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Gateway:
    """Call ``start`` and ``stop`` in the event loop in which the verbs run."""

    def __init__(self, socket: Path, verbs: Dispatcher) -> None:
        self._socket = socket
        self._verbs = verbs
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._clients = TaskSet("client")
        self._connections: set[ClientConnection] = set()

    async def start(self) -> None:
        """Returns when clients can connect.

        Raises ``UnavailableError`` when another gateway answers on the socket, ``SettingsError`` when the path is not
        that of a socket.
        """
        check_is_socket(self._socket)
        if await is_answered(self._socket):
            raise UnavailableError(f"Another supervisor answers on {self._socket}: `phalanx down` ends it.")
        listener = listen(self._socket)
        self._inode = self._socket.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_READ_AHEAD_BYTES)

    async def stop(self) -> None:
        """Disconnects all clients, cancels their calls and removes the socket. No-op when not started."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with suppress(FileNotFoundError):
            if self._socket.stat().st_ino == self._inode:
                self._socket.unlink()
        await self._clients.end(within_s=_STOP_TIMEOUT_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = ClientConnection(reader, writer, self._verbs, self._clients.keep)
        self._clients.begin(self._until_gone(connection))

    async def _until_gone(self, connection: ClientConnection) -> None:
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)

    @property
    def warning(self) -> str:
        """For people; empty while all clients are of the version that the team runs."""
        others = sorted({each.version for each in self._connections} - {"", VERSION})
        if not others:
            return ""
        return (
            f"Clients of Phalanx {', '.join(others)} are connected, and the team runs {VERSION}: features of the newer "
            f"version do not work. {RENEW}"
        )


class ClientConnection:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        verbs: Dispatcher,
        keep: Callable[[asyncio.Task[None]], None],
    ) -> None:
        """``keep`` keeps a call that outlives its connection."""
        self._reader = reader
        self._writer = writer
        self._verbs = verbs
        self._keep = keep
        self._calls: dict[int, tuple[str, asyncio.Task[None]]] = {}
        self._running: Counter[str | None] = Counter()
        """The number of calls by token."""
        self._writing = asyncio.Lock()
        self._name = secrets.token_hex(8)
        self.version = ""
        """The client's; empty until its hello."""

    async def serve(self) -> None:
        """Returns when the client is gone or was refused."""
        try:
            hello = await self._hello()
            self.version = hello.version
            if hello.expects_answer:
                await self._write(pack({"hello": {"version": VERSION, "protocol": PROTOCOL}}))
            await self._read_calls(hello)
        except (FrameError, InvalidRequestError) as error:
            logger.warning("a client is refused: %s", error)
            with suppress(ConnectionError):
                await self._write(pack({"error": to_wire(error)}))
        except ConnectionError:
            pass
        finally:
            for verb, task in self._calls.values():
                if verb in VERBS and VERBS[verb].read_only:
                    task.cancel()
            await self._close()

    async def _hello(self) -> _Hello:
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                frame = await read_frame(self._reader)
        except TimeoutError:
            raise FrameError(f"no hello came within {HELLO_TIMEOUT_S:.0f} s") from None
        if frame is None:
            raise ConnectionResetError
        hello = frame.get("hello")
        if not isinstance(hello, dict):
            raise FrameError("the first frame of a connection must be a hello")
        sender = hello.get("sender")
        if not isinstance(sender, str) or not _SENDER.fullmatch(sender):
            raise InvalidRequestError(
                f"The sender cannot be {str(sender)[:80]!r}: up to 64 letters, digits, '_', '.' and '-', "
                "beginning with a letter or digit."
            )
        protocol = hello.get("protocol", 1)
        directory = hello.get("directory")
        return _Hello(
            sender=sender,
            version=str(hello.get("version", ""))[:_VERSION_CHARACTERS],
            protocol=protocol if isinstance(protocol, int) else 0,
            directory=directory if isinstance(directory, str) else "",
            expects_answer="protocol" in hello,
        )

    async def _read_calls(self, hello: _Hello) -> None:
        refusal = _refusal(hello)
        while (frame := await read_frame(self._reader)) is not None:
            if "cancel" in frame:
                self._cancel(frame["cancel"])
                continue
            call_id, verb = frame.get("id"), _verb_of(frame)
            if not isinstance(call_id, int) or not isinstance(verb, str) or call_id in self._calls:
                raise FrameError("a frame is neither a call with a new id nor a cancel")
            token = frame.get("token")
            if token is not None and not isinstance(token, str):
                raise FrameError("the token of a call is no text")
            if (refused := refusal or self._too_many(token)) is not None:
                await self._write(pack({"id": call_id, "error": to_wire(refused)}))
                continue
            self._begin(call_id, verb, frame.get("params", {}), hello, token)

    def _too_many(self, token: str | None) -> TooManyCallsError | None:
        if self._running[token] >= MAX_CALLS:
            whose = "client" if token is None else "instance"
            return TooManyCallsError(f"{MAX_CALLS} calls of this {whose} run already: wait for some of them.")
        if len(self._calls) >= MAX_CLIENT_CALLS:
            return TooManyCallsError(f"{MAX_CLIENT_CALLS} calls run already: make the call again in a moment.")
        return None

    def _cancel(self, call_id: Any) -> None:
        """A cancelled call gets no answer: its client does not wait for one."""
        if isinstance(call_id, int) and call_id in self._calls:
            self._calls[call_id][1].cancel()

    def _begin(self, call_id: int, verb: str, params: Any, hello: _Hello, token: str | None) -> None:
        task = asyncio.create_task(self._run(call_id, verb, params, hello, token), name=f"call {verb}")
        self._calls[call_id] = (verb, task)
        self._running[token] += 1
        task.add_done_callback(lambda _: self._ended(call_id, token))
        self._keep(task)

    def _ended(self, call_id: int, token: str | None) -> None:
        del self._calls[call_id]
        self._running[token] -= 1
        if not self._running[token]:
            del self._running[token]

    async def _run(self, call_id: int, verb: str, params: Any, hello: _Hello, token: str | None) -> None:
        progress = Progress(call_id, self._writer)
        caller = Caller(
            sender=hello.sender,
            token=token,
            client=self._name,
            directory=hello.directory,
            progress=progress.tell,
        )
        try:
            answer = pack({"id": call_id, **await self._answer(verb, params, caller)})
        except FrameError as error:
            answer = pack({"id": call_id, "error": to_wire(FrameError(f"The answer of {verb}: {error}"))})
        finally:
            last_progress = progress.finish()
        with suppress(ConnectionError):
            await self._write(last_progress + answer)

    async def _answer(self, verb: str, params: Any, caller: Caller) -> Mapping[str, Any]:
        try:
            result = await self._result(verb, self._request(verb, params), caller)
            return {"result": result.model_dump(mode="json", by_alias=True)}
        except Exception as error:  # noqa: BLE001 - told and logged
            return {"error": to_wire(public_error(error, verb))}

    def _request(self, verb: str, params: Any) -> Request:
        """Raises ``InvalidRequestError``, with both versions when they differ: the client may know more arguments."""
        try:
            return parse(_request_type(verb), params)
        except InvalidRequestError as error:
            if self.version in ("", VERSION):
                raise
            words = f"This client is Phalanx {self.version}, the team runs {VERSION}. {RENEW}"
            raise InvalidRequestError(f"{error}\n{words}") from None

    async def _result(self, verb: str, request: Request, caller: Caller) -> Result:
        try:
            return await self._verbs.call(verb, request, caller)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RuntimeError("something that the call awaits was cancelled") from error

    async def _write(self, data: bytes) -> None:
        """Raises ``ConnectionError`` when the client is gone or does not read."""
        async with self._writing:
            if self._writer.is_closing():
                raise ConnectionResetError
            self._writer.write(data)
            try:
                async with asyncio.timeout(WRITE_TIMEOUT_S):
                    await self._writer.drain()
            except TimeoutError:
                logger.warning("a client that does not read its answers is disconnected")
                self._writer.transport.abort()
                raise ConnectionResetError from None

    async def _close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._writer.wait_closed()
        self._writer.transport.abort()


@dataclass(frozen=True, slots=True)
class _Hello:
    """The first frame of a client."""

    sender: str
    version: str
    protocol: int
    directory: str
    """The client's working directory; empty when it is not known."""
    expects_answer: bool
    """Clients from before protocols had numbers take an answer for an error."""


def _verb_of(frame: Mapping[str, Any]) -> Any:
    """The name of the verb. A token comes with ``AS_INSTANCE`` only, and that with a token only."""
    verb, token = frame.get("verb"), frame.get("token")
    if (verb == AS_INSTANCE) is not (token is not None):
        return None
    return frame.get("as") if verb == AS_INSTANCE else verb


def _refusal(hello: _Hello) -> VersionError | None:
    """The answer to each call of a client with a protocol that this version does not speak."""
    try:
        theirs = f"this client (Phalanx {hello.version or 'of an unknown version'})"
        check_protocol(hello.protocol, f"the team (Phalanx {VERSION})", theirs)
    except VersionError as error:
        return error
    return None


def _request_type(verb: str) -> type[Request]:
    if verb not in VERBS:
        raise InvalidRequestError(f"There is no verb {verb[:80]!r}. Known are: {', '.join(VERBS)}.")
    request: type[Request] = VERBS[verb].request
    return request


class Progress:
    """Sends the progress of one call to the client: the newest report, at most every ``EVERY_S``, and the last one.

    Faster reports replace each other. None is written while the client has not read the one before, so progress takes
    no memory however slowly the client reads.
    """

    def __init__(self, call_id: int, writer: asyncio.StreamWriter) -> None:
        self._call_id = call_id
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._unsent: tuple[int, int, str] | None = None
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, done: int, total: int, what: str) -> None:
        """A ``ProgressCallback``."""
        self._unsent = (done, total, what)
        if self._timer is None:
            self._timer = self._loop.call_at(self._next_at, self._send)

    def finish(self) -> bytes:
        """The frame of the last report if it is not sent yet. The caller writes it before the answer."""
        if self._timer is not None:
            self._timer.cancel()
        return self._packed()

    def _send(self) -> None:
        self._next_at = self._loop.time() + EVERY_S
        self._timer = None
        if self._writer.transport.get_write_buffer_size() > 0:
            self._timer = self._loop.call_at(self._next_at, self._send)
        elif not self._writer.is_closing():
            self._writer.write(self._packed())
            self._unsent = None

    def _packed(self) -> bytes:
        if self._unsent is None:
            return b""
        done, total, what = self._unsent
        return pack({"id": self._call_id, "progress": {"done": done, "total": total, "what": what}})
