"""The local Ray head, a process that outlives its starter.

The local Ray head: one process of ours, its children all in its session and with the team's mark.

Ports are chosen by the system, so homes never collide, and all listen on loopback (see ``environment``).

Starting a process that outlives its starter: session of its own, no input, private files, no signal blocked.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket as sockets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from actors.errors import SettingsError
from actors.files import write_private
from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import (
    allow_many_files,
    end_all_found,
    is_running,
    mark_of,
    name_of,
    no_signal_blocked,
    processes_with,
)
from supervisor.runtime.environment import TOKEN_VARIABLE


def start_detached(
    command: Sequence[str], environment: Mapping[str, str], log: Path, inherited: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Starts ``command`` in ``/`` with exactly this environment; both outputs go to ``log``, which begins anew. What it
    and its children write is private to the user.

    ``inherited``: descriptors to hand down. The process is collected when it ends, by a thread. Raises
    ``SettingsError`` when the log cannot be written.
    """
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise SettingsError(f"{log} cannot be written: {error.strerror}. Set PHALANX_HOME elsewhere.") from error
    try:
        with no_signal_blocked():
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=inherited,
                umask=0o077,
            )
    finally:
        os.close(output)
    threading.Thread(target=process.wait, name=f"end of {process.pid}", daemon=True).start()
    return process


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for an error's text; empty when there is none."""
    try:
        lines = log.read_bytes()[-8000:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])


LOG_NAME = "ray-head.log"
_OBJECT_STORE_BYTES = 80_000_000
_MOST_IDLE_WORKERS = 8
"""Ray keeps as many idle workers as it has CPUs, and starts as many at once."""
_SERVERS = frozenset({"gcs_server", "raylet"})
_DASHBOARD = "dashboard/dashboard.py"
_AGENTS = ("dashboard/agent.py", "runtime_env/agent/main.py")
_AGENT_TITLES = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
_WORKER = "workers/default_worker.py"
_FIRST_WORDS = 6
"""Of a command line: in those of Ray's processes later words are command lines of others."""
_COLLECTED_S = 2.0
_AGENTS_S = 3.0


def start_head(home: Home, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts the head in an empty directory; it is usable some seconds later. Raises ``SettingsError``."""
    _remove_session(home)
    write_private(home.ray_token_file, secrets.token_hex(32))
    head = start_detached(_command(home), environment, home.logs / LOG_NAME)
    allow_many_files(head.pid)
    return head


def is_head(pid: int, team_id: str) -> bool:
    """Whether ``pid`` is the head of the team and whole: one that has lost a server of Ray ends within a second, or,
    when the server ended in an orderly way, never; neither can be gone on with."""
    try:
        process = psutil.Process(pid)
        if not is_running(process) or mark_of(process, TEAM_MARK) != team_id or _session(process) != pid:
            return False
        children = [child for child in process.children() if is_running(child)]
    except (psutil.Error, ValueError):
        return False
    return set(map(name_of, children)) >= _SERVERS


class HeadWatch:
    """Which of a head's processes has ended. Ray waits up to a minute for one that ended while it was starting, and
    ends by itself, some time later, without one that ended afterwards: nothing is worth waiting for then."""

    def __init__(self, pid: int, now: Callable[[], float] = time.monotonic) -> None:
        self._pid = pid
        self._now = now
        self._needed: dict[psutil.Process, str] = {}
        self._uncollected_since: dict[psutil.Process, float] = {}
        self._agents_since: float | None = None
        self._starting: set[psutil.Process] = set()

    def ended(self) -> str:
        """The name of one that has ended and without which this Ray is lost; empty while there is none."""
        try:
            head = psutil.Process(self._pid)
            children = head.children()
        except psutil.NoSuchProcess:
            return "head"
        if not is_running(head):
            return "head"
        for process, name in self._needed.items():
            if not is_running(process):
                return name
        # The head collects soon what it only runs to ask something. What it started for good it does not, and that may
        # have ended before it was seen, even before it became the program that it was to be.
        now, before = self._now(), self._uncollected_since
        self._uncollected_since = {child: before.get(child, now) for child in children if not is_running(child)}
        if any(now - since > _COLLECTED_S for since in self._uncollected_since.values()):
            return "server"
        self._needed.update({child: name for child in children if (name := _name_of_server(child))})
        below = [each for child in children if name_of(child) == "raylet" for each in _children_of(child)]
        agents = [each for each in below if _is_agent(each)]
        self._needed.update(dict.fromkeys(agents, "agent"))
        if agents and self._agents_since is None:
            self._agents_since = now
        # The raylet starts all of them at once, so one that is not there by now had ended before it was seen.
        if self._agents_since is not None and len(agents) < len(_AGENTS) and now - self._agents_since > _AGENTS_S:
            return "agent"
        # The raylet takes one that ended before it had come to it for one that is still starting, for a minute.
        if any(not is_running(worker) for worker in self._starting):
            return "worker"
        self._starting = {each for each in below if _is_starting_worker(each)}
        return ""


def _name_of_server(child: psutil.Process) -> str:
    """Empty for another child of the head."""
    name = name_of(child)
    if name in _SERVERS:
        return name
    return "dashboard" if any(_DASHBOARD in word for word in _words_of(child)) else ""


def _is_agent(child: psutil.Process) -> bool:
    """Whether a child of the raylet is one of those that it needs; the others are workers."""
    words = _words_of(child)
    return any(word.startswith(_AGENT_TITLES) or word.endswith(_AGENTS) for word in words)


def _is_starting_worker(child: psutil.Process) -> bool:
    """Once it has come to the raylet it bears another title, and the raylet itself sees how it ends."""
    return any(word.endswith(_WORKER) for word in _words_of(child))


def _children_of(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children()
    return []


def _words_of(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()[:_FIRST_WORDS]
    return []


def end_ray(home: Home, team_id: str, head_pid: int) -> list[psutil.Process]:
    """Kills every Ray process of the team, of this head or an earlier one; returns what does not end all the same.

    At once: asked to end by itself, a head with detached actors takes half a minute.
    """

    def of_ray() -> list[psutil.Process]:
        marked = processes_with(TEAM_MARK, team_id)
        return [each for each in marked if _session(each) == head_pid or _has_token_of(home, each)]

    return end_all_found(of_ray, grace_s=0)


def _has_token_of(home: Home, process: psutil.Process) -> bool:
    """Only what the runtime starts for Ray knows where the token is: agents and the tmux server do not."""
    return mark_of(process, TOKEN_VARIABLE) == str(home.ray_token_file)


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return -1


def _command(home: Home) -> tuple[str, ...]:
    workers = min(len(os.sched_getaffinity(0)), _MOST_IDLE_WORKERS)
    return (
        *(sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        f"--temp-dir={home.ray_directory}",
        *("--port=0", "--min-worker-port=0", "--max-worker-port=0", *_client_server_option()),
        *("--dashboard-agent-listen-port=0", "--include-dashboard=false", "--include-log-monitor=false"),
        *("--no-monitor", "--disable-usage-stats"),
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--num-cpus={workers}",
    )


def _client_server_option() -> tuple[str, ...]:
    """With grpcio beside it, Ray starts one more server, always on the same port if it is not told another."""
    if importlib.util.find_spec("grpc") is None:
        return ()
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return (f"--ray-client-server-port={probe.getsockname()[1]}",)


def _remove_session(home: Home) -> None:
    """What an earlier head left: its address must not be taken for that of the new one."""
    try:
        shutil.rmtree(home.ray_directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be removed: {error.strerror}. Remove it by hand.") from error
