"""Snapshots of teams: an idle one that is well, and others that differ from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from supervisor.metrics.metrics import Count, TimeBucket, Timing
from supervisor.metrics.snapshot import GitSnapshot, HostSnapshot, PoolSnapshot, Queue, TeamSnapshot
from supervisor.settings import Settings
from supervisor.settings.live import TunableValues
from supervisor.store.base import StoreHealth
from tests.fakes.hosts import host_load

GB = 1_000_000_000


def host(busy: float = 0.02, instances: int = 3, **load: Any) -> HostSnapshot:
    return HostSnapshot(load=host_load(**load), busy=busy, instances=instances)


def window(counts: dict[Count, int] | None = None, **timings: list[float]) -> TimeBucket:
    slot = TimeBucket(0.0)
    for name, number in (counts or {}).items():
        slot.count(name, number)
    for timing, durations in timings.items():
        for seconds in durations:
            slot.observe(Timing(timing), seconds)
    return slot


def tuning(**changes: Any) -> TunableValues:
    return replace(TunableValues.of(Settings()), **changes)


def snapshot(**changes: Any) -> TeamSnapshot:
    """Of an idle team that is well, but for the changes."""
    fields: dict[str, Any] = {
        "window": window(),
        "window_s": 300.0,
        "statuses": {"ready": 3},
        "alive": 3,
        "silent": 0,
        "pending": 0,
        "spawns": Queue(limit=5),
        "git": GitSnapshot(queue=Queue(limit=3)),
        "pools": PoolSnapshot(),
        "hosts": (host(),),
        "store": StoreHealth(description="SQLite"),
        "unreadable": "",
        "tuning": tuning(),
    }
    return TeamSnapshot(**{**fields, **changes})
