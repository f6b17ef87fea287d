"""A tmux client in control mode, for bursts of commands: one process for many, at a tenth of the cost of one each.

Owned by the ``Pane`` of an instance's actor. It is started by the first command and ends when none came for
``LINGER_S``, so an idle instance has none. It attaches to the pane's session in a way that changes nothing there (no
size, no environment, no pane is chosen) and gets no output of the agent. When it cannot be had, the caller does the
same with a process for each command.

A server that hung reads what stands in the client's input when it wakes, though the client was given up by then. So
what types begins with a buffer that tmux loads from a file of a name of its own, which exists only while the caller
waits: without it the chain ends there. What a killed actor has left of such files its successor removes before it asks
tmux anything, so it need not wait for the end of the other's client.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from actors.errors import TerminalError
from actors.terminal.command import CLIENT_ENVIRONMENT, client_command, no_answer, refusal
from actors.terminal.control_text import Answer, Reader, question
from actors.terminal.paste_names import paste_name
from actors.terminal.tmux import Tmux

LINGER_S = 2.0
_REAP_S = 5.0
_ATTACH = ("-C", "attach-session", "-E", "-f", "no-output,ignore-size", "-t")
_CONTENT_SUFFIX = ".content"
_NO_BUFFER = "no buffer"
_Found = TypeVar("_Found")


class ControlUnavailableError(TerminalError):
    """There is no such client now, and nothing was asked of one."""


class ControlClient:
    """All in one event loop. Commands are carried out one after the other."""

    def __init__(self, tmux: Tmux, pane_id: str, directory: Path) -> None:
        """``directory`` is private to the instance, and nobody else types for it: the caller holds its lock."""
        self._command = client_command(tmux.socket)
        self._pane_id = pane_id
        self._directory = directory
        self._tmux = tmux
        self._asking = asyncio.Lock()
        self._client: _Client | None = None
        self._dropped: set[_Client] = set()
        self._farewell: asyncio.TimerHandle | None = None
        # tmux expands formats in the name of a file that it loads.
        self._usable = "#" not in str(directory)
        for left in directory.glob(f"*{_CONTENT_SUFFIX}"):
            left.unlink(missing_ok=True)

    async def ask(self, *words: str) -> str:
        """As ``Tmux.run``. Raises ``ControlUnavailableError`` when nothing was asked, so that another way may be
        taken."""
        if not self._usable:
            raise ControlUnavailableError("tmux cannot be spoken to in control mode here")
        self._stay()
        done = False
        try:
            async with asyncio.timeout(self._tmux.timeout_s), self._asking:
                answer = await (await self._attached()).ask(words)
            done = True
        except TimeoutError:
            raise no_answer(self._tmux.timeout_s) from None
        finally:
            if not done:
                self._drop()
        self._leave_later()
        if answer.error:
            raise refusal(answer.error)
        return answer.text

    async def type(self, buffer: str, content: bytes, *words: str) -> str:
        """As ``ask``, with ``content`` (if any) in ``buffer``; nothing of it is done once the caller waits no more."""
        with self._content(content or b"-") as path:
            kept = () if content else ("delete-buffer", "-b", buffer, ";")
            try:
                return await self.ask("load-buffer", "-b", buffer, path, ";", *kept, *words)
            except TerminalError as error:
                if _NO_BUFFER not in str(error):
                    raise
        self._usable = False
        raise ControlUnavailableError("tmux cannot read the files of this instance")

    async def close(self) -> None:
        """Returns when no process of ours is left; a later command starts another."""
        self._drop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REAP_S):
                for client in tuple(self._dropped):
                    await client.reaped.wait()

    def _drop(self) -> None:
        """Kills the client; the event loop reaps it."""
        self._stay()
        self._dropped = {client for client in self._dropped if not client.reaped.is_set()}
        if self._client is not None:
            self._client.close()
            self._dropped.add(self._client)
            self._client = None

    def _stay(self) -> None:
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None

    def _leave_later(self) -> None:
        self._stay()
        self._farewell = asyncio.get_running_loop().call_later(LINGER_S, self._leave)

    def _leave(self) -> None:
        if self._asking.locked():
            self._leave_later()
        else:
            self._drop()

    @contextlib.contextmanager
    def _content(self, content: bytes) -> Iterator[str]:
        path = self._directory / f"{paste_name()}{_CONTENT_SUFFIX}"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise ControlUnavailableError(f"{path} cannot be written: {error.strerror}") from error
        try:
            yield str(path)
        finally:
            path.unlink(missing_ok=True)

    async def _attached(self) -> _Client:
        if self._client is None or self._client.ended:
            session = await self._tmux.run("display-message", "-p", "-t", self._pane_id, "#{session_id}")
            self._client = await _start((*self._command, *_ATTACH, session.strip()))
            if not await self._client.attached():
                raise ControlUnavailableError("tmux did not let a control client attach")
        return self._client


async def _start(command: Sequence[str]) -> _Client:
    loop = asyncio.get_running_loop()
    printed, prints = os.pipe()
    reader = os.fdopen(printed, "rb", buffering=0)
    try:
        # It has both ends of what it prints to: tmux lets no client go to which it cannot write, as when we are killed.
        transport, client = await loop.subprocess_exec(
            _Client,
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=prints,
            stderr=asyncio.subprocess.DEVNULL,
            env=CLIENT_ENVIRONMENT,
            pass_fds=(printed,),
        )
    except OSError as error:
        reader.close()
        raise ControlUnavailableError(f"tmux could not be started: {error}") from error
    finally:
        os.close(prints)
    client.transport = transport
    client.printed, _ = await loop.connect_read_pipe(lambda: _Printed(client), reader)
    return client


class _Client(asyncio.SubprocessProtocol):
    """One such process. ``close`` kills it if it still runs; the event loop reaps it."""

    transport: asyncio.SubprocessTransport
    printed: asyncio.ReadTransport | None = None

    def __init__(self) -> None:
        self.ended = False
        self.reaped = asyncio.Event()
        self._reader = Reader()
        self._news: asyncio.Future[None] | None = None

    def take_in(self, data: bytes) -> None:
        self._reader.feed(data)
        self._tell()

    def process_exited(self) -> None:
        self.close()
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.reaped.set()

    def close(self) -> None:
        self.ended = True
        self.transport.close()
        if self.printed is not None:
            self.printed.close()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def attached(self) -> bool:
        return await self._until(self._reader.attached) is True

    async def ask(self, words: Sequence[str]) -> Answer:
        """Raises ``TerminalError`` when the client ends before it has told what came of it."""
        mark = paste_name()
        lines = question(words, mark)
        stdin = self.transport.get_pipe_transport(0)
        if not isinstance(stdin, asyncio.WriteTransport) or stdin.is_closing():
            raise ControlUnavailableError("the control client has just ended")
        stdin.write(lines)
        answer = await self._until(lambda: self._reader.take(mark))
        if answer is None:
            raise TerminalError("the tmux client ended before it told what came of a command")
        return answer

    async def _until(self, find: Callable[[], _Found | None]) -> _Found | None:
        """What is found, or None when the client ends without it."""
        while (found := find()) is None and not self.ended:
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return found


class _Printed(asyncio.Protocol):
    """What one client prints."""

    def __init__(self, client: _Client) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.take_in(data)
