"""Who takes a slot of which host, as Ray counts them too: each actor of an instance takes one, whomever it follows.

Spare actors of each host and spare agents of the supervisor's take slots, too, but give way to instances.
"""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.hosts.roster import Roster
from supervisor.spawning.staff import Staff
from supervisor.team.registry import Member, Stage
from supervisor.team.roll import Roll


class Slots:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll, roster: Roster) -> None:
        self._roll = roll
        self._roster = roster

    def tell(self, staff: Staff) -> None:
        """From now on whoever places, starts or keeps ready goes by these."""
        self._roster.holders = self.taken
        self._roster.on_change = staff.stock.look_again
        staff.room.slots_left = self.left_here
        staff.stock.rooms = self.rooms

    def taken(self) -> Mapping[str, str]:
        """Host by instance; who only starts counts as well, and who has failed while its actor is there."""
        return {each.record.instance_id: each.record.host for each in self._roll.registry if self._sits(each)}

    def left_here(self) -> int:
        """Slots of this host that no instance and no spare agent takes; less than none: a spare has to give way."""
        return self._roster.left(self._seated(), self._roster.own)

    def rooms(self) -> Mapping[str, int]:
        """The same of each host on which spare actors may wait, by its address; this one's is empty.

        An elastic host would never be idle with one.
        """
        seated = self._seated()
        return {
            "" if node.name == self._roster.own else node.address: self._roster.left(seated, node.name)
            for node in self._roster.seen
            if not node.elastic and node.name not in self._roster.drained
        }

    def _seated(self) -> Mapping[str, str]:
        everyone = filter(self._sits, self._roll.registry.everyone())
        return {each.record.instance_id: each.record.host or self._roster.own for each in everyone}

    def _sits(self, member: Member) -> bool:
        record = member.record
        return member.alive or record.stage is Stage.STARTING or self._roll.members.has(record.instance_id)
