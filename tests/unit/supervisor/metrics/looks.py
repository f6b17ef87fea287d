"""Looks at teams: an idle one that is well, and others that differ from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.host.load import HostLoad
from supervisor.metrics.metrics import Count, Slot, Timing
from supervisor.metrics.snapshot import Facts, GitFigures, HostFacts, PoolFigures, Queue
from supervisor.settings import Settings
from supervisor.settings.live import Tuning
from supervisor.store.base import StoreHealth

GB = 1_000_000_000
LOAD = HostLoad(
    host="desk",
    cpus=2,
    load_1m=0.1,
    cpu_busy_s=50,
    cpu_total_s=200,
    memory_total_bytes=24 * GB,
    memory_available_bytes=20 * GB,
    disk_available_bytes=90 * GB,
)


def host(busy: float = 0.02, **load: Any) -> HostFacts:
    return HostFacts(load=replace(LOAD, **load), busy=busy, instances=3)


def window(counts: dict[Count, int] | None = None, **timings: list[float]) -> Slot:
    slot = Slot(0.0)
    for name, number in (counts or {}).items():
        slot.count(name, number)
    for timing, durations in timings.items():
        for seconds in durations:
            slot.observe(Timing(timing), seconds)
    return slot


def tuning(**changes: Any) -> Tuning:
    return replace(Tuning.of(Settings()), **changes)


def facts(**changes: Any) -> Facts:
    """Of an idle team that is well, but for the changes."""
    fields: dict[str, Any] = {
        "window": window(),
        "window_s": 300.0,
        "statuses": {"ready": 3},
        "alive": 3,
        "silent": 0,
        "pending": 0,
        "spawns": Queue(limit=5),
        "git": GitFigures(queue=Queue(limit=3)),
        "pools": PoolFigures(),
        "hosts": (host(),),
        "store": StoreHealth(description="SQLite"),
        "unreadable": "",
        "tuning": tuning(),
    }
    return Facts(**{**fields, **changes})
