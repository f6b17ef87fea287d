"""The command server: a process that has loaded the command line and runs short commands at once.

The first short command of a running team starts one (``command_call.start``), a process for each home. For each later
one it makes a fork, the worker, which takes the caller's arguments, environment, directory and open files and runs the
command as the caller would have. On its socket, which only the user can reach, a message is its length and its words::

    caller                                worker
                                          its process, the caller's as it sees it, its program
    directory, number of arguments, arguments, environment, with stdin, stdout and stderr
                                          the exit status

Promises: it ends with the team's supervisor, after ``IDLE_S`` without a command, and when a file of the program has
changed, so nobody gets an older version than the one that was installed. A worker ends when its caller ends.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn, TextIO, cast

from actors.files import FileLock
from actors.home import Home, home_from
from actors.sockets import listen, pack
from mcp_entry.cli.app import Commands, main
from mcp_entry.cli.command_call import SERVED, peer_of, program_of, receive, send
from mcp_entry.cli.lazy import loaded
from mcp_entry.launch import STOPPED
from supervisor.api.verbs import TeamVerbs

IDLE_S = 300.0
_PATIENCE_S = 5.0
"""Longest wait for a caller's message, and for the supervisor to take a connection."""
_CLOSED_PIPE = 120
"""The exit status of a Python whose output nobody reads."""
_VERBS = (
    TeamVerbs.status,
    TeamVerbs.spawn,
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


class CommandServer:
    def __init__(self, home: Home, idle_s: float = IDLE_S) -> None:
        self._home = home
        self._idle_s = idle_s
        self._files: Mapping[str, int] = {}

    def serve(self) -> None:
        """Runs commands until there is a reason to end. Returns at once where another server runs or no team does.

        Raises ``SettingsError`` when no socket can be made.
        """
        lock = FileLock(self._home.command_lock_file)
        if not lock.try_acquire():
            return
        try:
            with self._supervisor() as supervisor:
                _load()
                self._files = _changes_of_loaded_files()
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
                with listen(self._home.command_socket) as listener:
                    try:
                        self._serve(listener, supervisor)
                    finally:
                        self._home.command_socket.unlink(missing_ok=True)
        except OSError:
            return
        finally:
            lock.release()

    def _supervisor(self) -> socket.socket:
        """A connection by which the end of the supervisor is seen. Raises ``OSError``."""
        supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            supervisor.settimeout(_PATIENCE_S)
            supervisor.connect(str(self._home.gateway_socket))
            supervisor.sendall(pack({"hello": {"sender": "commands"}}))
        except BaseException:
            supervisor.close()
            raise
        return supervisor

    def _serve(self, listener: socket.socket, supervisor: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([listener, supervisor], [], [], self._idle_s)
            if listener not in ready or supervisor in ready or self._files != _changes_of(self._files):
                return
            caller, _ = listener.accept()
            with caller:
                if peer_of(caller)[1] == os.geteuid() and os.fork() == 0:
                    listener.close()
                    supervisor.close()
                    _work(caller)


def _work(caller: socket.socket) -> NoReturn:
    """Runs one command in this process, which ends with it."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        caller.settimeout(_PATIENCE_S)
        send(caller, [str(os.getpid()), str(peer_of(caller)[0]), *program_of(os.environ)])
        files: list[int] = []
        directory, count, *words = receive(caller, files)
        arguments, variables = words[: int(count)], words[int(count) :]
        _end_with(caller)
        _become(directory, arguments, dict(each.split("=", 1) for each in variables), files)
        send(caller, [str(_run())])
    except (OSError, ValueError):  # the caller has gone, or found that this is another program
        pass
    finally:
        os._exit(0)


def _end_with(caller: socket.socket) -> None:
    """From now on the end of the caller, who says nothing more, ends this process as a SIGTERM does."""

    def look(*_signal: object) -> None:
        if select.select([caller], [], [], 0)[0]:  # the kernel may also be late to tell of what was read already
            os.kill(os.getpid(), signal.SIGTERM)

    caller.settimeout(None)
    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(caller, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(caller, fcntl.F_SETFL, fcntl.fcntl(caller, fcntl.F_GETFL) | os.O_ASYNC)
    look()  # it may have gone before it was watched


def _become(directory: str, arguments: list[str], environment: Mapping[str, str], files: list[int]) -> None:
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


def _opened(file: int, stream: TextIO, mode: str, *, by_line: bool = False) -> TextIO:
    """A stream like this one, for a file that was exchanged."""
    buffering = 1 if by_line or os.isatty(file) else -1
    opened = open(file, mode, buffering, stream.encoding, stream.errors, closefd=False)  # noqa: SIM115 - for good
    return cast("TextIO", opened)


def _run() -> int:
    """Runs the command line. Returns its exit status, as the interpreter would give it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 0
    try:
        main()
    except SystemExit as end:
        status = int(end.code or 0)
    except KeyboardInterrupt:
        status = STOPPED
    except Exception:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        status = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return _CLOSED_PIPE
    return status


def _changes_of_loaded_files() -> Mapping[str, int]:
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    return _changes_of({file: 0 for file in files if file})


def _changes_of(files: Mapping[str, int]) -> Mapping[str, int]:
    """When each was last changed, in nanoseconds; 0 for one that is not there."""
    changes = dict.fromkeys(files, 0)
    for file in files:
        with suppress(OSError):
            changes[file] = os.stat(file).st_mtime_ns  # noqa: PTH116 - 500 files at each command
    return changes


def _load() -> None:
    """Loads what the served commands load when they run, and builds the checks of what they ask and are answered."""
    for command in Commands.declared:
        if command.name in SERVED:
            loaded(command)
    for verb in _VERBS:
        verb.request.model_rebuild()
        verb.result.model_rebuild()
    gc.collect()
    gc.freeze()  # what all workers share is not copied when they collect


if __name__ == "__main__":
    CommandServer(home_from(os.environ)).serve()
