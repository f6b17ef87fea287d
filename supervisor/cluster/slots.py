"""Who takes a slot of which host, as Ray counts them too: each actor of an instance takes one, whomever it follows.

Spare actors and spare agents take slots, too, but give way to instances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from supervisor.cluster.scheduler import Roster
from supervisor.spawning.staff import Staff
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team


class Slots:
    """All in the supervisor's event loop."""

    def __init__(self, team: Team, roster: Roster) -> None:
        self._team = team
        self._roster = roster

    def tell(self, staff: Staff, on_change: Callable[[], None]) -> None:
        """From now on whoever places, starts or keeps ready goes by these. ``on_change`` is for spare agents."""

        def changed() -> None:
            staff.actor_pool.look_again()
            on_change()

        self._roster.holders = self.taken
        self._roster.place_of = self._place_of
        self._roster.is_worked_on = self._is_worked_on
        self._roster.on_change = changed
        staff.memory.slots_left = self.left
        staff.actor_pool.rooms = self.rooms

    def taken(self) -> Mapping[str, str]:
        """Host by instance; who only starts counts as well, and who has failed while its actor is there."""
        return {each.record.instance_id: each.record.host for each in self._team.registry if self._sits(each)}

    def left(self, host: str) -> int:
        """Slots that no instance and no spare agent takes; less than none: a spare gives way. Empty: this host."""
        return self._roster.left(self.seated(), host or self._roster.own)

    def rooms(self) -> Mapping[str, int]:
        """The same of each host on which spare actors may wait, by its address; this one's is empty.

        An elastic host would never be idle with one.
        """
        seated = self.seated()
        return {
            "" if node.name == self._roster.own else node.address: self._roster.left(seated, node.name)
            for node in self._roster.seen
            if not node.elastic and node.name not in self._roster.drained
        }

    def seated(self) -> Mapping[str, str]:
        """Host by instance or spare agent."""
        everyone = filter(self._sits, self._team.registry.everyone())
        return {each.record.instance_id: each.record.host or self._roster.own for each in everyone}

    def _place_of(self, instance_id: str) -> str:
        registry = self._team.registry
        return registry.get(instance_id).record.place if instance_id in registry else instance_id

    def _is_worked_on(self, branch: str) -> bool:
        workspaces = (member.record.workspace for member in self._team.registry)
        return any(workspace is not None and workspace.branch == branch for workspace in workspaces)

    def _sits(self, member: Member) -> bool:
        record = member.record
        return member.alive or record.stage is InstanceStage.STARTING or self._team.members.has(record.instance_id)
