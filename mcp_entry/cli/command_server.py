"""The command server: a process that has loaded the command line and runs short commands at once.

The first short command of a running team starts one (``command_call.start``), a process for each home. For each later
one it makes a fork, the worker, which takes the caller's arguments, environment, directory and open files and runs the
command as the caller would have. On its socket, which only the user can reach, a message is its length and its words::

    caller                                worker
                                          its process, the caller's as it sees it, its program
    directory, number of arguments, arguments, environment, with stdin, stdout and stderr
                                          that the command begins
                                          the exit status

Promises: it ends with the team's supervisor, after ``IDLE_S`` without a command, and when a file of the program has
changed, so nobody gets an older version than the one that was installed. A worker ends when its caller ends.
"""

from __future__ import annotations

import fcntl
import gc
import io
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn, TextIO, cast

from actors.home import Home, home_from
from actors.sockets import listen, pack
from mcp_entry.cli import app
from mcp_entry.cli.command_call import BEGUN, SERVED, connected, peer_of, program_of, receive, send
from mcp_entry.cli.lazy import loaded
from mcp_entry.launch import STOPPED, say_nothing_more
from supervisor.api.verbs import TeamVerbs

IDLE_S = 300.0
_PATIENCE_S = 5.0
"""Longest wait for a caller's message, and for the supervisor to take a connection."""
_NOT_WRITTEN = 120
"""The exit status of a Python that cannot write what it has to say at its end."""
_VERBS = (
    TeamVerbs.status,
    TeamVerbs.send,
    TeamVerbs.read,
    TeamVerbs.list,
    TeamVerbs.wait,
    TeamVerbs.respond,
    TeamVerbs.interrupt,
    TeamVerbs.hosts,
    TeamVerbs.get_performance,
)
"""What the served commands call."""


def main() -> None:
    """What ``command_call.start`` runs: it is given the open file that is locked, and the time of the start."""
    _, held, started_ns = sys.argv[1:]
    serve(home_from(os.environ), int(held), int(started_ns))


def serve(home: Home, lock: int, started_ns: int, idle_s: float = IDLE_S) -> None:
    """Runs commands until there is a reason to end; at once where no team runs.

    ``lock``: the open file by whose lock nobody starts a second server. ``started_ns``: since when files of the program
    may have been loaded. Raises ``SettingsError`` when no socket can be made.
    """
    # By the connection to the supervisor its end is seen.
    with suppress(OSError), connected(str(home.gateway_socket), _PATIENCE_S) as supervisor:
        supervisor.sendall(pack({"hello": {"sender": "commands"}}))
        _load()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
        with listen(home.command_socket) as listener:
            made = home.command_socket.stat()
            while not _must_end(listener, supervisor, started_ns, idle_s):
                caller, _ = listener.accept()
                with caller:
                    if peer_of(caller)[1] == os.geteuid() and os.fork() == 0:
                        _work(caller, [listener.fileno(), supervisor.fileno(), lock])
            if os.path.samestat(home.command_socket.stat(), made):
                home.command_socket.unlink()


def _must_end(listener: socket.socket, supervisor: socket.socket, started_ns: int, idle_s: float) -> bool:
    """Waits for a caller, or a reason to end."""
    ready, _, _ = select.select([listener, supervisor], [], [], idle_s)
    return listener not in ready or supervisor in ready or _is_outdated(started_ns)


def _is_outdated(started_ns: int) -> bool:
    """Whether a file that was loaded has changed since then, or has gone."""
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    try:
        return any(os.stat(file).st_ctime_ns > started_ns for file in files if file)  # noqa: PTH116 - of 500 files
    except OSError:
        return True


def _work(caller: socket.socket, of_the_server: Sequence[int]) -> NoReturn:
    """Runs one command in this process, which ends with it. ``of_the_server``: files that it does not need."""
    try:
        for file in of_the_server:
            os.close(file)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGINT})  # until it can be answered
        caller.settimeout(_PATIENCE_S)
        send(caller, [str(os.getpid()), str(peer_of(caller)[0]), *program_of(os.environ)])
        files: list[int] = []
        directory, count, *words = receive(caller, files)
        arguments, variables = words[: int(count)], words[int(count) :]
        _end_with(caller)
        _become(directory, arguments, dict(each.split("=", 1) for each in variables), files)
        send(caller, [BEGUN])
        send(caller, [str(_run())])
    except (OSError, ValueError):  # the caller has gone, or found that this is another program
        pass
    finally:
        os._exit(0)


def _end_with(caller: socket.socket) -> None:
    """From now on the end of the caller, who says nothing more, ends this process as a SIGTERM does.

    The kernel tells of it by a SIGCONT, which reaches a process that its caller has stopped, too.
    """

    def look(*_signal: object) -> None:
        if select.select([caller], [], [], 0)[0]:  # it may be told late of what was read already, or go on
            os.kill(os.getpid(), signal.SIGTERM)

    caller.settimeout(None)
    signal.signal(signal.SIGCONT, look)
    fcntl.fcntl(caller, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(caller, fcntl.F_SETSIG, signal.SIGCONT)
    fcntl.fcntl(caller, fcntl.F_SETFL, fcntl.fcntl(caller, fcntl.F_GETFL) | os.O_ASYNC)
    look()  # it may have gone before it was watched


def _become(directory: str, arguments: list[str], environment: Mapping[str, str], files: Sequence[int]) -> None:
    """Takes over what a process is started with. Raises ``OSError``."""
    os.chdir(directory)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = arguments
    sys.stdin = _opened(0, sys.stdin, "r")
    sys.stdout = _opened(1, sys.stdout, "w")
    sys.stderr = _opened(2, sys.stderr, "w", by_line=True)


def _opened(file: int, like: TextIO, mode: str, *, by_line: bool = False) -> TextIO:
    """A stream like another one, for a file that was exchanged."""
    stream = cast("io.TextIOWrapper", like)
    unbuffered = mode == "w" and stream.write_through
    return io.TextIOWrapper(
        open(file, f"{mode}b", buffering=0 if unbuffered else -1, closefd=False),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=by_line or os.isatty(file),
        write_through=stream.write_through,
    )


def _run() -> int:
    """Runs the command line. Returns its exit status, and says what cannot be written, as the interpreter does."""
    status = 0
    try:
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            app.main()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    except SystemExit as end:
        status = int(end.code or 0)
    except KeyboardInterrupt:
        say_nothing_more()
        status = STOPPED
    except Exception:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        status = 1
    try:
        sys.stdout.flush()
    except OSError as error:
        sys.stderr.write(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}\n")
        status = _NOT_WRITTEN
    return status


def _load() -> None:
    """Loads what the served commands load when they run, and builds the checks of what they ask and are answered."""
    for command in app.Commands.declared:
        if command.name in SERVED:
            loaded(command)
    for verb in _VERBS:
        verb.request.model_rebuild()
        verb.result.model_rebuild()
    gc.collect()
    gc.freeze()  # what all workers share is not copied when they collect
