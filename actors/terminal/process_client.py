"""Calling tmux by its own program: a process for each chain of commands.

Used by ``tmux`` when the server cannot be spoken to directly. Owns the processes it starts: each is bounded by a
timeout, killed and reaped when the timeout passes or the caller is cancelled. Standard library only.
"""

from __future__ import annotations

import asyncio
import os

from actors.errors import TerminalError
from actors.terminal.answer import Answer
from actors.terminal.command import CLIENT_ENVIRONMENT, content_file, no_answer


class ProcessClient:
    """Every process inherits the open files ``inherited``: so a lock stays held as long as one of ours may still type,
    even when we are killed meanwhile."""

    def __init__(self, program: tuple[str, ...], timeout_s: float, inherited: tuple[int, ...]) -> None:
        self._program = program
        self._timeout_s = timeout_s
        self._inherited = inherited

    async def ask(self, command: tuple[str, ...], content: bytes | None) -> Answer:
        """Raises ``TerminalError`` when there is no answer, with the process ended and reaped in any case."""
        transport, client = await self._start(command, content)
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.ended.wait()
        except TimeoutError:
            raise no_answer(self._timeout_s) from None
        finally:
            transport.close()  # kills a process that still runs
            await client.ended.wait()
        status = transport.get_returncode() or 0
        return Answer(status=status, output=bytes(client.output), errors=bytes(client.errors))

    async def _start(
        self, command: tuple[str, ...], content: bytes | None
    ) -> tuple[asyncio.SubprocessTransport, _ClientProtocol]:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        stdin = nothing if content is None else content_file(content)
        try:
            return await asyncio.get_running_loop().subprocess_exec(
                _ClientProtocol,
                *self._program,
                *command,
                stdin=stdin,
                stdout=pipe,
                stderr=pipe,
                env=CLIENT_ENVIRONMENT,
                pass_fds=self._inherited,
            )
        except OSError as error:
            raise TerminalError(f"tmux could not be started: {error}") from error
        finally:
            if content is not None:
                os.close(stdin)


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
