"""Which host leads this one: what keeps people and Claudes here from bringing up a second team.

Written by whoever brings Ray or a team here from another host, read by every client. Standard library only.
"""

from __future__ import annotations

from pathlib import Path

from actors.home import Home
from actors.private_files import write_private


def leader_of(home: Home) -> str:
    """The address of the host on which the team's supervisor is, or would be; empty when it is this one."""
    if leader := team_leader_of(home):
        return leader
    return "" if home.team_file.exists() else _read(home.node_leader_file)


def team_leader_of(home: Home) -> str:
    """The same, as far as a team has been brought up from there."""
    return _read(home.leader_file)


def away_words(leader: str) -> str:
    """What to tell when nobody answers there."""
    return (
        f"The team of this host is led from {leader}, and its supervisor does not answer: that host is away, or the "
        "team is down. `phalanx up` there brings it back."
    )


def led_team_from(home: Home, address: str) -> None:
    """A team of that host has instances here. Raises ``SettingsError``."""
    write_private(home.leader_file, address)


def led_node_from(home: Home, address: str) -> None:
    """Ray here belongs to that host; with an empty address to nobody. Raises ``SettingsError``."""
    if address:
        write_private(home.node_leader_file, address)
    else:
        home.node_leader_file.unlink(missing_ok=True)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
