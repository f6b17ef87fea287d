"""Which parts of a team answer just now."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from actors.errors import TerminalError
from actors.home import Home
from supervisor.runtime.asking import gateway_answers
from supervisor.runtime.ending import mark_of_server
from supervisor.runtime.joined import cluster_answers
from supervisor.runtime.ray_head import is_head
from supervisor.team.file import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    head: bool = False
    terminal: bool = False
    gateway: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """In words."""
        named = {"Ray": self.head, "the tmux server": self.terminal, "the supervisor": self.gateway}
        return tuple(name for name, there in named.items() if not there)


NONE = Parts()


def look(home: Home, team: Team | None) -> Parts:
    """What a process id in the team's file says counts only while that process carries the team's mark."""
    if team is None:
        return NONE
    terminal = False
    with suppress(TerminalError):
        terminal = mark_of_server(home) == team.team_id
    return Parts(head=has_head(team), terminal=terminal, gateway=gateway_answers(home))


def has_head(team: Team) -> bool:
    return cluster_answers(team.ray_address) if team.joined else is_head(team.head_pid, team.team_id)
