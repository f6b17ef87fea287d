"""The events of a team: one stored stream, numbered without gaps, also over restarts of the supervisor.

Every part of the supervisor that has news publishes it here. Who listens asks for what came after a cursor and waits
when there is nothing: the verb ``events``, and parts of the supervisor itself. The stream keeps the latest ``KEPT``
events of the last ``KEPT_S`` seconds; who asks for older ones learns how many are gone.

Promises: an event is stored before it is told. What was published is told once, whatever dies, with one number: an
event that must not be lost together with the change that it tells of is stored as *due* with that change, and the next
supervisor publishes it. An event costs the same however many there are. Events that come while others are being stored
go into one transaction. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from actors.backoff import Backoff, LastingProblem
from actors.concurrency import ChangeNotifier
from actors.errors import FencedError, InvalidRequestError, StoreError
from supervisor.api.results import EventsResult, TeamEvent, iso
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore

logger = logging.getLogger(__name__)
KEPT = 10_000
KEPT_S = 7 * 86_400.0
MOST_AT_ONCE = 500
"""Events in one answer, and in one transaction."""
_SETTLE_S = 5.0
_STOP_S = 5.0
_RETRY = Backoff(first_s=0.5, longest_s=30.0)
_LONGEST_NUMBER = 15
Wanted = Callable[[TeamEvent], bool]


class EventStream:
    def __init__(self, store: StateStore, unreadable: Unreadable) -> None:
        self._store = store
        self._unreadable = unreadable
        self._events: dict[int, TeamEvent] = {}
        self._first = 1
        self._last = 0
        self._perhaps_written = 0
        """The highest number of a save that failed: a disk that hangs may write it in the end."""
        self._waiting: deque[_Publication] = deque()
        self._writing: asyncio.Task[None] | None = None
        self._stopped = False
        self._problem = LastingProblem(logger, "events are told later, because they cannot be stored")
        self._changes = ChangeNotifier()
        self._passing: TeamEvent | None = None
        self._passed = 0

    @property
    def cursor(self) -> str:
        """Of now: what is published from now on comes after it."""
        return str(self._last)

    @property
    def unstored(self) -> bool:
        """Something was published that is not told so far."""
        return bool(self._waiting)

    async def load(self) -> None:
        """Takes in the events of earlier supervisors and publishes those that were due. Raises ``StoreError``.

        An event that is due may be stored already: the save of its change failed, as far as that supervisor knew, and
        the change was made again together with others.
        """
        stored = await self._store.load(keys.EVENT_PREFIX)
        if stored:
            # From the keys: an event that this version cannot read has its number all the same.
            self._first, self._last = keys.event_number(next(iter(stored))), keys.event_number(next(reversed(stored)))
        for key, event in self._unreadable.readable(stored, decode_event):
            number = keys.event_number(key)
            self._events[number] = event.model_copy(update={"number": number})
        due = await self._store.load(keys.DUE_EVENT_PREFIX)
        told: set[bytes] = set()
        for key, events in self._unreadable.readable(due, _decode_due):
            told |= self._stored_at({event.at for event in events})
            encoded = {encode_event(event): event for event in events}
            self.publish_soon(*(event for code, event in encoded.items() if code not in told), delete=[key])
            told |= encoded.keys()

    def _stored_at(self, times: Set[str]) -> Set[bytes]:
        """The stored events of these times, encoded."""
        return {encode_event(event) for event in self._events.values() if event.at in times}

    async def stop(self) -> None:
        """Stores what waits, if the store can. What is published later is left to the next supervisor."""
        self._stopped = True
        if self._writing is not None and not self._writing.done():
            await asyncio.wait({self._writing}, timeout=_STOP_S)
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        for publication in self._waiting:
            publication.was_tried(_is_ending())

    @staticmethod
    def due(identity: str, events: Sequence[TeamEvent]) -> DueEvents:
        """Events that are about to happen. The caller stores their ``record`` with the change that they tell of, and
        then calls ``publish_due``. If it dies in between, the next supervisor publishes them.

        ``identity``: of this change among all whose events are due.
        """
        return DueEvents(key=keys.due_event(identity), events=events, plain=[_plain(event) for event in events])

    def publish_due(self, due: DueEvents) -> None:
        """``publish_soon``, which deletes the record."""
        self._queue(due.events, [encode_plain(each) for each in due.plain], {}, [due.key])

    async def publish(
        self, *events: TeamEvent, records: Mapping[str, bytes] | None = None, delete: Sequence[str] = ()
    ) -> None:
        """Stores events and then tells them. Returns when they are stored, each with the next number.

        ``records`` and ``delete``: what else changes in the same transaction. Raises ``StoreError`` when the store does
        not take them now; they are told as soon as it does. A caller that is cancelled has published them all the same.
        """
        publication = self._add(events, records or {}, delete)
        error = await asyncio.shield(publication.tried)
        if error is not None:
            raise error

    def publish_soon(
        self, *events: TeamEvent, records: Mapping[str, bytes] | None = None, delete: Sequence[str] = ()
    ) -> None:
        """``publish`` for callers that cannot wait."""
        self._add(events, records or {}, delete)

    def tell(self, event: TeamEvent) -> None:
        """Tells an event that is not kept: only who listens for its kind now hears of it."""
        self._passing, self._passed = event, self._passed + 1
        self._changes.announce()

    def sender_of(self, message_id: str) -> str | None:
        """Who sent the message, from the latest event of what became of it; None when none is kept."""
        stored = reversed(self._events.values())
        unstored = (event for publication in reversed(self._waiting) for event in publication.events)
        return next(
            (event.sender for event in itertools.chain(unstored, stored) if event.message_id == message_id), None
        )

    async def after(
        self, cursor: str | None, wanted: Wanted, timeout_s: float, *, with_passing: bool = False
    ) -> EventsResult:
        """The wanted events after ``cursor``, the oldest first and not too many at once.

        Waits up to ``timeout_s`` seconds for the first one. All that was published before this call is in the answer,
        or comes after the answer's cursor. ``with_passing``: also an event that is not kept. Raises
        ``InvalidRequestError`` for a cursor that this stream has not given.
        """
        since, passed = self._position(cursor)
        if self._waiting:
            await asyncio.wait({self._waiting[-1].tried}, timeout=_SETTLE_S)
        missed = max(0, self._first - 1 - since)
        at = since + missed
        found: list[TeamEvent] = []

        def look() -> bool:
            nonlocal at, passed
            while at < self._last and len(found) < MOST_AT_ONCE:
                at += 1
                event = self._events.get(at)
                if event is not None and wanted(event):
                    found.append(event)
            if with_passing and passed != self._passed and self._passing is not None and wanted(self._passing):
                found.append(self._passing)
            passed = self._passed
            return bool(found)

        await self._changes.until(look, timeout_s)
        return EventsResult(events=found, cursor=f"{at}+{passed}" if with_passing else str(at), missed=missed)

    def _position(self, cursor: str | None) -> tuple[int, int]:
        """How far the caller has heard: stored events, and those that are not kept."""
        if cursor is None:
            return self._last, self._passed
        number, _, passed = cursor.partition("+")
        if not _is_number(number) or not (passed == "" or _is_number(passed)):
            raise InvalidRequestError(
                f"{cursor!r} is no cursor of events: give the cursor of the last answer or the number of an event, or "
                "leave it out to hear what happens from now on."
            )
        if int(number) > self._last:
            raise InvalidRequestError(
                f"The last event of this team is {self._last}, so the cursor {cursor} is of another team, or of this "
                "one before its state was restored. Leave it out to hear what happens from now on, or give 0 for all "
                "events that are kept."
            )
        return int(number), min(int(passed), self._passed) if passed else self._passed

    def _add(self, events: Sequence[TeamEvent], records: Mapping[str, bytes], delete: Sequence[str]) -> _Publication:
        return self._queue(events, [encode_event(event) for event in events], records, delete)

    def _queue(
        self,
        events: Sequence[TeamEvent],
        encoded: Sequence[bytes],
        records: Mapping[str, bytes],
        delete: Sequence[str],
    ) -> _Publication:
        publication = _Publication(events=events, encoded=encoded, records=records, delete=delete)
        self._waiting.append(publication)
        if self._stopped:
            publication.was_tried(_is_ending())
        elif self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="store events")
        return publication

    async def _write(self) -> None:
        failures = 0
        while self._waiting:
            group = self._next_group()
            try:
                await self._store_together(group)
            except FencedError as error:
                for publication in self._waiting:
                    publication.was_tried(error)
                self._waiting.clear()  # it is another supervisor's now
            except StoreError as error:
                failures += 1
                await self._try_again_later(group, error, failures)
            except Exception as error:
                logger.exception("events could not be stored")
                failures += 1
                await self._try_again_later(group, StoreError(f"The store has a fault: {error!r}"), failures)
            else:
                failures = 0
                self._problem.over()
                for publication in group:
                    self._waiting.popleft()
                    publication.was_tried(None)

    async def _try_again_later(self, group: Sequence[_Publication], error: StoreError, failures: int) -> None:
        self._problem.met(error)
        for publication in group:
            publication.was_tried(error)
        await asyncio.sleep(_RETRY.pause_s(failures))

    def _next_group(self) -> Sequence[_Publication]:
        counts = itertools.accumulate(len(publication.events) for publication in self._waiting)
        fitting = sum(1 for _ in itertools.takewhile(lambda count: count <= MOST_AT_ONCE, counts))
        return list(itertools.islice(self._waiting, max(fitting, 1)))

    async def _store_together(self, group: Sequence[_Publication]) -> None:
        """In order: what a later one writes or deletes holds."""
        changes: dict[str, bytes | None] = {}
        numbered: list[TeamEvent] = []
        number = self._last
        for publication in group:
            changes |= dict(publication.records) | dict.fromkeys(publication.delete)
            for event, encoded in zip(publication.events, publication.encoded, strict=True):
                number += 1
                changes[keys.event(number)] = encoded
                numbered.append(event.model_copy(update={"number": number}))
        changes |= {keys.event(unsure): None for unsure in range(number + 1, self._perhaps_written + 1)}
        first = self._first_kept(number)
        changes |= {keys.event(old): None for old in range(self._first, first)}
        self._perhaps_written = max(self._perhaps_written, number)
        await self._store.save(
            {key: value for key, value in changes.items() if value is not None},
            [key for key, value in changes.items() if value is None],
        )
        self._perhaps_written = self._last = number
        self._events |= {event.number: event for event in numbered}
        for old in range(self._first, first):
            self._events.pop(old, None)
        self._first = first
        if numbered:
            self._changes.announce()

    def _first_kept(self, last: int) -> int:
        """The newest event always stays, so that the next one gets the next number."""
        first, oldest_at = max(self._first, last - KEPT + 1), iso(time.time() - KEPT_S)
        while first <= self._last and first < last and self._is_older(first, oldest_at):
            first += 1
        return first

    def _is_older(self, number: int, at: str) -> bool:
        event = self._events.get(number)
        return event is None or event.at < at


@dataclass(frozen=True, slots=True, kw_only=True)
class DueEvents:
    """Events that tell of one change; see ``EventStream.due``."""

    key: str
    events: Sequence[TeamEvent]
    plain: Sequence[Mapping[str, Any]]
    """As they are stored."""

    @property
    def record(self) -> Mapping[str, bytes]:
        """One for all of them, because each costs as much as an event; none without events."""
        return {self.key: encode_plain(self.plain)} if self.events else {}


@dataclass(slots=True, kw_only=True)
class _Publication:
    """Events that are stored together, and what else changes with them."""

    events: Sequence[TeamEvent]
    encoded: Sequence[bytes]
    records: Mapping[str, bytes]
    delete: Sequence[str]
    tried: asyncio.Future[StoreError | None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done when the store has taken them, or has refused them once."""

    def was_tried(self, error: StoreError | None) -> None:
        if not self.tried.done():
            self.tried.set_result(error)


def _is_ending() -> StoreError:
    return StoreError("The supervisor is ending: the next one tells the event.")


def encode_event(event: TeamEvent) -> bytes:
    """Without its number, which the key has."""
    return encode_plain(_plain(event))


def _plain(event: TeamEvent) -> Mapping[str, Any]:
    return event.model_dump(mode="json", exclude={"number"}, exclude_defaults=True)


def decode_event(data: bytes) -> TeamEvent:
    return TeamEvent.model_validate(decode_plain(data))


def _decode_due(data: bytes) -> list[TeamEvent]:
    return [TeamEvent.model_validate(plain) for plain in decode_plain(data)]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
