"""Takes a snapshot of the team, which ``health`` judges.

``MetricsService`` and ``AlertLoop`` call ``Monitor.snapshot``. It asks the hosts for their load, each for at most
``_PATIENCE_S`` seconds; everything else stands in the supervisor already, so instances notice nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from actors.errors import PhalanxError
from actors.host.host import Host
from actors.host.load import HostLoad
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.metrics.metrics import Count
from supervisor.metrics.snapshot import GitSnapshot, HostSnapshot, PoolSnapshot, Queue, StalledItem, TeamSnapshot
from supervisor.settings.live import LiveSettings
from supervisor.spawning.admission import FairSemaphore
from supervisor.store.guards import FencedStore
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team

_SHORTEST_S = 2.0
_LONGEST_S = 60.0
"""Two readings tell how busy a host was lately when they are at least and at most so far apart."""
_PATIENCE_S = 5.0

Hosts = Callable[[], Mapping[str, Host]]
"""The hosts that are connected to now, by name; the name may be empty for the only one."""


class Monitor:
    """All in the supervisor's event loop."""

    def __init__(
        self,
        team: Team,
        store: FencedStore,
        permits: FairSemaphore,
        live_settings: LiveSettings,
        hosts: Hosts,
        *,
        slots: Callable[[], Mapping[str, int]] = dict,
        git: Callable[[], GitSnapshot] = GitSnapshot,
        pools: Callable[[], PoolSnapshot] = PoolSnapshot,
        no_memory: Callable[[], str] = str,
    ) -> None:
        """The callables are asked with every snapshot and must neither fail nor block.

        ``slots``: of each host of a cluster, by name. ``no_memory``: why agents wait for memory, for people; empty
        while none does.
        """
        self._team = team
        self._store = store
        self._permits = permits
        self._live_settings = live_settings
        self._hosts = hosts
        self._slots = slots
        self._git = git
        self._pools = pools
        self._no_memory = no_memory
        self._recorder = team.recorder
        self._readings: dict[str, tuple[float, HostLoad]] = {}

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._recorder.clock()

    async def snapshot(self, window_s: float) -> TeamSnapshot:
        """The team as it is now, with what happened in the last ``window_s`` seconds."""
        team, permits, now = self._team, self._permits, self._recorder.clock()
        loads = await asyncio.gather(*(load_of(name, host) for name, host in self._hosts().items()))
        members = list(team.registry)
        held, queued = self._messages(members, now)
        slots = self._slots()
        living = Counter(member.record.host for member in members if member.alive)
        present = [member for member in members if not member.terminated]
        return TeamSnapshot(
            window=self._recorder.history.window(now, window_s),
            window_s=window_s,
            spawn_failure=self._recorder.last_failures.get(Count.SPAWNS_FAILED, ""),
            statuses=Counter(str(member.status) for member in members),
            roles=Counter((str(member.status), str(member.record.role)) for member in present),
            needing=sum(map(team.needs_attention, present)),
            alive=living.total(),
            silent=sum(bool(member.silence) for member in members),
            asking=tuple(_waiting(member, now) for member in members if _asks(member)),
            limited=tuple(_waiting(member, now) for member in members if _is_limited(member)),
            troubled=tuple(_waiting(member, now) for member in members if _is_troubled(member)),
            held=held,
            queued=queued,
            no_memory=self._no_memory(),
            pending=sum(team.outbox.pending(member.record.instance_id) for member in members),
            spawns=Queue(limit=permits.limit, running=permits.held, waiting=permits.waiting),
            git=self._git(),
            pools=self._pools(),
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
            store=self._store.health,
            unreadable=team.unreadable.warning,
            tuning=self._live_settings.current,
        )

    def _messages(
        self, members: Sequence[Member], now: float
    ) -> tuple[tuple[StalledItem, ...], tuple[StalledItem, ...]]:
        """Messages that are held back, and the others under way. An instance that has ended takes its messages when it
        runs again: they are not late."""
        held: list[StalledItem] = []
        queued: list[StalledItem] = []
        for member in members:
            if not member.alive or member.ending:
                continue
            for message, receipt in self._team.outbox.under_way(member.record.instance_id):
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
    """An instance that is only being started has a reason for a moment; that is no trouble."""
    changes = member.ending or member.coming_back or member.record.stage is InstanceStage.STARTING
    told_already = _asks(member) or _is_limited(member)
    return member.alive and not (changes or told_already) and bool(member.snapshot.reason)


async def load_of(name: str, host: Host) -> HostLoad | str:
    """The host's load, or why it does not answer."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            load = await host.load()
    except TimeoutError:
        return f"{name or 'it'} does not answer within {_PATIENCE_S:.0f} s."
    except PhalanxError as error:
        return str(error)
    return replace(load, host=name) if name else load
