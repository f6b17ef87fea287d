"""The values of one snapshot of the team: instances, messages, queues, pools, hosts and store at one moment.

``Monitor`` makes a ``TeamSnapshot``; ``health`` judges it and ``views`` shows it. ``GitService`` and ``Pool`` make
their own parts. Frozen values, no behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.host.load import HostLoad
from supervisor.metrics.metrics import TimeBucket
from supervisor.settings.live import TunableValues
from supervisor.store.base import StoreHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A cap, and how many hold it or wait for it."""

    limit: int = 0
    running: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSnapshot:
    queue: Queue = field(default_factory=Queue)
    cached: int = 0
    """Answers in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareCount:
    """Spares of one kind. ``wanted``: how many there shall be."""

    ready: int = 0
    wanted: int = 0
    waits_for: str = ""
    """Why there are fewer, in words that go on after "waits for"; empty when it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPool:
    """Spares that are ready on one host, by kind."""

    instances: int
    worktrees: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    instances: SpareCount = field(default_factory=SpareCount)
    """Agents at their prompt."""
    worktrees: SpareCount = field(default_factory=SpareCount)
    hosts: Mapping[str, HostPool] = field(default_factory=dict)
    """By name; without any on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    load: HostLoad
    busy: float
    """Part of its cores' time that was spent working lately, 0 to 1."""
    instances: int = 0
    """Alive on it."""
    slots: int | None = None
    """Instances that it has room for; None on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StalledItem:
    """An instance, or a message for one, that waits."""

    instance_id: str
    for_s: float
    why: str = ""
    """What is asked for, or what is in the way, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSnapshot:
    window: TimeBucket
    window_s: float
    statuses: Mapping[str, int]
    """Instances by status."""
    roles: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Instances by status and role, without those that were terminated."""
    needing: int = 0
    """Of these, how many need attention."""
    alive: int
    silent: int
    """Instances whose actor does not answer."""
    asking: tuple[StalledItem, ...] = ()
    """Instances that wait for a decision; ``why`` is the tool."""
    limited: tuple[StalledItem, ...] = ()
    """Living instances that a rate limit holds up."""
    troubled: tuple[StalledItem, ...] = ()
    """Other living instances that say what is wrong: the last turn failed, an unknown dialog is up."""
    pending: int
    """Messages under way."""
    held: tuple[StalledItem, ...] = ()
    """Messages to living instances that are held back."""
    queued: tuple[StalledItem, ...] = ()
    """Messages to living instances that are on their way and not held back."""
    no_memory: str = ""
    """How many agents wait to be started until there is memory, for people; empty while none does."""
    spawns: Queue
    spawn_failure: str = ""
    """Why the latest spawn that failed did, for people; empty when none is known."""
    git: GitSnapshot
    pools: PoolSnapshot
    hosts: tuple[HostSnapshot, ...]
    unanswered: tuple[str, ...] = field(default=())
    """Why a host could not be asked."""
    store: StoreHealth
    unreadable: str
    """What is wrong with stored records, for people; empty when all is well."""
    tuning: TunableValues
