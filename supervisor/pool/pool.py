"""Spares of one kind: how many there shall be, which spawn gets one, and which ones are replaced.

A ``Pool`` does not know what its spares are. Its ``SpareMaker`` makes, checks and ends them; ``targets`` says how many
of each key there shall be now. More can be ordered: an order holds until spawns have taken it.

Promises: a spare goes to one taker only, and to none once it is found bad. Taking one never waits. Nothing is made
before ``recognise`` was called with what an earlier supervisor left, nor by a supervisor that was replaced. Spares are
made in the background, while no caller's spawn waits or runs. A spare that cannot be made is tried again after a pause
and holds up no other key. An end that fails is tried again. All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import ChangeNotifier, TaskSet
from actors.errors import FencedError, PhalanxError
from supervisor.spawning.admission import FairSemaphore

logger = logging.getLogger(__name__)

EVERY_S = 30.0
"""Between two checks of the spares when nothing changes."""
PAUSE_S = 30.0
"""After a failure."""
_LONGEST_PAUSE_S = 1800.0

Key = TypeVar("Key", bound=Hashable)
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spare(Generic[Key, Content]):
    name: str
    """No other spare of this home has it."""
    key: Key
    """What it may be taken for."""
    host: str
    content: Content


class SpareMaker(ABC, Generic[Key, Content]):
    """Makes one kind of spares for a pool. ``make``, ``look``, ``recognise`` and ``end`` may raise, the others not."""

    what: str
    """The kind, for people: "spare agent"."""

    @abstractmethod
    def new_name(self, key: Key) -> str: ...

    @abstractmethod
    async def make(self, name: str, key: Key) -> Spare[Key, Content]:
        """Returns when the spare is ready. When it raises, nothing of it is left."""

    @abstractmethod
    async def end(self, spare: Spare[Key, Content]) -> None:
        """Returns when nothing of it is left; no-op when it is gone already. When it raises, it is called again."""

    def obstacle(self, key: Key) -> str:
        """Why none can be made now, in words that go on after "waits for"; empty when one can be."""
        return ""

    def is_ready(self, spare: Spare[Key, Content]) -> bool:
        """Whether it may be handed out now."""
        return True

    def fault(self, spare: Spare[Key, Content]) -> str:
        """Why it is to be replaced; empty while it is good."""
        return ""

    async def look(self) -> Iterable[Spare[Key, Content]]:
        """Called periodically, before the spares are checked. Returns what is left of spares that were never ready."""
        return ()

    async def recognise(self, spare: Spare[Key, Content]) -> str:
        """Why a spare that an earlier supervisor left is to be ended; empty when it is good."""
        return ""


class Pool(Generic[Key, Content]):
    def __init__(
        self,
        maker: SpareMaker[Key, Content],
        targets: Callable[[], Mapping[Key, int]],
        permits: FairSemaphore,
        changes: ChangeNotifier,
        confirm: Callable[[], Awaitable[None]],
        *,
        unused_s: float = 0.0,
    ) -> None:
        """``changes``: announced at each change of the pool, and wakes it to check its spares. ``confirm`` raises
        ``FencedError`` when another supervisor has the team. ``unused_s``: how long unwanted spares stay after the last
        use of their key; those of one key only."""
        self._maker = maker
        self._targets = targets
        self._permits = permits
        self._changes = changes
        self._confirm = confirm
        self._unused_s = unused_s
        self._spares: list[Spare[Key, Content]] = []
        """Oldest first."""
        self._being_checked: list[Spare[Key, Content]] = []
        """Left by an earlier supervisor."""
        self._ending: list[Spare[Key, Content]] = []
        self._end_failed: list[Spare[Key, Content]] = []
        self._being_made: dict[str, Key] = {}
        """The key of each that is being made or waits for its permit, by name."""
        self._ordered: Counter[Key] = Counter()
        self._recognised = False
        self._used_at: dict[Key, float] = {}
        self._began_at = time.monotonic()
        self._makes = RetrySchedule[Key](Backoff(PAUSE_S, longest_s=PAUSE_S))
        self._ends = RetrySchedule[str](Backoff(PAUSE_S, longest_s=_LONGEST_PAUSE_S))
        self._last_error = ""
        self._making = TaskSet(f"make a {maker.what}")
        self._work = TaskSet(f"check or end a {maker.what}")
        self.errors: dict[Key, list[str]] = {}
        """Why some of the last order could not be made or kept."""
        self.taken: Counter[Key] = Counter()
        """How many of the last order spawns have taken."""

    @property
    def names(self) -> frozenset[str]:
        """The names of all that are the pool's own, also while they are made, checked or ended."""
        everyone = (*self._spares, *self._being_checked, *self._ending, *self._end_failed)
        return frozenset({*(spare.name for spare in everyone), *self._being_made})

    def ready(self, key: Key | None = None) -> list[Spare[Key, Content]]:
        """The spares that can be taken now, oldest first; without ``key`` those of every key."""
        return [spare for spare in self._spares if key in {None, spare.key} and self._maker.is_ready(spare)]

    def hosts(self) -> Counter[str]:
        """How many are ready on each host."""
        return Counter(spare.host for spare in self.ready())

    def wanted(self) -> Counter[Key]:
        """How many spares there shall be, by key."""
        return Counter(self._targets()) | self._ordered

    @property
    def orders(self) -> Mapping[Key, int]:
        """How many are ordered and neither taken nor given up, by key."""
        return dict(self._ordered)

    def take(self, key: Key, hosts: Sequence[str] | None = None) -> Spare[Key, Content] | None:
        """A spare, which leaves the pool; None when there is none. ``hosts``: where it may be, best first."""
        fitting = [spare for spare in self.ready(key) if hosts is None or spare.host in hosts]
        if not fitting:
            return None
        found = fitting[0] if hosts is None else min(fitting, key=lambda spare: hosts.index(spare.host))
        self._spares.remove(found)
        self.taken[key] += bool(self._ordered[key])
        self._ordered -= Counter([key])
        self._changes.announce()
        return found

    def reject(self, spare: Spare[Key, Content], why: str) -> None:
        """Ends a spare, which may have been taken."""
        logger.warning("the %s %s is discarded: %s", self._maker.what, spare.name, why)
        if spare in self._spares:
            self._spares.remove(spare)
        self._begin_end(spare)

    def give_up_one(self, host: str) -> None:
        """Ends a ready spare of the host (empty: of any) to make room, unless one is just being ended there."""
        if any(host in {"", spare.host} for spare in self._ending):
            return
        found = next((spare for spare in self.ready() if host in {"", spare.host}), None)
        if found is not None:
            for key in {*self.wanted(), found.key}:
                self._makes.failed(key, time.monotonic())
            self._give_up_ordered(found.key, "One was given up, because its room was needed.")
            self.reject(found, "its room is needed")

    def use(self, key: Key) -> None:
        """Notes that a caller asks for this key."""
        self._used_at[key] = time.monotonic()

    def order(self, key: Key, count: int) -> None:
        """From now on there shall be ``count``, until they are taken. Making them begins at once, whatever failed."""
        self.use(key)
        self._ordered[key] = count
        self._ordered = +self._ordered
        self._makes.worked(key)
        self.errors[key], self.taken[key] = [], 0
        self.trim({key})

    def lacking(self, key: Key) -> int:
        """How many of the ordered ones are neither ready nor taken nor given up."""
        return max(self._ordered[key] - len(self.ready(key)), 0)

    def trim(self, keys: Collection[Key] | None = None) -> None:
        """Ends at once the spares beyond the wanted number, newest first; without ``keys`` those of every key."""
        lacking = self._lacking()
        for spare in tuple(reversed(self._spares)):
            if lacking[spare.key] < 0 and (keys is None or spare.key in keys):
                lacking[spare.key] += 1
                self.reject(spare, "it is one too many")
        self._changes.announce()

    def recognise(self, spares: Iterable[Spare[Key, Content]]) -> None:
        """Takes in what an earlier supervisor left. Known ones stay as they are."""
        known = self.names
        for spare in spares:
            if spare.name not in known:
                self._being_checked.append(spare)
                self._work.begin(self._check_found(spare))
        self._recognised = True
        self._changes.announce()

    async def _check_found(self, spare: Spare[Key, Content]) -> None:
        try:
            why = await self._maker.recognise(spare)
            if why:
                self.reject(spare, why)
            else:
                self._spares.append(spare)
        finally:
            self._being_checked.remove(spare)
            self._changes.announce()

    @property
    def waits_for(self) -> str:
        """Why there are too few, in words that go on after "waits for"; empty when there are enough."""
        lacking = self.wanted() - Counter(spare.key for spare in self.ready())
        if not lacking:
            return ""
        possible = [key for key in lacking if not self._maker.obstacle(key)]
        if not possible:
            return self._maker.obstacle(next(iter(lacking)))
        now = time.monotonic()
        if not any(self._makes.may(key, now) for key in possible):
            return f"the next try in {self._makes.pause_s(now):.0f} s: {self._last_error}"
        if self._permits.urgent:
            return f"spawns of callers, which come first: {self._permits.urgent} run, {self._permits.waiting} wait"
        return f"{lacking.total()} that are being made"

    def wake(self) -> None:
        """Called when the wanted number, or which spares are good, may have changed."""
        if self._has_work():
            self._changes.announce()

    async def keep(self) -> None:
        """Keeps the spares; returns only when another supervisor has the state."""
        while True:
            try:
                if self._has_work():
                    await self._confirm()
                for spare in await self._maker.look():
                    if spare.name not in self.names:
                        self.reject(spare, "it was not made to its end")
                self._step()
            except FencedError:
                logger.warning("no %s is made any more: another supervisor has the state", self._maker.what)
                return
            except Exception as error:  # Ray raises errors of its own kind; none of them may end this loop.
                known = isinstance(error, PhalanxError)
                logger.warning("the pool (%s) is checked again later: %s", self._maker.what, error, exc_info=not known)
                await asyncio.sleep(PAUSE_S)
            await self._changes.until(self._has_work, min(self._makes.pause_s(time.monotonic()) or EVERY_S, EVERY_S))

    def _step(self) -> None:
        now = time.monotonic()
        for spare in [spare for spare in self._end_failed if self._ends.may(spare.name, now)]:
            self._end_failed.remove(spare)
            self._begin_end(spare)
        for spare in tuple(self._spares):
            if why := self._maker.fault(spare):
                self.reject(spare, why)
        if unused := self._unused(self._lacking()):
            self.trim(unused)
        self._used_at = {key: at for key, at in self._used_at.items() if now - at < self._unused_s}
        self._makes.forget_all_but(self.wanted())
        while (key := self._next(self._lacking())) is not None:
            name = self._maker.new_name(key)
            self._being_made[name] = key
            self._making.begin(self._make(name, key))

    async def give_up(self) -> None:
        """Makes no more and ends all spares, as far as that can be done now."""
        self._recognised = False
        self._ordered.clear()
        await self._making.end()
        for spare in tuple(self._spares):
            self.reject(spare, "the team ends")
        await self._work.done()

    async def end(self) -> None:
        """Makes no more; ready spares stay for the next supervisor."""
        self._recognised = False
        await self._making.end()
        await self._work.end()

    def _lacking(self) -> Counter[Key]:
        """How many more there shall be of each key; negative when there are too many."""
        lacking = self.wanted()
        lacking.subtract(spare.key for spare in self._spares)
        return lacking

    def _unused(self, lacking: Mapping[Key, int]) -> list[Key]:
        """Keys with more spares than wanted, but for the one that a caller has asked for last, within ``unused_s``.

        A target of none lets the spares go at once: somebody has turned them off.
        """
        targets = self._targets()
        used_at = {key: self._used_at.get(key, self._began_at) for key, count in lacking.items() if count < 0}
        latest = max(used_at, key=used_at.__getitem__, default=None)
        now = time.monotonic()
        return [
            key for key, at in used_at.items() if targets.get(key) == 0 or key != latest or now - at >= self._unused_s
        ]

    def _next(self, lacking: Mapping[Key, int]) -> Key | None:
        """The key of which one more is to be made now; None when there is none."""
        if not self._recognised:
            return None
        now, pending = time.monotonic(), [*self._being_made.values(), *(spare.key for spare in self._being_checked)]
        for key, count in lacking.items():
            if count > 0 and count > pending.count(key) and self._makes.may(key, now) and not self._maker.obstacle(key):
                return key
        return None

    def _has_work(self) -> bool:
        lacking = self._lacking()
        to_do = self._next(lacking) is not None or self._unused(lacking)
        return bool(to_do) or any(map(self._maker.fault, self._spares))

    async def _make(self, name: str, key: Key) -> None:
        try:
            async with self._permits.hold_in_background():
                if self._lacking()[key] > 0:
                    self._spares.append(await self._maker.make(name, key))
                    self._makes.worked(key)
        except Exception as error:
            self._makes.failed(key, time.monotonic())
            self._give_up_ordered(key, str(error))
            raise
        finally:
            del self._being_made[name]
            self._changes.announce()

    def _give_up_ordered(self, key: Key, why: str) -> None:
        """Takes one off the order."""
        self._last_error = why
        if self._ordered[key]:
            self.errors[key].append(why)
        self._ordered -= Counter([key])

    def _begin_end(self, spare: Spare[Key, Content]) -> None:
        self._ending.append(spare)
        self._work.begin(self._end(spare))

    async def _end(self, spare: Spare[Key, Content]) -> None:
        try:
            await self._maker.end(spare)
            self._ends.worked(spare.name)
        except BaseException:
            self._end_failed.append(spare)
            self._ends.failed(spare.name, time.monotonic())
            raise
        finally:
            self._ending.remove(spare)
            self._changes.announce()
