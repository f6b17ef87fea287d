"""Running one tmux client, a process for one chain of commands, and reading what it prints.

Owns the clients it starts: each is bounded by a timeout, killed and reaped when the timeout passes or the caller is
cancelled. Used by ``pane``. Standard library only.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from actors.errors import TerminalError
from actors.terminal.command import CLIENT_ENVIRONMENT, client_command, content_file, no_answer, refusal


class Tmux:
    """Runs commands against the server on one socket. Holds no connection; may be shared and used concurrently.

    Every client inherits the open files ``inherited``: so a lock stays held as long as a client of ours may still type,
    even when we are killed meanwhile.
    """

    def __init__(self, socket: Path, timeout_s: float = 10.0, inherited: tuple[int, ...] = ()) -> None:
        self._command = client_command(socket)
        self.socket = socket
        self._timeout_s = timeout_s
        self._inherited = inherited

    async def run(self, *args: str, stdin: bytes | None = None) -> str:
        """What the command printed. ``;`` as an argument of its own separates commands; the first that fails ends all.

        Raises ``PaneGoneError`` for a pane or server that is not there, ``TerminalError`` for all else, with the
        client ended and reaped in any case.
        """
        transport, client = await self._start(args, stdin)
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.ended.wait()
        except TimeoutError:
            raise no_answer(self._timeout_s) from None
        finally:
            transport.close()  # kills a client that still runs
            await client.ended.wait()
        if transport.get_returncode():
            raise refusal(client.errors.decode(errors="replace"))
        return client.output.decode(errors="replace")

    async def _start(
        self, args: tuple[str, ...], stdin: bytes | None
    ) -> tuple[asyncio.SubprocessTransport, _ClientProtocol]:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        content = nothing if stdin is None else content_file(stdin)
        try:
            return await asyncio.get_running_loop().subprocess_exec(
                _ClientProtocol,
                *self._command,
                *args,
                stdin=content,
                stdout=pipe,
                stderr=pipe,
                env=CLIENT_ENVIRONMENT,
                pass_fds=self._inherited,
            )
        except OSError as error:
            raise TerminalError(f"tmux could not be started: {error}") from error
        finally:
            if stdin is not None:
                os.close(content)


class _ClientProtocol(asyncio.SubprocessProtocol):
    """Gathers what one client prints. ``ended`` is set when it is reaped and its pipes are closed.

    Not ``asyncio.subprocess.Process``: a client hands its standard files on to the server, so the pipes of a killed
    client have no end as long as the server hangs, and only the transports can close our side of them.
    """

    def __init__(self) -> None:
        self.output = bytearray()
        self.errors = bytearray()
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        received = self.output if fd == 1 else self.errors
        received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
