"""Who does the work of a spawn."""

from __future__ import annotations

from dataclasses import dataclass

from actors.host.host import Host
from supervisor.cluster.scheduler import HostScheduler
from supervisor.pool.actors import ActorPool
from supervisor.ports import InstanceFactory
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    host: Host
    factory: InstanceFactory
    permits: FairSemaphore
    actor_pool: ActorPool
    memory: MemoryAdmission
    scheduler: HostScheduler | None = None
    """The hosts of a cluster; None on one machine."""
