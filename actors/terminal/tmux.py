"""Running one chain of tmux commands and reading what it prints.

Used by ``pane``. The server is spoken to directly, because starting tmux's own program for each chain is what a message
would mostly cost; the program is used when the server speaks another protocol than ``dialogue`` or says what that does
not know. Promises: no chain is given to tmux twice. Standard library only.
"""

from __future__ import annotations

import logging
from pathlib import Path

from actors.errors import TerminalError
from actors.terminal.answer import Answer
from actors.terminal.command import client_command, refusal
from actors.terminal.frames import FrameError, OtherProtocolError
from actors.terminal.process_client import ProcessClient
from actors.terminal.socket_client import SocketClient

logger = logging.getLogger(__name__)


class Tmux:
    """Runs commands against the server on one socket. Holds no connection; may be shared and used concurrently.

    A program that is started inherits the open files ``inherited``; see ``ProcessClient``.
    """

    def __init__(self, socket: Path, timeout_s: float = 10.0, inherited: tuple[int, ...] = ()) -> None:
        self._program = ProcessClient(client_command(socket), timeout_s, inherited)
        self._client: SocketClient | ProcessClient = SocketClient(socket, timeout_s)
        self.socket = socket

    async def run(self, *args: str, stdin: bytes | None = None) -> str:
        """What the command printed. ``;`` as an argument of its own separates commands; the first that fails ends all.

        Raises ``PaneGoneError`` for a pane or server that is not there, ``TerminalError`` for all else.
        """
        answer = await self._ask(args, stdin)
        if answer.status:
            raise refusal(answer.errors.decode(errors="replace"))
        return answer.output.decode(errors="replace")

    async def _ask(self, command: tuple[str, ...], content: bytes | None) -> Answer:
        try:
            return await self._client.ask(command, content)
        except OtherProtocolError as error:
            self.call_the_program(f"its server speaks another protocol ({error})")
            return await self._client.ask(command, content)
        except FrameError as error:
            self.call_the_program(f"its server sent {error}")
            # But not this chain again: how far it came is not known.
            raise TerminalError(f"tmux did not answer: its server sent {error}") from error

    def call_the_program(self, reason: str) -> None:
        """From now on tmux's own program is started for each chain."""
        logger.warning("tmux's own program is used, which takes longer: %s", reason)
        self._client = self._program
