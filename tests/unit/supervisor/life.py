"""A life of the supervisor's core in a ``world``, put together as in a team.

What it asks for is done by the world on its own: who is asked does not notice that the asker dies.
``AgentSession.kill`` ends a life as kill -9 does: nothing that is left of it gets through to the world or to the store.
Run it in the loop of ``virtual_time``.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.home import Home
from supervisor.api.requests import Role, SpawnRequest
from supervisor.api.verbs import Caller
from supervisor.pool.makers import ActorMaker, AgentMaker, WorktreeMaker
from supervisor.pool.placement import SparePlacement, StaleSpareCleaner
from supervisor.pool.service import OrderBook, Pools
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.spawner import Spawner, SpawnSettings, Starts
from supervisor.spawning.staff import Staff
from supervisor.spawning.start import ColdStart, WarmStart
from supervisor.store.guards import FencedStore
from supervisor.team.adoption import Adopter, Batching
from supervisor.team.lifecycle import Lifecycle
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor.world import Actor, Hands, World

WORK_DIR = Path("/usr")
"""Any directory that every machine has: nobody works in it."""
_HOME = Home(Path("/no-such-home"))


class Killed(BaseException):
    """The life has ended: nothing may catch this and go on."""


class _Reached:
    """Anything of the world as one life reaches it."""

    def __init__(self, target: Any, part: str, life: Life) -> None:
        self._target = target
        self._part = part
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def call(*arguments: Any, **more: Any) -> Any:
            self._life.check()
            answer = await self._life.world.carry_out(self._part, lambda: found(*arguments, **more))
            self._life.check()
            return _Reached(answer, "actors", self._life) if isinstance(answer, Actor) else answer

        return call


class _Kept(MemoryStore):
    """The store as one life reaches it: what is written is written at once, or not at all."""

    def __init__(self, records: dict[str, bytes], life: Life) -> None:
        super().__init__()
        self._records = records
        self._life = life

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        self._life.check()
        await super().save(records, delete)


class _AnyWorkDir(WorkDirPolicy):
    """Without threads, whose time is not that of the world."""

    async def checked(self, work_dir: str, called: str = "workDir") -> Path:
        return self.check(work_dir, called)


class Life:
    """One supervisor: its core, put together as in a team."""

    def __init__(self, world: World, records: dict[str, bytes]) -> None:
        self.world = world
        self._dead = False
        hands: Any = Hands(world)
        host: Any = _Reached(hands, "host", self)
        factory: Any = _Reached(hands, "Ray", self)
        settings = Settings()
        self.permits = permits = FairSemaphore(3)
        staff = Staff(host=host, factory=factory, permits=permits, memory=MemoryAdmission(host, 1, 0))
        store = FencedStore(_Kept(records, self))
        self.team = team = Team(store)
        live_settings = LiveSettings(TunableValues.of(settings))
        batching = Batching(live_settings, team)
        adopter = Adopter(_HOME, batching, factory, team, auto_restart=False)
        rollback = SpawnRollback(team, host, factory)
        self.lifecycle = Lifecycle(team, staff, adopter, 20.0)
        policy = _AnyWorkDir(_HOME, Path("/root"), ())
        spawning = SpawnSettings(
            team=team, agent="demo", timeout_s=20.0, work_dirs=policy, allow_bypass=False, scheduler=None
        )
        placement = SparePlacement(host, staff.memory, None)
        pools = Pools(
            team,
            permits,
            staff.memory,
            placement,
            live_settings,
            OrderBook(store, "this boot"),
            actors=ActorMaker(factory),
            agents=AgentMaker(_HOME, host, team, adopter, rollback, staff.memory, placement, 20.0),
            worktrees=WorktreeMaker(host, team, placement),
            cleaner=StaleSpareCleaner(team, placement),
            work_dirs=policy,
            spare_actors=0,
            default_agent="demo",
            timeout_s=20.0,
        )
        starts = Starts(warm=WarmStart(staff, team, pools), cold=ColdStart(_HOME, staff, team, adopter, pools))
        self.spawner = Spawner(spawning, staff, adopter, rollback, starts)
        self.recovery = Recovery(team, staff, adopter, rollback, self.lifecycle, pools.actors)

    def check(self) -> None:
        if self._dead:
            raise Killed

    async def begin(self) -> None:
        await self.team.load()
        asyncio.create_task(self.recovery.run())  # noqa: RUF006 - it is cancelled with all that the life has begun

    def spawn(self, request_id: str) -> Coroutine[Any, Any, InstanceRecord]:
        request = SpawnRequest(
            role=Role.SPECIALIST,
            work_dir=str(WORK_DIR),
            context="hello",
            workspace_mode="shared",
            request_id=request_id,
        )
        return self.spawner.spawn(request, Caller(sender="lead"))

    async def kill(self) -> None:
        self._dead = True
        mine = [task for task in asyncio.all_tasks() if task not in self.world.deeds]
        mine.remove(asyncio.current_task())  # type: ignore[arg-type]
        for task in mine:
            task.cancel()
        await asyncio.gather(*mine, return_exceptions=True)
