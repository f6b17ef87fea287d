"""How tmux is called: which program, with which options and environment, and what its refusals mean.

Shared by ``pane`` (asynchronous, imported by every instance actor) and ``server`` (blocking, on the host). Imports the
standard library only. Promises: a client started this way never starts a server of its own, never carries a variable of
the calling process to tmux, and speaks UTF-8 whatever the locale.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from actors.errors import PaneGoneError, SettingsError, SocketGoneError, TerminalError

_SOCKET_PATH_LIMIT_BYTES = 107

CLIENT_ENVIRONMENT = {"LANG": "C.UTF-8", "TERM": "dumb"}
"""All that a client gets. No PATH on purpose: tmux gives a new pane the PATH of the client that opened it, not the one
of the server's environment. No TMUX either, so that nothing is looked up in the tmux around the caller."""

NO_SESSION = "no current target"
"""What tmux says to a command about panes when the server has no session at all."""


def tmux_program() -> str:
    """The absolute path of tmux. Raises ``TerminalError`` when there is none."""
    program = shutil.which("tmux")
    if program is None:
        raise TerminalError(
            "tmux not found: install it with your system's package manager, for example apt-get install tmux"
        )
    return program


def client_command(socket: Path) -> tuple[str, ...]:
    """The words before the tmux command itself. ``-N``: a client must never bring up a server with its environment.

    Raises ``SettingsError`` for a socket path that no Unix socket can have, ``TerminalError`` without tmux.
    """
    check_socket_path(socket)
    return (tmux_program(), "-N", "-u", "-S", str(socket))


def check_socket_path(socket: Path) -> None:
    length_bytes = len(str(socket).encode())
    if length_bytes > _SOCKET_PATH_LIMIT_BYTES:
        raise SettingsError(
            f"the path of the tmux socket is too long for a Unix socket: {socket} has {length_bytes} bytes, at most "
            f"{_SOCKET_PATH_LIMIT_BYTES} are possible. Set PHALANX_HOME to a shorter path."
        )


def never_late(buffer: str = "phalanx-none") -> tuple[str, ...]:
    """The beginning of a chain that must not be carried out after its client was given up.

    A server that hung answers what waits on its socket when it wakes, though nobody wants it any more: a key would go
    into whatever the pane shows by then. Loading a buffer asks the client for the content, so the chain of a client
    that is gone ends here. A client whose standard input is empty loads nothing: then there is no buffer.
    """
    return ("load-buffer", "-b", buffer, "-", ";")


def content_file(content: bytes) -> int:
    """An open file in memory that holds ``content``.

    Not a pipe: when we are killed while we write into it, tmux would take its first part for the whole.
    """
    descriptor = os.memfd_create("phalanx")
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def refusal(stderr: str) -> TerminalError:
    """The error for what tmux wrote. ``PaneGoneError`` when there was nobody to give the command to, so that surely
    nothing of it happened."""
    said = stderr.strip()
    if "can't find pane" in said or said == NO_SESSION:
        return PaneGoneError(f"the pane is gone ({said}): its agent has to be started again")
    if said.startswith("error connecting") and "No such file" in said:
        return SocketGoneError(
            f"the tmux server's socket is gone ({said}): one that lives is told to make it, and phalanx up starts one"
        )
    if said.startswith("no server running"):
        again = "`phalanx up --resume` starts the agents again with their conversations"
        return PaneGoneError(f"the tmux server is gone with all its panes: {again}")
    return TerminalError(f"tmux refused: {said or 'it gave no reason'}")


def no_answer(timeout_s: float) -> TerminalError:
    return TerminalError(f"tmux did not answer within {timeout_s:g} s: its server hangs or the machine is overloaded")
