"""Who does the work of a spawn."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.cluster.scheduler import HostScheduler
from supervisor.ports import HostPort, InstanceFactory
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    host: HostPort
    factory: InstanceFactory
    permits: FairSemaphore
    memory: MemoryAdmission
    scheduler: HostScheduler | None = None
    """The hosts of a cluster; None on one machine."""
