"""What is known on disk of the team that was brought up last, and the private files of a home."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.errors import SettingsError
from actors.home import Home
from actors.marks import TEAM_MARK


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A process id here is a hint: it counts only while that process carries the team's mark. 0: not started yet."""

    team_id: str
    version: str
    started_at: str
    """ISO 8601, UTC."""
    head_pid: int = 0
    tmux_pid: int = 0
    ray_address: str = ""


def write_team(home: Home, team: Team) -> None:
    write_private(home.team_file, json.dumps(asdict(team), indent=2))


def read_team(home: Home) -> Team | None:
    """The team of this home. With its file lost or torn, what the agents' environment tells; without both None."""
    try:
        return Team(**json.loads(home.team_file.read_text()))
    except (OSError, ValueError, TypeError):
        pass
    try:
        team_id = json.loads(home.environment_file.read_text())[TEAM_MARK]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Team(team_id=str(team_id), version="", started_at="")


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, readable by the user only. Raises ``SettingsError``."""
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        unfinished.replace(path)
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written: {error.strerror}. Free disk space, or set PHALANX_HOME elsewhere."
        ) from error


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for an error's text; empty when there is none."""
    try:
        lines = log.read_bytes()[-8000:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])
