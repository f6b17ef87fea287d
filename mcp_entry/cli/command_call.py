"""Asks the command server of this home to run a command, and starts that server: the caller of ``command_server``.

``launch`` calls ``run`` before it loads anything else, because to load the command line takes longer than most commands
run. Only the standard library, and of that little.

Promises: what the server runs behaves as if it ran in this process, also at Ctrl-C, at the end of this process, and in
what a shell sees of it. A command runs once, here or there: ``run`` gives None only while nothing has begun. Neither
half ever talks to another user's process, to one of another version, or to one beyond the border of a container.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

from mcp_entry.launch import STOPPED

SERVED = ("status", "spawn", "send", "read", "list", "wait", "respond", "interrupt", "hosts", "perf")
"""Commands that ask the team and leave the terminal to the user."""
COMPLETION = "_PHALANX_COMPLETE"
"""Set where a shell asks what could be typed next."""
SOCKET_NAME = "commands.sock"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib takes longer to load than all of this
_ENVIRONMENT_OF_HOME = "PHALANX_HOME"
_DEFAULT_HOME = "~/.phalanx"
_PATIENCE_S = 0.5
"""Longest wait for a server to take a command. One that is suspended must not be in the way."""
_LENGTH_BYTES = 4
_OF_THIS_PROCESS = ("/dev/", "/proc/")
"""An argument with such a path means a file that only this process has, such as ``<(...)`` of a shell."""


def run(arguments: Sequence[str]) -> int | None:
    """The exit status of ``phalanx`` with these arguments (the first is the program), as the command server ran it.

    None where no server takes it; then nothing was done.
    """
    if not is_served(arguments, os.environ):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.settimeout(_PATIENCE_S)
        try:
            server.connect(_socket_path(os.environ))
            if peer_of(server)[1] != os.geteuid():
                return None
            worker, seen_as, *program = receive(server)
            if seen_as != str(os.getpid()) or program != program_of(os.environ):
                return None
            server.settimeout(None)
            variables = [f"{name}={value}" for name, value in os.environ.items()]
            words = [os.getcwd(), str(len(arguments)), *arguments, *variables]  # noqa: PTH109 - as above
            send(server, words, files=(0, 1, 2))
        except (OSError, ValueError):
            return None
        return _status_from(server, int(worker))


def is_served(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    if any(path in word for word in arguments[1:] for path in _OF_THIS_PROCESS):
        return False
    return COMPLETION in environment or (len(arguments) > 1 and arguments[1] in SERVED)


def _status_from(server: socket.socket, worker: int) -> int:
    """Waits for the end of the worker, the process that runs the command. The first Ctrl-C ends the command, which may
    have words for it; a second one only this process."""

    def pass_on(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
        os.kill(worker, signal.SIGINT)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as it is in a shell's background
        signal.signal(signal.SIGINT, pass_on)
    try:
        (status,) = receive(server)
    except (OSError, ValueError):
        sys.stderr.write("The process that ran the command was ended from outside. What it had begun may be done.\n")
        return 1
    return int(status)


def start(arguments: Sequence[str]) -> None:
    """Starts the command server where a team runs and the command that was just run was one that it serves.

    Call it after a command has run here, because it loads more than ``run``. It never fails: a command without a server
    only takes longer.
    """
    if not is_served(arguments, os.environ) or not sys.platform.startswith("linux"):
        return
    import subprocess  # noqa: PLC0415 - the command that ran has loaded it

    from actors.home import home_from  # noqa: PLC0415 - ``launch`` checks first whether that package is ours
    from actors.marks import MARKS  # noqa: PLC0415 - likewise

    if MARKS & os.environ.keys() or not home_from(os.environ).gateway_socket.exists():
        return  # what an instance starts ends with the instance
    if _answers():
        return  # it is of another program, or suspended
    command = [sys.executable, "-m", "mcp_entry.cli.command_server"]
    nowhere = subprocess.DEVNULL
    try:
        subprocess.Popen(command, cwd=ROOT, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    except OSError:
        return


def _answers() -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.connect(_socket_path(os.environ))
        except OSError:
            return False
    return True


def _socket_path(environment: Mapping[str, str]) -> str:
    """``Home.command_socket``, without what it takes to load that."""
    home = os.path.expanduser(environment.get(_ENVIRONMENT_OF_HOME) or _DEFAULT_HOME)  # noqa: PTH111 - as above
    return os.path.join(os.path.abspath(home), SOCKET_NAME)  # noqa: PTH100, PTH118 - as above


def program_of(environment: Mapping[str, str]) -> list[str]:
    """What must be the same in two processes for one to run commands of the other: the program and its encodings."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    treats = [f"{each.encoding} {each.errors}" if each is not None else "closed" for each in streams]
    python = sorted(f"{name}={value}" for name, value in environment.items() if name.startswith("PYTHON"))
    return [ROOT, sys.executable, sys.version, sys.getfilesystemencoding(), *treats, *python]


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, user = (int.from_bytes(credentials[at : at + 4], sys.byteorder, signed=True) for at in (0, 4))
    return pid, user


def send(connection: socket.socket, words: Sequence[str], files: Sequence[int] = ()) -> None:
    """One message: its length, then its words, none of which can hold a null. Raises ``OSError``."""
    body = b"\0".join(map(os.fsencode, words))
    head = len(body).to_bytes(_LENGTH_BYTES, "big")
    if files:
        socket.send_fds(connection, [head], list(files))
    else:
        connection.sendall(head)
    connection.sendall(body)


def receive(connection: socket.socket, files: list[int] | None = None) -> list[str]:
    """The words of one message. ``files`` gets the descriptors that came with it. Raises ``OSError``; ``ValueError`` at
    the end of the connection."""
    if files is None:
        head = connection.recv(_LENGTH_BYTES, socket.MSG_WAITALL)
    else:
        head, received, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, 3, socket.MSG_WAITALL)
        files.extend(received)
    if len(head) < _LENGTH_BYTES:
        raise ValueError
    left = int.from_bytes(head, "big")
    body = bytearray()
    while left > len(body):
        part = connection.recv(left - len(body), socket.MSG_WAITALL)
        if not part:
            raise ValueError
        body += part
    return os.fsdecode(bytes(body)).split("\0")
