"""Giving an instance a place on another host, from what of it is on this one. It runs nowhere while that is done."""

from __future__ import annotations

from dataclasses import dataclass

from actors.errors import WorkspaceError
from supervisor.hosts.many import ManyHosts
from supervisor.hosts.roster import Placement, Roster
from supervisor.ports import InstanceFactory
from supervisor.recovering.adoption import Adoption
from supervisor.team.closing import Closing
from supervisor.team.registry import Member
from supervisor.team.roll import Roll


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveParts:
    """What those work with who move instances."""

    roll: Roll
    roster: Roster
    hosts: ManyHosts
    factory: InstanceFactory
    adoption: Adoption
    closing: Closing


class Relocation:
    """All in the supervisor's event loop. Who calls holds the instance's turn, and the slot that is its from now on."""

    def __init__(self, parts: MoveParts) -> None:
        self._roll = parts.roll
        self._roster = parts.roster
        self._hosts = parts.hosts

    async def settle(self, member: Member, placement: Placement, **changes: object) -> None:
        """Worktree, launch and conversation are there afterwards, and the record says so, with ``changes``.

        Raises ``PhalanxError``; then it belongs where it was before.
        """
        record, workspace = member.record, member.record.workspace
        instance_id = record.instance_id
        if workspace is None:
            raise WorkspaceError(f"{instance_id} has no workspace: nothing of it can go on elsewhere.")
        await self._roll.mail.leave_behind(instance_id)
        self._roster.places.update(dict.fromkeys(record.names, placement.host))
        try:
            made = await self._hosts.settle_again(record.place, workspace, record.transcript_path)
            actor = "" if placement.own else f"{instance_id}@{placement.address}"
            await self._roll.save(
                instance_id, host=placement.host, actor=actor, workspace=made, pid=0, pane_id="", **changes
            )
        except BaseException:
            self._roster.places.update(dict.fromkeys(record.names, record.host))
            raise
        placement.instance_id = instance_id
