"""A recovery over a fake host, fake instances and a fake adopter, which share one log."""

from __future__ import annotations

import asyncio
from typing import Any

from actors.instance.instance import Instance
from supervisor.recovery.recovery import Recovery
from supervisor.spawning.rollback import SpawnRollback
from supervisor.team.adoption import Adopter
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.calls import CallLog
from tests.fakes.hosts import FakeHost
from tests.fakes.instances import FakeInstance, FakeInstances, FakeListener
from tests.fakes.store import MemoryStore


class FakeAdopter(Adopter):
    """Links an agent that it adopts; an adoption of an instance in ``hangs`` never ends."""

    def __init__(self, team: Team, log: CallLog) -> None:
        self._team = team
        self._log = log
        self.adopted: list[str] = []
        self.silent: dict[str, str] = {}
        self.hangs: set[str] = set()

    async def actor(self, record: InstanceRecord) -> Instance:
        return FakeInstance()

    async def adopt(self, record: InstanceRecord, port: Instance) -> None:
        self._log.call(f"adopt {record.instance_id}")
        if record.instance_id in self.hangs:
            await asyncio.Event().wait()
        self.adopted.append(record.instance_id)
        self._team.links.follow(record.instance_id, port, "first", FakeListener())

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        self.silent[instance_id] = reason


class _FakeLifecycle:
    def __init__(self, team: Team, log: CallLog) -> None:
        self._team = team
        self._log = log

    async def finish(self, member: Member) -> None:
        self._log.call(f"finish {member.record.instance_id}")
        await self._team.mark_ended(member, InstanceStage.STOPPED, "")


class RecoveryScene:
    def __init__(self, scheduler: Any = None) -> None:
        self.log = CallLog()
        self.store = MemoryStore()
        self.team = Team(self.store)
        self.host = FakeHost(log=self.log)
        self.instances = FakeInstances(self.log)
        self.adopter = FakeAdopter(self.team, self.log)
        lifecycle: Any = _FakeLifecycle(self.team, self.log)
        rollback = SpawnRollback(self.team, self.host, self.instances)
        self.recovery = Recovery(self.team, self.host, self.instances, scheduler, self.adopter, rollback, lifecycle)

    def add_agent(self, instance_id: str, pid: int = 7) -> None:
        """An agent that runs, and its actor."""
        self.host.add_agent(instance_id, pid)
        self.instances.names.add(instance_id)
