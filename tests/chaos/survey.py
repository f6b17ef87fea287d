"""Who runs for a team just now, told by the marks that its processes carry, never by a name over the whole machine.

A process is the team's when its environment holds the home, the team's mark, an instance's mark or the mark of this
run. What it is (raylet, instance actor, agent, …) is then read from its title. Used by the killer and the checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from actors.home import Home
from actors.marks import INSTANCE_MARK, TEAM_MARK
from actors.processes import is_running

RUN_MARK = "CHAOS_RUN"
"""Set in the environment of everything that a run starts."""
CLIENT_MARK = "CHAOS_CLIENT"
"""Names the client whose entry a process is."""


class Kind(StrEnum):
    HEAD = "Ray head"
    GCS = "GCS"
    RAYLET = "raylet"
    RAY_AGENT = "agent of Ray"
    FORK_SERVER = "fork server"
    IDLE_WORKER = "idle worker"
    SUPERVISOR = "supervisor"
    HOST = "host actor"
    INSTANCE = "instance actor"
    BOOT = "boot program"
    BRING_UP = "bring-up"
    TMUX = "tmux server"
    AGENT = "agent"
    ENTRY = "entry"
    ENDPOINT = "endpoint"
    REDIS = "Redis"
    OTHER = "unknown"


RAY = frozenset(
    {
        *(Kind.HEAD, Kind.GCS, Kind.RAYLET, Kind.RAY_AGENT, Kind.FORK_SERVER, Kind.IDLE_WORKER),
        *(Kind.SUPERVISOR, Kind.HOST, Kind.INSTANCE),
    }
)
"""What lives and dies with Ray."""

_BY_TITLE = (
    ("ray::_Supervisor", Kind.SUPERVISOR),
    ("ray::_Host", Kind.HOST),
    ("ray::InstanceServer", Kind.INSTANCE),
    ("ray::IDLE", Kind.IDLE_WORKER),
    ("ray::starting", Kind.IDLE_WORKER),
    ("ray::DashboardAgent", Kind.RAY_AGENT),
    ("ray::RuntimeEnvAgent", Kind.RAY_AGENT),
    ("tmux: server", Kind.TMUX),
)
_BY_WORD = (
    ("ray_processes.ray_start", Kind.HEAD),
    ("ray_processes/head_wait.py", Kind.HEAD),
    ("/gcs_server", Kind.GCS),
    ("/raylet/raylet", Kind.RAYLET),
    ("/dashboard/agent.py", Kind.RAY_AGENT),
    ("runtime_env/agent/main.py", Kind.RAY_AGENT),
    ("ray_processes.fork_server", Kind.FORK_SERVER),
    ("ray_processes/worker.py", Kind.IDLE_WORKER),
    ("supervisor.boot", Kind.BOOT),
    ("supervisor.runtime", Kind.BRING_UP),
    ("mcp_entry.web", Kind.ENDPOINT),
    ("mcp_entry", Kind.ENTRY),
    ("redis-server", Kind.REDIS),
)
"""Looked for in the first words of the command line only: later ones may hold paths."""
_WORDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One process. ``instance_id`` is known of agents and, where a file of its instance is open, of their actors: the
    name of its private directory, which of one that was a spare agent before is the spare's."""

    process: psutil.Process
    kind: Kind
    parent: int
    title: str
    instance_id: str = ""
    client: str = ""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def identity(self) -> tuple[int, float]:
        """Process id and start time: another process never has the same."""
        return self.process.pid, self.process.create_time()


def survey(home: Home, run_id: str) -> list[Found]:
    """Every process of the team and of this run. Blocks for some ten milliseconds."""
    marks = {RUN_MARK: run_id, "PHALANX_HOME": str(home.root), TEAM_MARK: _team_id(home)}
    found = (_look(process, home, marks) for process in psutil.process_iter())
    return [each for each in found if each is not None]


def alive(found: Iterable[Found], *kinds: Kind) -> list[Found]:
    return [each for each in found if each.kind in kinds]


def left_running(found: Iterable[Found]) -> list[Found]:
    return [each for each in found if is_running(each.process)]


def kind_of(command: Sequence[str], name: str) -> Kind:
    """What a process of a team is, by its command line and name. An agent is told by its mark, not here."""
    title = command[0] if command else name
    for beginning, kind in _BY_TITLE:
        if title.startswith(beginning) or name.startswith(beginning[:15]):
            return kind
    for word, kind in _BY_WORD:
        if any(word in part for part in command[:_WORDS]):
            return kind
    return Kind.OTHER


def _team_id(home: Home) -> str:
    """Empty while no team is known."""
    try:
        return str(json.loads(home.team_file.read_text())["team_id"])
    except (OSError, ValueError, KeyError):
        return ""


def _look(process: psutil.Process, home: Home, marks: Mapping[str, str]) -> Found | None:
    """None for a process of others, and for one that has ended."""
    try:
        environment = process.environ()
        instance = Path(environment.get(INSTANCE_MARK, "/"))
        of_instance = instance.is_relative_to(home.instances)
        if not of_instance and not any(value and environment.get(name) == value for name, value in marks.items()):
            return None
        if not is_running(process):
            return None
        command = process.cmdline()
        kind = kind_of(command, process.name())
        if of_instance:
            kind = Kind.AGENT if _is_below_tmux(process) else Kind.OTHER
        return Found(
            process=process,
            kind=kind,
            parent=_parent(process, environment),
            title=" ".join(command[:4])[:120] or process.name(),
            instance_id=instance.name if of_instance else _open_instance(process.pid, kind, home),
            client=environment.get(CLIENT_MARK, "") if kind is Kind.ENTRY else "",
        )
    except psutil.Error:
        return None


def _parent(process: psutil.Process, environment: Mapping[str, str]) -> int:
    """Of a worker that has outlived its fork server the raylet, as in its environment."""
    parent = process.ppid()
    return parent if parent > 1 else int(environment.get("RAY_RAYLET_PID", parent))


def _is_below_tmux(process: psutil.Process) -> bool:
    parent = process.parent()
    return parent is not None and parent.name().startswith("tmux")


def _open_instance(pid: int, kind: Kind, home: Home) -> str:
    """The instance that an actor follows, by the file of it that it keeps open; empty when it keeps none."""
    if kind is not Kind.INSTANCE:
        return ""
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            path = descriptor.readlink()
            if path.is_relative_to(home.instances):
                return path.relative_to(home.instances).parts[0]
    except OSError:
        return ""
    return ""
