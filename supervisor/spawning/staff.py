"""What the starting of instances needs; ``Spawner``, ``Lifecycle`` and ``Recovery`` share it."""

from __future__ import annotations

from dataclasses import dataclass

from actors.host.host import Host
from supervisor.cluster.scheduler import HostScheduler
from supervisor.ports import InstanceFactory
from supervisor.spawning.admission import FairSemaphore, MemoryAdmission


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    host: Host
    factory: InstanceFactory
    permits: FairSemaphore
    memory: MemoryAdmission
    scheduler: HostScheduler | None = None
    """The hosts of a cluster; None on one machine."""
