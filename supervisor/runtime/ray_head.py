"""The local Ray head: one process that outlives its starter, with its children in its session and with the team's mark.

``BringUp`` starts and watches it, the end of a team kills it, and ``ray_node`` watches its Ray with ``HeadWatch``. The
system chooses the ports, so homes never collide, and all of them are on loopback (see ``environment``).
``start_detached`` also starts the boot program: a session of its own, no input, private files, no signal blocked.
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
from supervisor.ray_processes.worker import PROGRAM_NAME, RAYLET_VARIABLE, SERVER, STARTING_TITLE
from supervisor.runtime.environment import TOKEN_VARIABLE

LOG_NAME = "ray-head.log"
_OBJECT_STORE_BYTES = 80_000_000
_MOST_CPUS = 8
"""Ray keeps as many idle workers as it is told CPUs, and starts as many at once; our actors ask for no CPU."""
_SERVERS = frozenset({"gcs_server", "raylet"})
_AGENTS = ("dashboard/agent.py", "runtime_env/agent/main.py")
_AGENT_TITLES = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
_WORKERS = (PROGRAM_NAME, SERVER, "workers/default_worker.py", "workers.default_worker")
"""How a worker begins: by the fork server, or without it by Ray's own program."""
_RETURNING_TITLES = (STARTING_TITLE, "ray::_Supervisor", "ray::supervisor", "ray::_Host", "ray::host")
"""A worker has the actor's name until its constructor runs, and then that of its class."""
_FIRST_WORDS = 6
"""Of a command line: in Ray's processes, later words are the command lines of other processes."""
_REAPED_S = 2.0
"""The head reaps a child that it ran only for an answer sooner than this."""
_AGENTS_S = 3.0


def start_head(home: Home, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts the head in an empty directory. It is usable some seconds later. Raises ``SettingsError``."""
    _remove_session(home)
    write_private(home.ray_token_file, secrets.token_hex(32))
    head = start_detached(_command(home), environment, home.logs / LOG_NAME)
    allow_many_files(head.pid)
    return head


def _command(home: Home) -> tuple[str, ...]:
    return ray_command(
        _OBJECT_STORE_BYTES,
        *("--head", "--block", "--include-dashboard=false", "--no-monitor", f"--temp-dir={home.ray_directory}"),
        *("--port=0", "--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
        *_client_server_option(),
    )


def ray_command(object_store_bytes: int, *options: str) -> tuple[str, ...]:
    """Ray's own start command, with what every Ray of ours is told."""
    return (
        *(sys.executable, "-P", "-m", "supervisor.ray_processes.ray_start", "start", *options),
        *("--include-log-monitor=false", "--disable-usage-stats"),
        f"--object-store-memory={object_store_bytes}",
        f"--num-cpus={min(len(os.sched_getaffinity(0)), _MOST_CPUS)}",
    )


def _client_server_option() -> tuple[str, ...]:
    """With grpcio installed, Ray starts one more server, always on the same port unless it is given another."""
    if importlib.util.find_spec("grpc") is None:
        return ()
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return (f"--ray-client-server-port={probe.getsockname()[1]}",)


def _remove_session(home: Home) -> None:
    """Removes what an earlier head left: its address must not be taken for that of the new one."""
    try:
        shutil.rmtree(home.ray_directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise SettingsError(f"{error.filename} cannot be removed: {error.strerror}. Remove it by hand.") from error


def is_head(pid: int, team_id: str) -> bool:
    """Whether ``pid`` is the head of the team, with all servers of Ray. A head that lost a server is of no use: it ends
    at once, or somewhat later while Ray still starts."""
    try:
        process = psutil.Process(pid)
        if not is_running(process) or mark_of(process, TEAM_MARK) != team_id or _session(process) != pid:
            return False
        children = [child for child in process.children() if is_running(child)]
    except (psutil.Error, ValueError):
        return False
    return set(map(name_of, children)) >= _SERVERS


class HeadWatch:
    """Tells at once when a head has lost a process that it needs. Ray itself waits up to a minute for one that ended
    during the start, and ends some time after losing one later."""

    def __init__(self, pid: int, now: Callable[[], float] = time.monotonic) -> None:
        self._pid = pid
        self._now = now
        self._needed: dict[psutil.Process, str] = {}
        self._zombies_since: dict[psutil.Process, float] = {}
        self._agents_since: float | None = None

    def ended(self) -> str:
        """The name of an ended process without which this Ray is lost; empty while there is none."""
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
        # The head soon reaps a child that it ran only for an answer, but never a server. A server may have ended before
        # it was seen here, even before it became its program.
        now, before = self._now(), self._zombies_since
        self._zombies_since = {child: before.get(child, now) for child in children if not is_running(child)}
        if any(now - since > _REAPED_S for since in self._zombies_since.values()):
            return "server"
        self._needed.update({child: name for child in children if (name := name_of(child)) in _SERVERS})
        below = [each for child in children if name_of(child) == "raylet" for each in _children_of(child)]
        agents = [each for each in below if _is_agent(each)]
        self._needed.update(dict.fromkeys(agents, "agent"))
        if agents and self._agents_since is None:
            self._agents_since = now
        # The raylet starts all agents at once, so one that is missing by now ended before it was seen.
        if self._agents_since is not None and len(agents) < len(_AGENTS) and now - self._agents_since > _AGENTS_S:
            return "agent"
        return ""


def returning(head_pid: int) -> list[int]:
    """The processes of a head on which a supervisor's return depends: head, servers, supervisor, host, workers that may
    become these, and while Ray itself still starts, its agents."""
    with suppress(psutil.NoSuchProcess):
        servers = [child for child in psutil.Process(head_pid).children() if name_of(child) in _SERVERS]
        # Not only its children: workers outlive the fork server, which is their parent.
        below = [each for server in servers for each in processes_with(RAYLET_VARIABLE, str(server.pid))]
        found = [*servers, *(each for each in below if any(map(_returns, _words_of(each))))]
        return [head_pid, *(each.pid for each in found)]
    return []


def _returns(word: str) -> bool:
    """Of workers and agents only those that have no title yet: later they work now and then for others."""
    return word.endswith((*_WORKERS, *_AGENTS)) or word.startswith(_RETURNING_TITLES)


def _is_agent(child: psutil.Process) -> bool:
    """Whether a child of the raylet is an agent that it needs; the others are workers."""
    words = _words_of(child)
    return any(word.startswith(_AGENT_TITLES) or word.endswith(_AGENTS) for word in words)


def _children_of(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children()
    return []


def _words_of(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()[:_FIRST_WORDS]
    return []


def end_ray(home: Home, team_id: str, head_pid: int) -> list[psutil.Process]:
    """Kills every Ray process of the team, of this head or an earlier one; returns those that do not end.

    It does not ask first: a head with detached actors would take half a minute.
    """

    def of_ray() -> list[psutil.Process]:
        marked = processes_with(TEAM_MARK, team_id)
        # Only processes that the runtime starts for Ray have its token, not agents or the tmux server.
        token = str(home.ray_token_file)
        return [each for each in marked if _session(each) == head_pid or mark_of(each, TOKEN_VARIABLE) == token]

    return end_all_found(of_ray, grace_s=0)


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return -1


def start_detached(
    command: Sequence[str], environment: Mapping[str, str], log: Path, inherited: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Starts ``command`` in ``/`` with exactly this environment. Both outputs go to ``log``, which is emptied first.
    Files of the process and its children are private to the user.

    ``inherited``: descriptors to hand down. A thread reaps the process when it ends. Raises ``SettingsError`` when the
    log cannot be written.
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
