"""What the recovery looks at and acts on, in one stand-in: what runs, and what was done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from actors.agents.base import RunningAgent
from actors.instance.instance import Instance
from actors.worktrees.model import OrphanWorktree, RemovalResult
from supervisor.pool.makers import ActorMaker, ActorPool
from supervisor.pool.pool import Pool
from supervisor.recovery.recovery import Recovery
from supervisor.spawning.admission import FairSemaphore
from supervisor.spawning.rollback import SpawnRollback
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.unit.supervisor.stand_ins import StandInInstance, TroubledStore

FIRST, SECOND = "spec_0_0_1", "spec_0_0_2"


class Outside:
    """Host, factory, adoption and closing in one: what runs, and what was done to it."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self.sessions: dict[str, RunningAgent] = {}
        self.actors: set[str] = set()
        self.worktrees: list[str] = []
        self.deeds: list[str] = []
        self.trouble: dict[str, Exception] = {}
        self.queries = asyncio.Event()
        self.queries.set()
        self.asked = 0
        self.tried: list[str] = []
        self.adopted: list[str] = []
        self.silent: dict[str, str] = {}
        self.hangs: set[str] = set()

    def live(self, instance_id: str, pid: int = 7) -> None:
        agent = RunningAgent(session_name=instance_id, pane_id=f"%{pid}", pid=pid, alive=True)
        self.sessions[instance_id] = agent
        self.actors.add(instance_id)

    def _do(self, deed: str) -> None:
        self.tried.append(deed)
        if deed in self.trouble:
            raise self.trouble[deed]
        self.deeds.append(deed)

    async def agents(self) -> tuple[RunningAgent, ...]:
        self.asked += 1
        seen = tuple(self.sessions.values())
        await self.queries.wait()
        if "look" in self.trouble:
            raise self.trouble["look"]
        return seen

    async def create(self, name: str) -> Instance:
        self.actors.add(name)
        return StandInInstance()

    async def running(self) -> tuple[str, ...]:
        return tuple(self.actors)

    async def destroy(self, instance_id: str) -> None:
        self._do(f"destroy {instance_id}")
        self.actors.discard(instance_id)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        self._do(f"end {session_name}")
        self.sessions.pop(session_name, None)

    async def actor(self, record: InstanceRecord) -> Instance:
        return StandInInstance()

    async def adopt(self, record: InstanceRecord, port: Instance) -> None:
        self._do(f"adopt {record.instance_id}")
        if record.instance_id in self.hangs:
            await asyncio.Event().wait()
        self.adopted.append(record.instance_id)
        self.team.members._ends[record.instance_id] = SimpleNamespace(port=port, follower=None)  # type: ignore[assignment]

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        self.silent[instance_id] = reason

    async def finish(self, member: Member) -> None:
        self._do(f"finish {member.record.instance_id}")
        await self.team.mark_ended(member, InstanceStage.STOPPED, "")

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        return tuple(
            OrphanWorktree(
                path=Path("/w") / name, git_directory=None, branch=None, unfinished=False, state="", age_s=1.0
            )
            for name in self.worktrees
            if name not in known
        )

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        self.worktrees.remove(orphan.path.name)
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=True)

    async def forget_instance(self, instance_id: str) -> None:
        self._do(f"forget {instance_id}")


class Scene:
    def __init__(self) -> None:
        self.store = TroubledStore()
        self.team = Team(self.store)
        self.outside = out = Outside(self.team)
        changes, confirm = self.team.changes, self.team.confirm
        self.actor_pool: ActorPool = Pool(ActorMaker(out), dict, FairSemaphore(1), changes, confirm)
        staff: Any = SimpleNamespace(host=out, factory=out, scheduler=None)
        undo = SpawnRollback(self.team, staff.host, staff.factory)
        parts: tuple[Any, ...] = (staff, out, undo, out, self.actor_pool)
        self.recovery = Recovery(self.team, *parts)
