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
from supervisor.build import make_pools
from supervisor.recovery.recovery import Recovery
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission, WorkDirPolicy
from supervisor.spawning.rollback import SpawnRollback
from supervisor.spawning.spawner import AgentStarter, Spawner
from supervisor.spawning.staff import Staff
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
        settings = Settings(spare_actors=0)
        self.permits = permits = FairSemaphore(3)
        memory = MemoryAdmission(host, 1, 0)
        staff = Staff(host=host, factory=factory, permits=permits, memory=memory)
        store = FencedStore(_Kept(records, self))
        self.team = team = Team(store)
        live_settings = LiveSettings(TunableValues.of(settings))
        batching = Batching(live_settings, team)
        adopter = Adopter(_HOME, batching, factory, team, auto_restart=False)
        rollback = SpawnRollback(team, host, factory)
        self.lifecycle = Lifecycle(team, host, factory, adopter, memory, None, 20.0)
        policy = _AnyWorkDir(_HOME, Path("/root"), ())
        pools = make_pools(_HOME, settings, staff, team, adopter, rollback, live_settings, store, policy)
        self.spawner = Spawner(
            team,
            AgentStarter(_HOME, host, team, adopter, pools, None),
            adopter,
            rollback,
            permits,
            memory,
            None,
            policy,
            default_agent="demo",
            timeout_s=20.0,
            allow_bypass=False,
        )
        self.recovery = Recovery(team, host, factory, None, adopter, rollback, self.lifecycle, pools.actors)

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
