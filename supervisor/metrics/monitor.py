"""Looks at the team: gathers what is to be judged. It asks the hosts and nobody else; instances notice nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from actors.errors import PhalanxError
from actors.host.host import Host
from actors.host.load import HostLoad
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.metrics.metrics import Count
from supervisor.metrics.snapshot import HostSnapshot, Queue, SnapshotSources, StalledItem, TeamSnapshot
from supervisor.settings.live import LiveSettings
from supervisor.spawning.admission import FairSemaphore
from supervisor.store.guards import FencedStore
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team

_SHORTEST_S = 2.0
_LONGEST_S = 60.0
"""Two readings that are so far apart, at least and at most, tell how busy a host was lately."""


_PATIENCE_S = 5.0
Hosts = Callable[[], Mapping[str, Host]]
"""The hosts that are connected to now, by name; the name may be empty for the only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotParts:
    """Whom the monitor looks at."""

    team: Team
    store: FencedStore
    permits: FairSemaphore
    hosts: Hosts
    slots: Callable[[], Mapping[str, int]] = dict
    """Of each host of a cluster."""
    live_settings: LiveSettings
    sources: SnapshotSources


class Monitor:
    """All in the supervisor's event loop."""

    def __init__(self, watched: SnapshotParts) -> None:
        self._watched = watched
        self._recorder = watched.team.recorder
        self._readings: dict[str, tuple[float, HostLoad]] = {}

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._recorder.clock()

    async def snapshot(self, window_s: float) -> TeamSnapshot:
        """How it is now, with what happened in the last ``window_s`` seconds."""
        watched, now = self._watched, self._recorder.clock()
        loads = await asyncio.gather(*(load_of(name, host) for name, host in watched.hosts().items()))
        members = list(watched.team.registry)
        held, queued = self._messages(members, now)
        slots = watched.slots()
        living = Counter(member.record.host for member in members if member.alive)
        return TeamSnapshot(
            window=self._recorder.history.window(now, window_s),
            window_s=window_s,
            statuses=Counter(str(member.status) for member in members),
            alive=living.total(),
            silent=sum(bool(member.silence) for member in members),
            asking=tuple(_waiting(member, now) for member in members if _asks(member)),
            limited=tuple(_waiting(member, now) for member in members if _is_limited(member)),
            troubled=tuple(_waiting(member, now) for member in members if _is_troubled(member)),
            held=held,
            queued=queued,
            no_memory=watched.sources.no_memory(),
            pending=sum(watched.team.outbox.pending(member.record.instance_id) for member in members),
            spawns=Queue(limit=watched.permits.limit, running=watched.permits.held, waiting=watched.permits.waiting),
            spawn_failure=self._recorder.last_failures.get(Count.SPAWNS_FAILED, ""),
            git=watched.sources.git(),
            pools=watched.sources.pools(),
            hosts=tuple(
                HostSnapshot(
                    load=load,
                    busy=self._busy(load, now),
                    instances=living[load.host],
                    slots=slots.get(load.host),
                )
                for load in loads
                if isinstance(load, HostLoad)
            ),
            unanswered=tuple(load for load in loads if isinstance(load, str)),
            store=watched.store.health,
            unreadable=watched.team.unreadable.warning,
            tuning=watched.live_settings.current,
        )

    def _messages(
        self, members: Sequence[Member], now: float
    ) -> tuple[tuple[StalledItem, ...], tuple[StalledItem, ...]]:
        """Those that are held back, and the others under way. Who does not live takes its messages when it lives
        again: they are not late."""
        held: list[StalledItem] = []
        queued: list[StalledItem] = []
        for member in members:
            if not member.alive or member.ending:
                continue
            for message, receipt in self._watched.team.outbox.under_way(member.record.instance_id):
                waiting = StalledItem(
                    instance_id=message.instance_id, for_s=max(0.0, now - message.accepted_at), why=receipt.reason
                )
                (held if receipt.status is MessageStatus.BLOCKED else queued).append(waiting)
        return tuple(held), tuple(queued)

    def _busy(self, load: HostLoad, now: float) -> float:
        """Since the last reading when that was lately, otherwise estimated from the load of a minute."""
        at, before = self._readings.get(load.host, (0.0, load))
        if now - at >= _SHORTEST_S:
            self._readings[load.host] = (now, load)
        if not _SHORTEST_S <= now - at <= _LONGEST_S:
            return min(1.0, load.load_1m / load.cpus)
        passed_s = load.cpu_total_s - before.cpu_total_s
        return min(1.0, (load.cpu_busy_s - before.cpu_busy_s) / passed_s) if passed_s > 0 else 0.0


def _waiting(member: Member, now: float) -> StalledItem:
    snapshot = member.snapshot
    why = snapshot.permission.tool if snapshot.permission else snapshot.reason
    return StalledItem(instance_id=member.record.instance_id, for_s=max(0.0, now - snapshot.since), why=why)


def _asks(member: Member) -> bool:
    return member.snapshot.status in {Status.WAITING_PERMISSION, Status.WAITING_INPUT}


def _is_limited(member: Member) -> bool:
    return member.snapshot.status is Status.RATE_LIMITED


def _is_troubled(member: Member) -> bool:
    """Who is only being started says for a moment what it waits for."""
    changes = member.ending or member.coming_back or member.record.stage is InstanceStage.STARTING
    told_already = _asks(member) or _is_limited(member)
    return member.alive and not (changes or told_already) and bool(member.snapshot.reason)


async def load_of(name: str, host: Host) -> HostLoad | str:
    """Why not, when the host does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            load = await host.load()
    except TimeoutError:
        return f"{name or 'it'} does not answer within {_PATIENCE_S:.0f} s."
    except PhalanxError as error:
        return str(error)
    return replace(load, host=name) if name else load
