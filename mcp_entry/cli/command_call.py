"""Asks the command server of this home to run a command, and starts that server: the caller of ``command_server``.

``launch`` calls ``run`` before it loads anything else, because to load the command line takes longer than most commands
run. Only the standard library, and of that little.

Promises: what the server runs behaves as if it ran in this process, also at Ctrl-C and Ctrl-Z, at the end of this
process, and in what a shell sees of it. A command runs once, here or there: ``run`` gives None only while nothing has
begun. The server runs nothing for another user, of another version, or beyond the border of a container.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from mcp_entry.launch import STOPPED

SERVED = ("status", "send", "read", "list", "wait", "respond", "interrupt", "hosts", "perf")
"""Commands that only ask the team, and mostly for a moment."""
BEGUN = "begun"
_COMPLETION = "_PHALANX_COMPLETE"
"""Set where a shell asks what could be typed next."""
_HOME_VARIABLE, _DEFAULT_HOME = "PHALANX_HOME", "~/.phalanx"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib takes longer to load than all of this
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from mcp_entry.cli.command_server import main; main()"
_PATIENCE_S = 1.0
"""Longest wait for a server to take a command. One that is suspended must not be in the way."""
_LENGTH_BYTES = 4
_STANDARD = (0, 1, 2)
_OF_THIS_PROCESS = ("/dev/", "/proc/")
"""An argument with such a path means a file that only this process has, such as ``<(...)`` of a shell."""
_LIMITS = (resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_AS, resource.RLIMIT_NOFILE)


def run(arguments: Sequence[str]) -> int | None:
    """The exit status of ``phalanx`` with these arguments (the first is the program), as the command server ran it.

    None where no server takes it; then nothing was done.
    """
    if not _is_served(arguments):
        return None
    try:
        with connected(_socket_path(os.environ), _PATIENCE_S) as server:
            if peer_of(server)[1] != os.geteuid():
                return None
            worker, seen_as, *program = receive(server)
            if seen_as != str(os.getpid()) or program != program_of(os.environ):
                return None
            return _run_by(server, int(worker), arguments)
    except (OSError, ValueError):
        return None


def _is_served(arguments: Sequence[str]) -> bool:
    words = arguments[1:]
    if any(path in word for word in words for path in _OF_THIS_PROCESS) or "--follow" in words:
        return False
    if "-" in words and os.isatty(0):
        return False  # who reads a terminal must be in its foreground
    return bool(os.environ.get(_COMPLETION)) or words[:1] in [[each] for each in SERVED]


def connected(path: str, patience_s: float) -> socket.socket:
    """A connection whose calls take no longer. Raises ``OSError`` where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(patience_s)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _run_by(server: socket.socket, worker: int, arguments: Sequence[str]) -> int | None:
    """As ``run``. ``worker``: the process that runs the command. Raises ``OSError`` and ``ValueError`` before that."""
    variables = [f"{name}={value}" for name, value in os.environ.items() if name]
    words = [os.getcwd(), str(len(arguments)), *arguments, *variables]  # noqa: PTH109 - as above
    with _signals_passed_on(worker) as interrupts:
        server.settimeout(None)
        send(server, words, files=_STANDARD)
        begun = False
        try:
            begun = receive(server) == [BEGUN]
            return int(receive(server)[0])
        except (OSError, ValueError):
            if interrupts:
                return STOPPED
            if not begun:
                return None
    sys.stderr.write("The process that ran the command was ended from outside. What it had begun may be done.\n")
    return 1


@contextmanager
def _signals_passed_on(worker: int) -> Iterator[Sequence[int]]:
    """Ctrl-C ends the worker, which may have words for it, and a second one this process, too. Ctrl-Z stops both until
    the shell goes on with this one. Gives one item for each Ctrl-C."""
    interrupts: list[int] = []

    def interrupt(_number: int, _frame: object) -> None:
        interrupts.append(worker)
        if len(interrupts) > 1:
            os._exit(STOPPED)
        _tell(worker, signal.SIGINT)

    def stop(number: int, _frame: object) -> None:
        _tell(worker, signal.SIGSTOP)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, stop)
        _tell(worker, signal.SIGCONT)

    handlers = {signal.SIGINT: interrupt, signal.SIGTSTP: stop}
    before = {number: signal.getsignal(number) for number in handlers}
    # A shell's background ignores Ctrl-C, and who has no shell Ctrl-Z.
    passed_on = [number for number in handlers if before[number] is not signal.SIG_IGN]
    for number in passed_on:
        signal.signal(number, handlers[number])
    try:
        yield interrupts
    finally:
        for number in passed_on:
            signal.signal(number, before[number])


def _tell(worker: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker, number)


def start(arguments: Sequence[str]) -> None:
    """Starts the command server, where there is none and the command that was just run well was one that it serves.

    A command without a server only takes longer, so nothing is said when it cannot be started.
    """
    if not _is_served(arguments) or not sys.platform.startswith("linux"):
        return
    import subprocess  # noqa: PLC0415 - the command that ran has loaded it
    import time  # noqa: PLC0415 - likewise

    from actors.files import FileLock  # noqa: PLC0415 - ``launch`` checks first whether that package is ours
    from actors.home import home_from  # noqa: PLC0415 - likewise
    from actors.marks import MARKS  # noqa: PLC0415 - likewise

    if MARKS & os.environ.keys():
        return  # what an instance starts ends with the instance
    with suppress(OSError, RuntimeError):
        home = home_from(os.environ)
        if home.root.stat().st_uid != os.geteuid() or not home.gateway_socket.exists():
            return
        lock = FileLock(home.command_lock_file)
        if not lock.try_acquire():
            return
        held = lock.descriptor
        words = [ROOT, str(held), str(time.time_ns())]
        server = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *words],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[held],
            start_new_session=True,
        )
        server.returncode = 0  # nobody waits for it
        lock.release()


def _socket_path(environment: Mapping[str, str]) -> str:
    """``Home.command_socket``, without what it takes to load that."""
    home = os.path.expanduser(environment.get(_HOME_VARIABLE) or _DEFAULT_HOME)  # noqa: PTH111 - as above
    return os.path.join(os.path.abspath(home), "commands.sock")  # noqa: PTH100, PTH118 - as above


def program_of(environment: Mapping[str, str]) -> list[str]:
    """What must be the same in two processes for one to run commands of the other: the program, its encodings, what it
    may read, which files it sees, and its limits."""
    python = sorted(f"{name}={value}" for name, value in environment.items() if name.startswith("PYTHON"))
    root = os.stat("/")  # noqa: PTH116 - as above
    sees = [os.readlink("/proc/self/ns/mnt"), root.st_dev, root.st_ino]  # noqa: PTH115 - as above
    may = [os.getgid(), sorted(os.getgroups()), os.nice(0), [resource.getrlimit(each) for each in _LIMITS]]
    treats = [
        (each.encoding, each.errors, getattr(each, "write_through", None)) if each is not None else None
        for each in (sys.stdin, sys.stdout, sys.stderr)
    ]
    return [ROOT, sys.executable, sys.version, sys.getfilesystemencoding(), repr((sees, may, treats, python))]


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
        head, received, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, len(_STANDARD), socket.MSG_WAITALL)
        files.extend(received)
    if len(head) < _LENGTH_BYTES or (files is not None and len(files) != len(_STANDARD)):
        raise ValueError
    left = int.from_bytes(head, "big")
    body = bytearray()
    while left > len(body):
        part = connection.recv(left - len(body), socket.MSG_WAITALL)
        if not part:
            raise ValueError
        body += part
    return os.fsdecode(bytes(body)).split("\0")
