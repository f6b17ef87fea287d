"""libtmux over our way of running tmux.

libtmux starts each tmux process without a time limit and with the whole environment of the caller: a server that hangs
would hold a thread for ever, and TMUX or PATH of the caller would reach tmux. Its commands go through ``Server.cmd``,
which this module replaces; its listings (``Server.sessions`` and the like) do not, and are not used here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import libtmux
from libtmux.common import tmux_cmd

from actors.errors import TerminalError
from actors.terminal.command import CLIENT_ENVIRONMENT, client_command, no_answer


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
        return _Answer(client_command(self._socket), words, cwd, self._timeout_s)


class _Answer(tmux_cmd):
    """What libtmux reads of a tmux process that has ended; its own constructor, which starts one, is not used."""

    def __init__(self, client: Sequence[str], words: Sequence[str], cwd: Path, timeout_s: float) -> None:
        self.cmd = [*client, *words]
        try:
            ended = subprocess.run(
                self.cmd,
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
        self.returncode = ended.returncode
        self.stdout = _lines(ended.stdout)
        self.stderr = _lines(ended.stderr)


def _lines(output: bytes) -> list[str]:
    return [line for line in output.decode(errors="replace").split("\n") if line]
