"""libtmux over our way of calling tmux.

libtmux starts each tmux process without a time limit and with the whole environment of the caller: a server that hangs
would hold a thread for ever, and TMUX or PATH of the caller would reach tmux. Its commands go through ``Server.cmd``,
which this module replaces; its listings (``Server.sessions`` and the like) do not, and are not used here. The server is
spoken to directly, because to start a process from one as large as the host's takes longer than what tmux then does;
tmux's own program is used for a server of another protocol.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import libtmux
from libtmux.common import tmux_cmd

from actors.errors import TerminalError
from actors.terminal.answer import Answer
from actors.terminal.blocking_client import ask
from actors.terminal.command import CLIENT_ENVIRONMENT, client_command, no_answer
from actors.terminal.frames import FrameError, OtherProtocolError


class BoundedServer(libtmux.Server):
    """A ``libtmux.Server`` whose ``cmd`` raises ``TerminalError`` when tmux does not answer within ``timeout_s``."""

    def __init__(self, socket: Path, timeout_s: float) -> None:
        super().__init__(socket_path=socket)
        self._socket = socket
        self._timeout_s = timeout_s

    def cmd(self, cmd: str, *args: Any, target: str | int | None = None) -> tmux_cmd:
        addressed = () if target is None else ("-t", str(target))
        return self.run((cmd, *addressed, *map(str, args)), Path("/"))

    def run(self, words: Sequence[str], cwd: Path) -> tmux_cmd:
        """Runs one command (or a chain) by a client that works in ``cwd``, which becomes the directory of a new pane.
        Unlike ``-c DIRECTORY`` this way takes any name: tmux expands formats, even ``#(command)``, in the option."""
        command = [*client_command(self._socket), *words]
        try:
            return _Answer(command, ask(self._socket, tuple(words), cwd, self._timeout_s))
        except OtherProtocolError:
            return _Answer(command, _run_program(command, cwd, self._timeout_s))
        except (FrameError, ValueError) as error:
            raise TerminalError(f"tmux could not be called: {error}") from error


class _Answer(tmux_cmd):
    """What libtmux reads of a tmux process that has ended; its own constructor, which starts one, is not used."""

    def __init__(self, command: list[str], answer: Answer) -> None:
        self.cmd = command
        self.returncode = answer.status
        self.stdout = _lines(answer.output)
        self.stderr = _lines(answer.errors)


def _run_program(command: Sequence[str], cwd: Path, timeout_s: float) -> Answer:
    try:
        ended = subprocess.run(
            command,
            cwd=cwd,
            env=CLIENT_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise no_answer(timeout_s) from None
    except (OSError, ValueError) as error:
        raise TerminalError(f"tmux could not be started: {error}") from error
    return Answer(status=ended.returncode, output=ended.stdout, errors=ended.stderr)


def _lines(output: bytes) -> list[str]:
    return [line for line in output.decode(errors="replace").split("\n") if line]
