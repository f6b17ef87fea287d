"""What a bring-up leaves in the home for clients and entries: the team's file, and the log of its steps.

The runtime writes both. The file tells a team that is only away from one that was brought down. The log tells why a
bring-up failed. This module imports little, because every entry imports it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from actors.files import write_private
from actors.home import Home
from actors.marks import TEAM_MARK

_STEP_MARK = "- "
"""Tells steps from other output of the process in the log, for example a traceback."""
_REASON_LINES = 12
RAY_SERVERS = frozenset({b"gcs_server", b"raylet"})
"""The names of the programs without which a head is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamInfo:
    """A process id here is a hint: it counts only while that process carries the team's mark. 0: not started yet."""

    team_id: str
    version: str
    started_at: str
    """ISO 8601, UTC."""
    head_pid: int = 0
    tmux_pid: int = 0
    ray_address: str = ""
    joined: bool = False
    """The Ray at ``ray_address`` is a cluster that was there before the team: the team's end is not its end."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The settings, and little more, with which Ray was started last; a later process may have others."""
    ending: bool = False
    """It is being brought down, or that was cut short: it is not brought back unasked."""


def write_team(home: Home, team: TeamInfo) -> None:
    """Raises ``SettingsError``."""
    write_private(home.team_file, json.dumps(asdict(team), indent=2))


def read_team(home: Home) -> TeamInfo | None:
    """The team of this home. With its file lost or torn, what the agents' environment tells; without both None."""
    try:
        return TeamInfo(**json.loads(home.team_file.read_text()))
    except (OSError, ValueError, TypeError):
        pass
    try:
        team_id = json.loads(home.environment_file.read_text())[TEAM_MARK]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return TeamInfo(team_id=str(team_id), version="", started_at="")


def wanted_team(home: Home) -> TeamInfo | None:
    """The team that was brought up and not brought down again, whether it runs just now or not."""
    team = read_team(home)
    return None if team is None or team.ending else team


def head_runs(team: TeamInfo) -> bool:
    """Whether the process that the file names runs and is the team's, with the servers of Ray, as far as can be seen.

    A head that has lost one ends within a second, and nothing comes back in it.
    """
    mark = f"{TEAM_MARK}={team.team_id}".encode()
    head = Path(f"/proc/{team.head_pid}")
    try:
        if mark not in (head / "environ").read_bytes().split(b"\0") or not _runs(head):
            return False
    except OSError:
        return False
    try:
        children = (head / "task" / head.name / "children").read_bytes().split()
    except OSError:  # a kernel that does not tell
        return True
    running = {name for pid in children if (name := _name_of_running(Path("/proc", pid.decode())))}
    return running >= RAY_SERVERS


def _name_of_running(process: Path) -> bytes:
    """Of its program; empty when it has ended."""
    with suppress(OSError):
        if _runs(process):
            return (process / "comm").read_bytes().strip()
    return b""


def _runs(process: Path) -> bool:
    """Raises ``OSError`` when it is not there any more."""
    return (process / "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")


def step_line(time_of_day: str, what: str) -> str:
    """A line of the log for one step of the bring-up."""
    return f"{_STEP_MARK}{time_of_day} {what}"


def steps_in(log: str) -> list[str]:
    """The steps in whole lines of the log, without their times."""
    lines = log.split("\n")[:-1]
    return [line.removeprefix(_STEP_MARK).partition(" ")[2] for line in lines if line.startswith(_STEP_MARK)]


def reason_in(log: str) -> str:
    """Why the bring-up failed: the last lines after the last step; empty when none follow."""
    lines = [line.rstrip() for line in log.split("\n") if line.strip()]
    steps = [number for number, line in enumerate(lines) if line.startswith(_STEP_MARK)]
    reason = lines[steps[-1] + 1 :] if steps else lines
    return "\n".join(reason[-_REASON_LINES:])
