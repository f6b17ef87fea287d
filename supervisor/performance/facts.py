"""Everything that is judged, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from actors.host.load import HostLoad
from supervisor.performance.figures import GitFigures, PoolFigures, Queue
from supervisor.performance.history import Slot
from supervisor.settings.live import Tuning
from supervisor.store.base import StoreHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    load: HostLoad
    busy: float
    """Part of its cores' time that was spent working lately, 0 to 1."""
    instances: int = 0
    """Alive on it."""
    slots: int | None = None
    """Instances that it has room for; None on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Somebody, or a message for somebody, that waits or stands still."""

    instance_id: str
    for_s: float
    why: str = ""
    """What is asked for, or what is in the way, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    window: Slot
    window_s: float
    statuses: Mapping[str, int]
    """Instances by status."""
    alive: int
    silent: int
    """Instances whose actor does not answer."""
    asking: tuple[Waiting, ...] = ()
    """Instances that wait for a decision; ``why`` is the tool."""
    limited: tuple[Waiting, ...] = ()
    """Living instances that a rate limit holds up."""
    troubled: tuple[Waiting, ...] = ()
    """Other living instances that say what is wrong: the last turn failed, a dialog is up that nobody knows."""
    pending: int
    """Messages under way."""
    held: tuple[Waiting, ...] = ()
    """Messages to living instances that are held back."""
    queued: tuple[Waiting, ...] = ()
    """Messages to living instances that are on their way and not held back."""
    no_memory: str = ""
    """How many agents wait to be started until there is memory, for people; empty while none does."""
    spawns: Queue
    git: GitFigures
    pools: PoolFigures
    hosts: tuple[HostFacts, ...]
    unanswered: tuple[str, ...] = field(default=())
    """Why a host could not be asked."""
    store: StoreHealth
    unreadable: str
    """What is wrong with stored records, for people; empty when all is well."""
    tuning: Tuning
