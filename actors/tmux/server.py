"""The tmux server of one home and its sessions, one session per agent.

The host actor and the runtime use ``TmuxServer``. Every method blocks, up to ``timeout_s`` for each tmux call: use
``asyncio.to_thread`` in an event loop. No state is kept between calls, so every process with the socket's path reaches
the same server. Linux only. libtmux creates, finds, renames and ends the sessions; ``TimeoutServer`` replaces parts of
it.

Promises: server and agents get exactly the environment given to ``start`` (tmux adds TMUX, TMUX_PANE, TERM, since 3.8
COLORTERM, and the like), with no signal blocked; an agent is its pane's own process, never a shell's child; ``stop``
ends this server only. Closing a session or stopping the server sends SIGHUP to the programs in the panes. A program may
ignore that, so end an agent's processes first to be sure.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket as sockets
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import libtmux
import psutil
from libtmux.common import tmux_cmd
from libtmux.exc import LibTmuxException

from actors.agents.base import RunningAgent
from actors.errors import InvalidRequestError, PaneGoneError, TerminalError
from actors.files import replace_file
from actors.processes import end_processes, no_signal_blocked, running_after
from actors.tmux.client import (
    NO_SESSION,
    ProcessClient,
    ask,
    check_socket_path,
    client_command,
    never_late,
    no_answer,
    refusal,
    tmux_program,
)
from actors.tmux.pane import COLUMNS, ROWS, PaneInfo, own_size
from actors.tmux.protocol import OtherProtocolError, TmuxFrameError, TmuxReply

_PANE_FORMAT = "#{pane_id}:#{pane_pid}:#{pane_dead}:#{session_name}"
"""The name comes last, so a separator in it breaks no other field."""
_POLL_S = 0.01
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PEER_CREDENTIALS = struct.Struct("3i")
_ABSENT = ("can't find session", NO_SESSION, "no server running", "No such file or directory")
_REMAKE_S = 0.2
_NEEDING_WORDS = "@phalanx_words"
"""Who needs somebody, for the status line."""
_NEEDING = "@phalanx_needing"
"""Their sessions, each between spaces and the first one again at the end; empty for none."""
_NEXT = (
    f"#{{?#{{m:* #{{session_name}} *,#{{{_NEEDING}}}}},"
    f"#{{s/^.* #{{session_name}} ([^ ]+) .*$/\\1/:{_NEEDING}}},"
    f"#{{s/^ ([^ ]+) .*$/\\1/:{_NEEDING}}}}}"
)
"""The session after this one among these, or the first."""
_ENDED = "has ended: phalanx restart #{session_name}"
_CONFIG = f"""\
# Written by Phalanx at every start of its tmux server; changes here are lost.
set -sq exit-empty off
set -sq escape-time 0
set -sq extended-keys off
set -sq set-clipboard off
set -sq default-terminal screen-256color
set -gq update-environment ''
set -gq destroy-unattached off
set -gq default-size {COLUMNS}x{ROWS}
set -gq history-limit 5000
set -gq status on
set -gq status-interval 0
set -gq status-style bg=default,fg=colour245
set -gq status-left ' #{{session_name}} · #{{?pane_dead,{_ENDED} · ,}}Ctrl-b d leaves it'
set -gq status-left-length 80
set -gq status-right '#{{?{_NEEDING_WORDS},#[reverse] #{{{_NEEDING_WORDS}}}#{{?{_NEEDING}, · Ctrl-b n,}} #[default],}}'
set -gq status-right-length 80
set -gwq window-status-format ''
set -gwq window-status-current-format ''
set -gq mouse on
set -gwq remain-on-exit on
set -gwq remain-on-exit-format ''
set -gwq allow-rename off
set -gwq automatic-rename off
set -gwq window-size latest
bind -n C-z display-message "Ctrl-Z is not passed on: it would stop the agent, and no shell is here to bring it back"
bind n if-shell -F '#{{{_NEEDING}}}' {{ run-shell -C 'switch-client -t ={_NEXT}' }} \
{{ display-message 'Nobody here needs you.' }}
set-hook -gw pane-died {{ set -gq @phalanx_drawn 1 }}
set-hook -g client-detached {{ if-shell -F '#{{==:#{{session_attached}},0}}' {{ {own_size()} }} }}
"""
# remain-on-exit-format: the note about the dead pane would push the first line, perhaps the reason, off the screen.
# window-size latest: a window has the size of the attached client that typed last. client-detached: without clients it
# gets its own size back, or it could stay too small for the agent's dialogs. A global "manual" crashes tmux 3.3a at its
# first new-session. status-right: names reach it as the values of options, in which tmux looks for no format. n is
# next-window elsewhere; here a session has one window. pane-died: setting an option draws the status lines anew, which
# nothing else does then.


class TmuxServer:
    """One tmux server, identified by its socket."""

    def __init__(self, socket: Path, timeout_s: float = 10.0) -> None:
        check_socket_path(socket)
        self._socket = socket
        self._config = socket.with_name(f"{socket.name}.conf")
        self._timeout_s = timeout_s
        self._tmux = TimeoutServer(socket, timeout_s)

    def start(self, environment: Mapping[str, str]) -> int:
        """Starts the server as a daemon in ``/`` with exactly ``environment``; returns its process id.

        A running server keeps its environment; then this only returns the id. Raises ``TerminalError`` when tmux is
        missing or the server does not come up.
        """
        running = self.pid()
        if running is not None:
            return running
        try:
            replace_file(self._config, _CONFIG)
        except OSError as error:
            raise TerminalError(
                f"{self._config} cannot be written: {error.strerror}. "
                "Its directory must exist, be writable and have room."
            ) from error
        self._launch(environment)
        pid = self.pid()
        if pid is None:
            raise TerminalError(f"the tmux server on {self._socket} ended as soon as it was started")
        _reset_priority(pid)
        return pid

    def stop(self) -> None:
        """Ends this server with every session; returns when the process is gone. No-op when it does not run."""
        pid = self.pid()
        if pid is not None:
            with suppress(psutil.NoSuchProcess):
                self._end(psutil.Process(pid))
        for left in (self._socket, self._socket.with_name(f"{self._socket.name}.lock"), self._config):
            left.unlink(missing_ok=True)

    def is_running(self) -> bool:
        return self.pid() is not None

    def pid(self) -> int | None:
        """The process that listens on the socket, even if it hangs; None when there is none.

        A server whose socket was deleted is told to create it again. Raises ``TerminalError`` when it does not.
        """
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
            probe.settimeout(self._timeout_s)
            try:
                probe.connect(str(self._socket))
            except (FileNotFoundError, ConnectionRefusedError):
                return self._restore_socket()
            except BlockingIOError:  # it hangs, with a full queue of callers that have given up
                return listener(self._socket)
            except OSError as error:
                raise TerminalError(f"the tmux server on {self._socket} cannot be reached: {error}") from error
            credentials = probe.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _PEER_CREDENTIALS.size)
        return int(_PEER_CREDENTIALS.unpack(credentials)[0])

    def open_session(self, name: str, argv: Sequence[str], cwd: Path) -> PaneInfo:
        """Starts ``argv`` in ``cwd`` as the only pane of the new session ``name``.

        An attached client changes the size; without one the window gets its own size back. A program that cannot be
        started leaves a dead pane. Raises ``InvalidRequestError`` for a bad name, command or directory,
        ``TerminalError`` for a name in use and when tmux fails. When tmux did not answer, close the session before you
        open it again: in rare cases it exists.
        """
        _check_name(name)
        if not cwd.is_dir():
            raise InvalidRequestError(f"not a directory: {cwd}. Give one that exists to work in.")
        tmux = TimeoutServer(self._socket, self._timeout_s, cwd)
        new = ("new-session", "-d", "-P", "-F", _PANE_FORMAT, "-s", name, "--", *_pane_command(argv))
        pane = _read_pane(printed(tmux.cmd(*never_late(), *new))[0])
        return PaneInfo(session_name=name, pane_id=pane.pane_id, pid=pane.pid)

    def close_session(self, name: str) -> None:
        """Ends the session with exactly this name; no-op when there is none, or no server."""
        _check_name(name)
        if not self.is_running():
            return
        try:
            self._session(name).kill()
        except LibTmuxException as error:
            if not any(absent in str(error) for absent in _ABSENT):
                raise TerminalError(f"tmux could not close the session {name}: {error}") from error

    def rename_session(self, name: str, new_name: str) -> None:
        """Raises ``TerminalError`` when there is no such session or the new name is in use."""
        _check_name(name)
        _check_name(new_name)
        # Session.rename_session would then read all fields, with the faults of libtmux's listing.
        printed(self._session(name).cmd("rename-session", "--", new_name))

    def show_needing(self, words: str, names: Sequence[str]) -> None:
        """Shows the words at the right of the status line. Ctrl-b n goes through the sessions with these names, as far
        as they are there. No-op without a server. Raises ``TerminalError``."""
        there = {agent.session_name for agent in self.agents()}
        needing = [name for name in names if name in there]
        ring = f" {' '.join([*needing, needing[0]])} " if needing else ""
        words = _escaped(words.replace("#", "##"))
        if self.is_running():
            shown = ("set-option", "-g", "--", _NEEDING_WORDS, words)
            printed(self._tmux.cmd(*shown, ";", "set-option", "-g", "--", _NEEDING, ring))

    def agents(self) -> tuple[RunningAgent, ...]:
        """Every session with its first pane, by name; empty when no server runs. Raises ``TerminalError``.

        Ignores panes that somebody has added to a session.
        """
        try:
            panes = self._panes()
        except PaneGoneError:
            if not self.is_running():
                return ()
            panes = self._panes()  # the socket or a new server may just have appeared
        first: dict[str, RunningAgent] = {}
        for pane in sorted(panes, key=lambda pane: int(pane.pane_id[1:])):
            first.setdefault(pane.session_name, pane)
        return tuple(agent for _, agent in sorted(first.items()))

    def _panes(self) -> list[RunningAgent]:
        """Raises ``PaneGoneError`` without a server."""
        listing = self._tmux.cmd("list-panes", "-a", "-F", _PANE_FORMAT)
        if listing.returncode and NO_SESSION in listing.stderr:
            return []
        return list(map(_read_pane, printed(listing)))

    def _session(self, name: str) -> libtmux.Session:
        """The session with exactly this name; tmux looks it up with each command."""
        return libtmux.Session(server=self._tmux, session_id=f"={name}")

    def _restore_socket(self) -> int | None:
        """Has the server restore its socket (SIGUSR1). The kernel still knows the listener of a deleted socket."""
        pid = listener(self._socket)
        if pid is None:
            # A server that is just restoring its socket listens nowhere for a moment.
            return self.pid() if is_reachable_within(self._socket, _REMAKE_S) else None
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1)
        if is_reachable_within(self._socket, self._timeout_s, pid):
            return pid
        if not psutil.pid_exists(pid):
            return None
        raise TerminalError(
            f"the tmux server (process {pid}) runs, but its socket {self._socket} is gone and it does not restore it. "
            "No second server is started. End that process with its agents, or resume it if it hangs"
        )

    def _launch(self, environment: Mapping[str, str]) -> None:
        command = (tmux_program(), "-u", "-S", str(self._socket), "-f", str(self._config), "start-server")
        with no_signal_blocked():
            launch = subprocess.Popen(
                command,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        with launch:
            try:
                _, stderr = launch.communicate(timeout=self._timeout_s)
            except subprocess.TimeoutExpired:
                launch.kill()
                raise no_answer(self._timeout_s) from None
        if launch.returncode:
            raise refusal(stderr.decode(errors="replace"))

    def _end(self, server: psutil.Process) -> None:
        with suppress(TerminalError, LibTmuxException):  # a server that hangs is killed below
            self._tmux.kill()
        if running_after([server], self._timeout_s) and end_processes([server], grace_s=0):
            raise TerminalError(f"the tmux server (process {server.pid}) does not end even when killed")


def _read_pane(row: str) -> RunningAgent:
    """Of a row in the form of ``_PANE_FORMAT``."""
    number, pid, dead, name = row.split(":", 3)
    return RunningAgent(session_name=name, pane_id=number, pid=int(pid or 0), alive=dead != "1")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidRequestError(f"not a session name: {name!r}. Use letters, digits, underscores and hyphens.")


def _pane_command(argv: Sequence[str]) -> tuple[str, ...]:
    """``argv`` as words that tmux runs unchanged. Raises ``InvalidRequestError``."""
    if not argv or not argv[0] or argv[0].startswith("-") or "=" in argv[0]:
        raise InvalidRequestError(f"the command must begin with the name of a program, this one is {list(argv)!r}")
    # tmux gives a single word to the user's shell, several words to exec; env replaces itself with the program.
    words = argv if len(argv) > 1 else ("/usr/bin/env", *argv)
    return tuple(_escaped(word) for word in words)


def _escaped(word: str) -> str:
    """tmux ends a command at a semicolon that ends a word, unless a backslash precedes it."""
    return f"{word[:-1]}\\;" if word.endswith(";") else word


def _reset_priority(pid: int) -> None:
    """Resets the niceness and the out-of-memory score that a worker process passed on, as far as the system permits.
    The agents inherit both from the server."""
    adjustment = Path(f"/proc/{pid}/oom_score_adj")
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, pid) > 0:
            os.setpriority(os.PRIO_PROCESS, pid, 0)
    with suppress(OSError):
        if int(adjustment.read_text()) > 0:
            adjustment.write_text("0")


class TimeoutServer(libtmux.Server):
    """A ``libtmux.Server`` that raises ``TerminalError`` when tmux does not answer within ``timeout_s``.

    libtmux's ``cmd`` starts a process without a time limit and with the caller's environment: a server that hangs would
    block a thread for ever, and the caller's TMUX or PATH would reach tmux. Here it uses the server's socket, and
    tmux's program only for a server of another protocol. What ``TmuxServer`` does not use of libtmux either:

    - ``panes``, ``sessions`` and ``refresh`` read 125 fields of each pane. A separator or newline in the title, which
      the agent writes, or in the directory breaks the listing.
    - ``new_session`` takes the program as one string, which tmux gives to the user's shell, and expands formats, even
      ``#(command)``, in the directory.
    """

    def __init__(self, socket: Path, timeout_s: float, cwd: Path = Path("/")) -> None:
        """``cwd``: the clients' directory, which becomes that of a new pane."""
        super().__init__(socket_path=socket)
        self._socket = socket
        self._timeout_s = timeout_s
        self._cwd = cwd

    def cmd(self, cmd: str, *args: Any, target: str | int | None = None) -> tmux_cmd:
        addressed = () if target is None else ("-t", str(target))
        words = (cmd, *addressed, *map(str, args))
        program = client_command(self._socket)
        try:
            answer = ask(self._socket, words, self._cwd, self._timeout_s)
        except OtherProtocolError:
            answer = asyncio.run(ProcessClient(program, self._timeout_s, cwd=self._cwd).ask(words, None))
        except (TmuxFrameError, ValueError) as error:
            raise TerminalError(f"tmux could not be called: {error}") from error
        return _FinishedCommand([*program, *words], answer)


def printed(done: tmux_cmd) -> list[str]:
    """The output's lines. Raises as ``refusal``."""
    if done.returncode:
        raise refusal("\n".join(done.stderr))
    return done.stdout


class _FinishedCommand(tmux_cmd):
    """A finished ``tmux_cmd``. Its own constructor would start a process, so it is not called."""

    def __init__(self, command: list[str], answer: TmuxReply) -> None:
        self.cmd = command
        self.returncode = answer.status
        self.stdout = _lines(answer.output)
        self.stderr = _lines(answer.errors)


def _lines(output: bytes) -> list[str]:
    return [line for line in output.decode(errors="replace").split("\n") if line]


def listener(socket: Path) -> int | None:
    """The process that listens on the socket, from the kernel's tables: also when the file has been deleted.

    A forked child that runs no program yet holds the socket too; then the parent is returned.
    """
    inodes = _inodes_of(os.fsencode(socket))
    holders = {pid for pid in psutil.pids() if inodes and _holds(pid, inodes)}
    return next((pid for pid in sorted(holders) if _parent_of(pid) not in holders), None)


def _inodes_of(socket: bytes) -> set[bytes]:
    """The sockets with this path, as written in the links of ``/proc/PID/fd``."""
    rows = (line.split(maxsplit=7) for line in Path("/proc/net/unix").read_bytes().splitlines())
    return {b"socket:[%b]" % row[6] for row in rows if len(row) == 8 and row[7] == socket}


def _holds(pid: int, inodes: set[bytes]) -> bool:
    with suppress(OSError):  # ended, or of another user
        for descriptor in os.listdir(b"/proc/%d/fd" % pid):  # noqa: PTH208 - of every process
            with suppress(OSError):
                if os.readlink(b"/proc/%d/fd/%b" % (pid, descriptor)) in inodes:  # noqa: PTH115
                    return True
    return False


def _parent_of(pid: int) -> int | None:
    try:
        return psutil.Process(pid).ppid()
    except psutil.NoSuchProcess:
        return None


def is_reachable_within(socket: Path, patience_s: float, pid: int | None = None) -> bool:
    """Whether a connection succeeds before ``patience_s`` has passed or the process ``pid`` has ended."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline and (pid is None or psutil.pid_exists(pid)):
        with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
            if probe.connect_ex(str(socket)) == 0:
                return True
        time.sleep(_POLL_S)
    return False
