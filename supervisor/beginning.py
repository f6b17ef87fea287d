"""Whether a home that has no state may begin an empty team: not beside agents that live in it.

Without its records a team does not know its agents; it would take them for nobody's and end them. So whoever lost the
state is told, and nothing is touched. Asked by the store before it goes on with a state that holds nothing.
"""

from __future__ import annotations

from actors.errors import StateLostError
from actors.home import Home
from supervisor.ports import HostPort
from supervisor.store import MayBegin
from supervisor.team.registry import is_instance_id

_NAMED = 3


def unless_agents_live(home: Home, host: HostPort) -> MayBegin:
    async def check() -> None:
        """Raises ``StateLostError``."""
        found = await host.agents()
        alive = [agent.session_name for agent in found if agent.alive and is_instance_id(agent.session_name)]
        if alive:
            raise StateLostError(_words(home, alive))

    return check


def _words(home: Home, alive: list[str]) -> str:
    named = ", ".join(alive[:_NAMED]) + (" and others" if len(alive) > _NAMED else "")
    return (
        f"The team's state {home.state_file} is missing or empty, while {len(alive)} of its agents live ({named}). "
        "Nothing was begun beside them and none was touched. Put the file back, with its -wal if there is one, and try "
        "again. If it is lost for good: phalanx down ends these agents, keeping their worktrees, and phalanx up then "
        "begins a new team."
    )
