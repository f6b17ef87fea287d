"""Git for a supervisor on the host's own machine, without Ray: a private socket, and a look of its own.

Looks whether known answers still hold, from any process on the machine where the repositories are.

The handle of this machine's host actor asks here first, so that an answer that holds needs no call of the actor. It
only looks, and never in the event loop: a file system that hangs costs threads of its own, and then every question goes
to the host as if nothing had been known.

A way of its own for git between a host's actor and the supervisor on the same machine: a private Unix socket.

A call through Ray costs each side more than most gits cost, and a batch makes many. ``GitServer`` is the host's end,
``GitClient`` the supervisor's. One connection carries one call at a time; several calls take several. Promises: a
connection ends with the process at its other end, so that nobody waits for one who has died; a call that was not sent
can be made in another way. Both ends run the same program, hence ``marshal``, which also keeps what answers share.

The values of git as plain ones, for the way between a host's actor and the supervisor on its machine.
"""

from __future__ import annotations

import asyncio
import marshal
import struct
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from actors.concurrency import TaskSet
from actors.errors import from_wire
from actors.git.fingerprint import Fingerprinter, Parts
from actors.git.layout import find_place
from actors.git.model import (
    READS,
    WRITES,
    Fingerprint,
    GitRequest,
    GitResponse,
    Operation,
    ReadStatus,
    RepositoryPaths,
    failed,
)
from actors.git.tree_watch import TreeWatcher
from actors.sockets import listen

_THREADS = 2
"""Looks at once; others wait for their turn. While all hang, what comes is asked of the host, which has more."""
_PATIENCE_S = 2.0
_MOST_LEARNT = 500
_Given = TypeVar("_Given")
_Seen = TypeVar("_Seen")


class LocalValidator:
    """``environment`` is the one that git runs in. All in one event loop."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._watch = Fingerprinter(environment)
        self._tree_watcher = TreeWatcher()
        self._ignored: OrderedDict[Path, frozenset[str]] = OrderedDict()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="near look")
        self._looking: dict[Future[Any], float] = {}

    async def read(
        self, asked: Sequence[GitRequest], ask_host: Callable[[Sequence[GitRequest]], Awaitable[Sequence[GitResponse]]]
    ) -> tuple[GitResponse, ...]:
        """What holds from here, the rest from the host."""
        seen = await self._seen(asked)
        left = [each for each in seen if isinstance(each, GitRequest)]
        read = await ask_host(left) if left else ()
        learnt = [(each, outcome) for each, outcome in zip(left, read, strict=True) if self._learns(each, outcome)]
        if learnt:
            await self._in_thread(self._narrow, learnt, None)
        told = iter(read)
        return tuple(next(told) if isinstance(each, GitRequest) else each for each in seen)

    async def _seen(self, asked: Sequence[GitRequest]) -> list[GitResponse | GitRequest]:
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

    def _learns(self, asked: GitRequest, outcome: GitResponse) -> bool:
        """Whether the host's answer tells that more or less is ignored than was known here."""
        if outcome.ignored is None or outcome.ignored == self._ignored.get(asked.directory, frozenset()):
            return False
        self._ignored[asked.directory] = outcome.ignored
        if len(self._ignored) > _MOST_LEARNT:
            self._ignored.popitem(last=False)
        return True

    def _narrow(self, learnt: Sequence[tuple[GitRequest, GitResponse]]) -> None:
        for asked, outcome in learnt:
            place = find_place(asked.directory) if asked.guard is not None else None
            if place is not None and asked.guard is not None and outcome.ignored is not None:
                self._tree_watcher.narrow(str(place.top), asked.guard, outcome.ignored)

    def _look(self, asked: Sequence[GitRequest]) -> list[GitResponse | GitRequest]:
        parts: Parts = {}
        return [self._looked_at(each, parts) for each in asked]

    def _looked_at(self, asked: GitRequest, parts: Parts) -> GitResponse | GitRequest:
        begun = time.monotonic()
        try:
            place = find_place(asked.directory)
            if place is None:
                return replace(asked, known=None)
            if asked.known is not None and self._holds(place, asked.known, parts):
                return GitResponse(unchanged=True, took_s=time.monotonic() - begun)
            return replace(asked, known=None, guard=self._guarded(place, asked))
        except OSError:
            return replace(asked, known=None)  # whatever is wrong there is for the host to tell

    def _holds(self, place: RepositoryPaths, fingerprint: Fingerprint, parts: Parts) -> bool:
        guarded = fingerprint.guard is None or self._tree_watcher.holds(
            str(place.top), fingerprint.guard, fingerprint.ignored
        )
        return guarded and self._watch.holds(place, fingerprint, parts)

    def _guarded(self, place: RepositoryPaths, asked: GitRequest) -> int | None:
        if place.top is None or not _is_status(asked):
            return None
        return self._tree_watcher.begin(str(place.top), self._ignored.get(asked.directory, frozenset()))


def _is_status(asked: GitRequest) -> bool:
    return isinstance(asked.operation, ReadStatus)


_LENGTH = struct.Struct(">Q")
_READ_AHEAD_BYTES = 1 << 20
_MOST_IDLE = 8
"""Connections that are kept for the next calls."""
_STOP_S = 5.0
_WRITE_S = 30.0
_Answers = Mapping[str, Callable[[Any], Awaitable[Any]]]


class GitCallNotSentError(Exception):
    """Nobody has heard of the call."""


class GitServer:
    """``answers``: by the name of a call what makes its answer. All in one event loop."""

    def __init__(self, socket: Path, answers: _Answers) -> None:
        self._socket = socket
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._callers = TaskSet("a caller of git")

    async def start(self) -> None:
        """Raises ``SettingsError`` when there can be no socket."""
        listener = listen(self._socket)
        self._inode = self._socket.stat().st_ino
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=_READ_AHEAD_BYTES)

    async def stop(self) -> None:
        """What runs goes on to its end, and nobody is told. No-op when not started."""
        if self._server is not None:
            self._server.close()
            self._server = None
            with suppress(FileNotFoundError):
                if self._socket.stat().st_ino == self._inode:  # it may be a successor's
                    self._socket.unlink()
        await self._callers.end(within_s=_STOP_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._callers.begin(self._answer_all(reader, writer))

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                while True:
                    name, given = await _receive(reader)
                    _send(writer, await self._answer(name, given))
                    async with asyncio.timeout(_WRITE_S):
                        await writer.drain()
        finally:
            writer.close()

    async def _answer(self, name: str, given: Any) -> tuple[Any, Any]:
        """The answer and None, or None and the error."""
        try:
            return await self._answers[name](given), None
        except Exception as error:  # noqa: BLE001 - the other end must hear of it
            return None, dict(failed(error).error or {})


class GitClient:
    """All in one event loop."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def call(self, name: str, given: Any) -> Any:
        """Raises ``GitCallNotSentError``, ``ConnectionError`` when the other end went away before it answered, and what
        it raised. A call that is cut off, in time or otherwise, is done to its end."""
        reader, writer = await self._connected()
        is_whole = False
        try:
            _send(writer, (name, given))
            try:
                answer, error = await _receive(reader)
            except asyncio.IncompleteReadError as cut:
                raise ConnectionResetError from cut
            is_whole = True
        finally:
            if is_whole and len(self._idle) < _MOST_IDLE:
                self._idle.append((reader, writer))
            else:
                writer.transport.abort()
        if error is not None:
            raise from_wire(error)
        return answer

    def close(self) -> None:
        """Lets go of the connections that are kept; a later call opens one."""
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        await asyncio.sleep(0)  # an end that has come is only seen in the loop's turn
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.transport.abort()
        try:
            return await asyncio.open_unix_connection(self._socket, limit=_READ_AHEAD_BYTES)
        except OSError as error:
            raise GitCallNotSentError from error


def _send(writer: asyncio.StreamWriter, what: Any) -> None:
    content = marshal.dumps(what)
    writer.write(_LENGTH.pack(len(content)) + content)


async def _receive(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return marshal.loads(await reader.readexactly(length))  # noqa: S302 - from nobody but the other end


_KINDS = {kind.__name__: kind for kind in (*READS, *WRITES)}


def plain_request(asked: GitRequest) -> tuple[Any, ...]:
    known = plain_fingerprint(asked.known)
    return str(asked.directory), plain_operation(asked.operation), known, asked.guard


def request_of(plain: tuple[Any, ...]) -> GitRequest:
    directory, operation, known, guard = plain
    return GitRequest(
        directory=Path(directory), operation=operation_of(operation), known=fingerprint_of(known), guard=guard
    )


def plain_operation(operation: Operation) -> tuple[Any, ...]:
    kind = type(operation)
    return kind.__name__, *(getattr(operation, name) for name in kind.__slots__)


def operation_of(plain: tuple[Any, ...]) -> Operation:
    kind: Any = _KINDS[plain[0]]
    operation: Operation = kind(**dict(zip(kind.__slots__, plain[1:], strict=True)))
    return operation


def plain_fingerprint(fingerprint: Fingerprint | None) -> tuple[Any, ...] | None:
    return (
        None
        if fingerprint is None
        else (fingerprint.digest, fingerprint.watched, fingerprint.ignored, fingerprint.guard)
    )


def fingerprint_of(plain: tuple[Any, ...] | None) -> Fingerprint | None:
    if plain is None:
        return None
    digest, watched, ignored, guard = plain
    return Fingerprint(digest=digest, watched=watched, ignored=ignored, guard=guard)


def plain_response(outcome: GitResponse | None) -> tuple[Any, ...] | None:
    if outcome is None:
        return None
    error = None if outcome.error is None else dict(outcome.error)
    result = None if outcome.result is None else dict(outcome.result)
    fingerprint = plain_fingerprint(outcome.fingerprint)
    return result, error, fingerprint, outcome.unchanged, outcome.ignored, outcome.retries, outcome.took_s


def response_of(plain: tuple[Any, ...] | None) -> GitResponse | None:
    if plain is None:
        return None
    result, error, fingerprint, unchanged, ignored, retries, took_s = plain
    return GitResponse(
        result=result,
        error=error,
        fingerprint=fingerprint_of(fingerprint),
        unchanged=unchanged,
        ignored=ignored,
        retries=retries,
        took_s=took_s,
    )
