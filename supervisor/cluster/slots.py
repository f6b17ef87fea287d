"""Counts the slots of each host as Ray counts them: each actor of an instance takes one.

Spare actors and spare agents take slots too, but give way to instances.
"""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.cluster.scheduler import HostScheduler
from supervisor.spawning.admission import MemoryAdmission
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team


class SlotAccounting:
    """All in the supervisor's event loop."""

    def __init__(self, team: Team, scheduler: HostScheduler) -> None:
        self._team = team
        self._scheduler = scheduler

    def install(self, memory: MemoryAdmission) -> None:
        """Installs these slot counts in the scheduler and in the admission by memory."""
        self._scheduler.holders = self.taken
        self._scheduler.place_of = self._place_of
        self._scheduler.is_worked_on = self._is_worked_on
        memory.slots_left = self.left

    def taken(self) -> Mapping[str, str]:
        """Host by instance; a starting instance counts, and a failed one as long as its actor is there."""
        return {each.record.instance_id: each.record.host for each in self._team.registry if self._sits(each)}

    def left(self, host: str) -> int:
        """Slots that no instance and no spare agent takes; less than none: a spare gives way. Empty: this host."""
        return self._scheduler.left(self.hosts_by_instance(), host or self._scheduler.own)

    def rooms(self) -> Mapping[str, int]:
        """The same of each host on which spare actors may wait, by its address; this one's is empty.

        An elastic host would never be idle with one.
        """
        hosts_by_instance = self.hosts_by_instance()
        return {
            "" if node.name == self._scheduler.own else node.address: self._scheduler.left(hosts_by_instance, node.name)
            for node in self._scheduler.seen
            if not node.elastic and node.name not in self._scheduler.drained
        }

    def hosts_by_instance(self) -> Mapping[str, str]:
        """Host by instance or spare agent."""
        everyone = filter(self._sits, self._team.registry.everyone())
        return {each.record.instance_id: each.record.host or self._scheduler.own for each in everyone}

    def _place_of(self, instance_id: str) -> str:
        registry = self._team.registry
        return registry.get(instance_id).record.place if instance_id in registry else instance_id

    def _is_worked_on(self, branch: str) -> bool:
        workspaces = (member.record.workspace for member in self._team.registry)
        return any(workspace is not None and workspace.branch == branch for workspace in workspaces)

    def _sits(self, member: Member) -> bool:
        record = member.record
        return member.alive or record.stage is InstanceStage.STARTING or self._team.members.has(record.instance_id)
