"""Tells instances that lead what happened to those below them, as messages of the team.

The supervisor begins ``LeadNotifier`` with its services. It listens to the ``EventStream``, and gives each lead one
message for all that happened since the last one, through the outbox, typed and proved like any other. The sender is
``team``.

Whose event it is says ``addressees``; in which words it is told, ``telling_words``. Leads that are no instances are not
typed at.

When: while the lead stands at its prompt and no earlier message of ours is under way to it. So events gather during its
turn, and one message interrupts it at most once a turn. A request that was answered meanwhile is left out.

No chatter: who leads others has finished only when nobody below it works any more, and nothing is left to be told to
it. The end of its turn is told to its own lead only then, with all that it has answered since. So a manager that merely
takes note of what one of its five specialists did wakes nobody above; the executive hears of it once, when the last of
them has ended and the manager has answered. Events go up only, so each wave of work ends at the top.

What a lead has seen is not told. It has seen an answer when it has read that conversation to its end, and a question or
failure when ``list`` or ``wait`` showed it. A question that still waits when who was told of it, or has seen it, is
gone is told to the next one above. A message that the instance itself sent does not count: it may have come before the
end of its work. Nor does ``list`` count for an answer, which it does not show.

Never lost, never twice: how far the events of each instance are told is stored in one transaction with the message that
tells them. When that message does not arrive because its lead has ended, they go to whoever leads then; when a living
lead does not take it, because a hook of the user refuses it, they go to the next one above after a few tries.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from pydantic import TypeAdapter

from actors.concurrency import TaskSet
from actors.errors import FencedError, StoreError
from actors.messages import TELLER, Message, MessageStatus, Receipt
from actors.status import Status
from supervisor.api.requests import BatchMessage
from supervisor.api.results import InstanceInfo, TeamEvent
from supervisor.api.verbs import Handler
from supervisor.events.addressees import Addressees, is_question
from supervisor.events.telling_words import text_of
from supervisor.messaging.outbox import Writes
from supervisor.records import decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.queries import is_settled
from supervisor.team.registry import Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

SENDER = TELLER
TOLD_KINDS = frozenset({"became_idle", "needs_attention", "failed", "message_final", "conflict", "limit_reached"})
"""``merged`` is not among them: the result of ``merge`` tells it to the lead that asked, as it does of a conflict."""
_MOST_TRIES = 3
"""So often a message is made that a living lead does not take."""
_STORE_AGAIN_S = 1.0
_LISTEN_S = 3600.0
_NOT_TOLD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldToLeads:
    """How far the events of one instance are told. What its lead has seen for itself counts as told."""

    number: int = 0
    """All its events up to this one are told,"""
    left: frozenset[int] = frozenset()
    """but for these,"""
    sent: frozenset[int] = frozenset()
    """and for these, which the message under way tells."""
    message_id: str = ""
    """Of that message; it stays when the message has arrived, until this record is stored again."""
    lead: str = ""
    """Who was told last."""
    question: int = 0
    """The last of them that somebody was told of, or has seen, though it need not be answered,"""
    asked: str = ""
    """and who that was."""

    def covers(self, number: int) -> bool:
        return number <= self.number and number not in self.left


_ADAPTER = TypeAdapter(ToldToLeads)
_NOTHING = ToldToLeads()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    lead: str
    events: Sequence[TeamEvent]


class _Pending(NamedTuple):
    """What is to be told, but for what is not known yet."""

    leads: dict[int, Member]
    """By number: whose it is."""
    over: list[TeamEvent]
    nobodys: list[TeamEvent]
    """Any more."""


class LeadNotifier:
    """A ``VerbService`` without verbs. All in the supervisor's event loop."""

    def __init__(self, team: Team, store: StateStore, *, on: bool, auto_restart: bool) -> None:
        """``on``: leads are told at all. ``auto_restart``: an instance that fails is started again by itself."""
        self._team = team
        self._stream = team.events
        self._store = store
        self._heard = "0"
        """The cursor in the stream up to which events were taken in."""
        self._on = on
        self._addressees = Addressees(team.registry, auto_restart=auto_restart)
        self._pending: dict[int, TeamEvent] = {}
        """What is to be told, by number."""
        self._told: dict[str, ToldToLeads] = {}
        """By instance, as it will be stored with the next message."""
        self._unstored: set[str] = set()
        """Instances of which the store has an older ``ToldToLeads``."""
        self._sent: dict[str, _Sent] = {}
        """By id: the messages that are under way, one to each lead."""
        self._tries: dict[str, int] = {}
        """By lead: how many messages in a row have failed."""
        self._refused: defaultdict[int, set[str]] = defaultdict(set)
        """By number: the leads that did not take what is still to be told."""
        self._over: set[str] = set()
        """Instances of which the store does not know that a question is over."""
        self._asked: dict[int, tuple[TeamEvent, str]] = {}
        """By number: what was asked, for as long as that waits, and who was told or has seen it."""
        self._read_at: dict[str, tuple[str, float]] = {}
        """By instance: who of its leads has read it to its end, and when that began."""
        self._storing = asyncio.Lock()
        """What leads have seen and what they are told change the same records: one after the other."""
        self._tasks = TaskSet("tell the leads")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {}

    async def begin(self) -> None:
        """Takes up what an earlier supervisor has left. Raises ``StoreError``."""
        if not self._on:
            await self._store.save({keys.LEADS_TOLD_SINCE: encode_plain(_NOT_TOLD)})
            return
        self._heard = await self._since()
        stored = await self._events_after(self._heard)
        await self._restore(stored)
        self._take_in(stored)
        self._tasks.begin(self._listen())
        self._tasks.begin(self._run())

    async def _since(self) -> str:
        """What happened while leads were not told is never told."""
        since, last = 0, int(self._stream.cursor)
        stored = await self._store.load(keys.LEADS_TOLD_SINCE)
        for _, number in self._team.unreadable.readable(stored, lambda data: int(decode_plain(data))):
            since = number
        if since == _NOT_TOLD:
            since = last
            await self._store.save({keys.LEADS_TOLD_SINCE: encode_plain(since)})
        return str(min(since, last))  # the state may have been restored from an older one

    async def _events_after(self, cursor: str) -> list[TeamEvent]:
        """All of ours that there are now; ``_heard`` is behind them then."""
        found: list[TeamEvent] = []
        while True:
            answer = await self._stream.after(cursor, _any, 0.0)
            self._heard = cursor = answer.cursor
            found += filter(_is_told, answer.events)
            if not answer.events:
                return found

    async def _listen(self) -> None:
        """Every event is heard, because one that was not might be about somebody who has not finished."""
        while True:
            answer = await self._stream.after(self._heard, _any, _LISTEN_S)
            self._take_in(filter(_is_told, answer.events))
            self._heard = answer.cursor
            self._team.changes.announce()

    async def _restore(self, events: Sequence[TeamEvent]) -> None:
        """``events``: all that may have been told."""
        stored = await self._store.load(keys.TOLD_TO_LEADS_PREFIX)
        of_instance: defaultdict[str, list[TeamEvent]] = defaultdict(list)
        for event in events:
            of_instance[event.instance_id or ""].append(event)
        gone = []
        for key, told in self._team.unreadable.readable(stored, _decode):
            instance_id = key.removeprefix(keys.TOLD_TO_LEADS_PREFIX)
            if instance_id not in self._team.registry:
                gone.append(key)
                continue
            self._told[instance_id] = told
            sent = [event for event in of_instance[instance_id] if event.number in told.sent]
            if sent:  # the first look finds out what became of the message
                earlier = self._sent.get(told.message_id)
                both = [*(earlier.events if earlier else ()), *sent]
                self._sent[told.message_id] = _Sent(lead=told.lead, events=both)
            asked = [event for event in of_instance[instance_id] if is_question(event)]
            if asked and asked[-1].number == told.question:
                self._asked[told.question] = (asked[-1], told.asked)
        if gone:
            await self._store.save({}, gone)

    async def end(self) -> None:
        await self._tasks.end()

    def _take_in(self, events: Iterable[TeamEvent]) -> None:
        """One that cannot be read, as another version may have stored it, keeps nobody from hearing of the others."""
        for event in events:
            try:
                self._add(event)
            except Exception:
                logger.exception("no lead is told of event %d", event.number)

    def _add(self, event: TeamEvent) -> None:
        is_told = self._told.get(event.instance_id or "", _NOTHING).covers(event.number)
        if not is_told and not self._is_known(event):
            self._pending[event.number] = event

    def _is_known(self, event: TeamEvent) -> bool:
        """Its lead has read the answer already, of which is told only now. A conflict is in the result of ``merge``:
        whoever called that for its own work, or for those whom it leads, knows of it."""
        if event.kind == "conflict":
            return event.sender == event.instance_id or self._is_lead(event.sender or "", event)
        reader, read_at = self._read_at.get(event.instance_id or "", ("", 0.0))
        return event.kind == "became_idle" and _happened_at(event) <= read_at and self._is_lead(reader, event)

    def to_be_told(self) -> Set[str]:
        """The ids of the leads for which a message of the team is about to be made. Costs as much as all that is
        pending, so a caller asks once for all whom it looks at."""
        if not self._on:
            return frozenset()
        due = {*self._due(self._pending_by_state().leads)} if self._pending else set[str]()
        if self._is_behind:
            due |= {lead.record.instance_id for lead in self._team.registry.leads() if lead.alive}
        return due

    @property
    def _is_behind(self) -> bool:
        """Something has happened that is not taken in yet."""
        return self._stream.unstored or self._heard != self._stream.cursor

    # What a lead has seen for itself

    async def has_read(self, reader: str, instance_id: str, at: float) -> None:
        """``reader`` has read this conversation to the end that it had ``at`` that time, seconds since the epoch.

        Empty: it was no instance.
        """
        if reader:
            self._read_at[instance_id] = (reader, at)
            answers = (
                event
                for event in self._pending.values()
                if event.instance_id == instance_id and event.kind == "became_idle" and _happened_at(event) <= at
            )
            await self._note_seen(reader, answers)

    async def has_seen(self, reader: str, shown: Iterable[InstanceInfo]) -> None:
        """``reader`` was shown what these need and why they failed. Empty: it was no instance."""
        if reader and self._pending:
            ids = {one.instance_id for one in shown if one.needs_attention}
            found = (
                event
                for event in self._pending.values()
                if event.instance_id in ids and event.kind in {"needs_attention", "failed"}
            )
            await self._note_seen(reader, found)

    async def _note_seen(self, reader: str, events: Iterable[TeamEvent]) -> None:
        seen = [event for event in events if self._is_lead(reader, event)]
        if not seen:
            return
        async with self._storing:
            seen = [event for event in seen if event.number in self._pending]
            self._note_told(seen)
            self._note_asked(seen, reader)
            self._take_off(seen)
            with suppress(StoreError):  # then it may be told once more, after a crash
                await self._store.save(self._stored(event.instance_id or "" for event in seen))

    def _note_told(self, events: Sequence[TeamEvent]) -> None:
        """These are told; what is pending of the same instances besides is not."""
        numbers = {event.number for event in events}
        for event in events:
            told = self._told.get(event.instance_id or "", _NOTHING)
            self._told[event.instance_id or ""] = replace(told, number=max(told.number, event.number))
        for instance_id in {event.instance_id or "" for event in events}:
            told = self._told[instance_id]
            waits = {number for number, event in self._pending.items() if event.instance_id == instance_id} - numbers
            left = frozenset(number for number in waits if number <= told.number)
            self._told[instance_id] = replace(told, left=left)
            self._unstored.add(instance_id)

    def _note_asked(self, events: Iterable[TeamEvent], lead: str) -> None:
        """``lead`` knows of the questions among these, which are noted as told."""
        for event in events:
            if is_question(event):
                told = self._told[event.instance_id or ""]
                self._told[event.instance_id or ""] = replace(told, question=event.number, asked=lead)
                self._asked[event.number] = (event, lead)

    def _take_off(self, events: Iterable[TeamEvent]) -> None:
        """For good."""
        for event in events:
            self._pending.pop(event.number, None)
            self._refused.pop(event.number, None)

    def _lead_of(self, event: TeamEvent) -> Member | None:
        return self._addressees.lead_of(event, self._refused.get(event.number, ()))

    def _is_lead(self, instance_id: str, event: TeamEvent) -> bool:
        lead = self._lead_of(event)
        return lead is not None and lead.record.instance_id == instance_id

    # Telling

    async def _run(self) -> None:
        while True:
            try:
                if not await self._tell():  # it has not waited, so no change was missed
                    await self._team.changes.next(None)
            except FencedError:
                logger.warning("no lead is told of anything any more: another supervisor has the state")
                return
            except StoreError as error:
                logger.warning("leads are told later: %s", error)
                await asyncio.sleep(_STORE_AGAIN_S)
            except Exception:
                logger.exception("the leads could not be told what happened")
                await asyncio.sleep(_STORE_AGAIN_S)

    async def _tell(self) -> bool:
        """One message to each lead that can be told something now; all in one transaction. Whether it has waited."""
        has_waited = self._storing.locked()
        async with self._storing:
            return await self._tell_due() or has_waited

    async def _tell_due(self) -> bool:
        self._take_in_receipts()
        pending = self._pending_by_state()
        self._forget(pending)
        due = self._due(pending.leads)
        messages: list[Message] = []
        sent: dict[str, _Sent] = {}
        for lead, events in due.items():
            text = text_of(events, self._team)
            given = BatchMessage(instance_id=lead, message=text, immediate=True)
            (message,) = self._team.outbox.check([given], SENDER, time.time())
            if isinstance(message, Message):  # it has not just ended
                messages.append(message)
                sent[message.id] = _Sent(lead=lead, events=events)
        if not messages:
            return await self._store_over()
        before = dict(self._told), set(self._unstored), dict(self._asked)
        for message_id, each in sent.items():
            self._note_told(each.events)
            self._note_asked(each.events, each.lead)
            for instance_id in {event.instance_id or "" for event in each.events}:
                numbers = frozenset(event.number for event in each.events if event.instance_id == instance_id)
                told = replace(self._told[instance_id], sent=numbers, message_id=message_id, lead=each.lead)
                self._told[instance_id] = told
        stored = self._unstored.copy()
        try:
            await self._team.outbox.accept(messages, Writes(records=self._stored(stored)))
        except StoreError:
            self._told, self._unstored, self._asked = before
            raise
        self._unstored -= stored
        self._over -= stored
        self._sent |= sent
        for event in (event for each in sent.values() for event in each.events):
            self._pending.pop(event.number, None)  # only now: until then they are on their way
        return True

    async def _store_over(self) -> bool:
        """After a crash an old question would be told with the next one, whose instance needs attention again."""
        over = self._over.copy()
        if not over:
            return False
        await self._store.save(self._stored(over))
        self._over -= over
        return True

    def _take_in_receipts(self) -> None:
        """What became of the messages that were under way."""
        for message_id, sent in [*self._sent.items()]:
            receipt = self._team.outbox.receipt(message_id)
            if receipt is not None and not receipt.final:
                continue
            del self._sent[message_id]
            tries = self._tries.pop(sent.lead, 0) + 1
            # Without a receipt it was never accepted: a disk that hung had stored a part of what it was given.
            again = [
                event for event in sent.events if receipt is None or self._is_to_be_told_again(event, sent, receipt)
            ]
            self._take_off([event for event in sent.events if event not in again])
            if again:
                self._pending |= {event.number: event for event in again}
                self._note_try(sent, tries, receipt)
            for instance_id in {event.instance_id or "" for event in sent.events}:
                told = self._told[instance_id]
                left = told.left | told.sent.intersection(event.number for event in again)
                self._told[instance_id] = replace(told, left=left, sent=frozenset(), message_id="")
                self._unstored.add(instance_id)
        for number, (event, lead) in [*self._asked.items()]:
            self._look_at_question(number, event, lead)

    def _note_try(self, sent: _Sent, tries: int, receipt: Receipt | None) -> None:
        """A living lead that does not take it is passed over for what it was to be told."""
        if receipt is None or self._addressees.is_gone(self._team.registry.find(sent.lead)):
            return
        if tries < _MOST_TRIES:
            self._tries[sent.lead] = tries
            return
        logger.warning(
            "%s did not take %d times what happened below it, which goes to the next lead above: %s",
            *(sent.lead, tries, receipt.reason),
        )
        for event in sent.events:
            self._refused[event.number].add(sent.lead)

    def _look_at_question(self, number: int, event: TeamEvent, lead: str) -> None:
        """One that still waits when who was told of it is gone is told to the next one above."""
        member = self._team.registry.find(event.instance_id or "")
        if member is not None and self._is_unknown(event, member):
            return
        if member is None or self._is_over(event, member):
            del self._asked[number]
        elif self._addressees.is_anothers(
            event, lead, self._refused.get(event.number, ())
        ) and not self._is_under_way_to(lead):
            del self._asked[number]
            self._pending[number] = event

    def _is_to_be_told_again(self, event: TeamEvent, sent: _Sent, receipt: Receipt) -> bool:
        """What may have arrived is told again only to somebody else."""
        if receipt.status is MessageStatus.FAILED:
            return True
        return receipt.status is MessageStatus.UNCONFIRMED and self._addressees.is_anothers(
            event, sent.lead, self._refused.get(event.number, ())
        )

    def _pending_by_state(self) -> _Pending:
        leads: dict[int, Member] = {}
        over: list[TeamEvent] = []
        nobodys: list[TeamEvent] = []
        of_all: dict[object, Member | None] = {}
        latest = {each.instance_id: number for number, each in sorted(self._pending.items()) if is_question(each)}
        for event in self._pending.values():
            member = self._team.registry.find(event.instance_id or "")
            if member is not None and self._is_unknown(event, member):
                continue
            refused = frozenset(self._refused.get(event.number, ()))
            alike = (event.instance_id, event.kind, event.permission_id, event.sender, refused)
            if alike not in of_all:
                of_all[alike] = self._lead_of(event)
            lead = of_all[alike]
            known = self._told.get(event.instance_id or "", _NOTHING).question
            is_old = is_question(event) and event.number < max(known, latest[event.instance_id])
            if member is not None and (is_old or self._is_over(event, member) or (lead is None and refused)):
                over.append(event)
            elif member is None or lead is None:
                nobodys.append(event)
            else:
                leads[event.number] = lead
        return _Pending(leads, over, nobodys)

    def _forget(self, pending: _Pending) -> None:
        for event in pending.over:
            self._note_told([event])
            self._over.add(event.instance_id or "")
        self._take_off([*pending.over, *pending.nobodys])

    def _due(self, leads: Mapping[int, Member]) -> dict[str, list[TeamEvent]]:
        """By lead: what it can be told now, of the events whose leads these are."""
        awaiting = {lead.record.instance_id for lead in leads.values()}
        under_way = {event.instance_id for sent in self._sent.values() for event in sent.events}
        due: defaultdict[str, list[TeamEvent]] = defaultdict(list)
        told_to: dict[str | None, str] = {}
        for number in sorted(leads):
            event, lead_id = self._pending[number], leads[number].record.instance_id
            # One message at a time tells of an instance: its record names one.
            if event.instance_id in under_way or told_to.get(event.instance_id, lead_id) != lead_id:
                continue
            if not self._can_be_told(leads[number]):
                continue
            if event.kind != "became_idle" or self._has_finished(event.instance_id or "", awaiting):
                due[lead_id].append(event)
                told_to[event.instance_id] = lead_id
        return due

    def _can_be_told(self, lead: Member) -> bool:
        instance_id = lead.record.instance_id
        at_its_prompt = lead.snapshot.status is Status.READY and self._team.links.has(instance_id)
        goes_on = not lead.coming_back and not lead.ending
        return at_its_prompt and goes_on and not self._is_under_way_to(instance_id)

    def _is_under_way_to(self, lead: str) -> bool:
        return any(sent.lead == lead for sent in self._sent.values())

    def _is_unknown(self, event: TeamEvent, member: Member) -> bool:
        """What it asks, and whether that still waits, cannot be told: the team has just come back."""
        snapshot = member.snapshot
        is_heard = self._team.links.has(member.record.instance_id) and (
            snapshot.status is not Status.STARTING or bool(snapshot.reason)
        )
        return is_question(event) and member.alive and not is_heard

    def _is_over(self, event: TeamEvent, member: Member) -> bool:
        """Its question was answered meanwhile."""
        if not is_question(event):
            return False
        if event.permission_id:
            asked = member.snapshot.permission
            return asked is None or asked.request_id != event.permission_id
        return not member.alive or not self._team.needs_attention(member)

    def _has_finished(self, instance_id: str, awaiting: set[str]) -> bool:
        """Always of one that leads nobody: each end of its turn counts."""
        below = [*self._team.registry.below(instance_id)]
        if not below:
            return True
        if instance_id in awaiting or self._is_behind:  # which may be about those below it
            return False
        return all(is_settled(self._team, one) for one in (self._team.registry.get(instance_id), *below))

    def _stored(self, instance_ids: Iterable[str]) -> dict[str, bytes]:
        return {keys.told_to_leads(one): _encode(self._told[one]) for one in instance_ids if one in self._told}


def _any(event: TeamEvent) -> bool:
    return True


def _is_told(event: TeamEvent) -> bool:
    is_known = event.kind == "message_final" and event.status is MessageStatus.SUBMITTED
    return event.kind in TOLD_KINDS and bool(event.instance_id) and not is_known


def _happened_at(event: TeamEvent) -> float:
    """Seconds since the epoch."""
    return datetime.datetime.fromisoformat(event.at).timestamp()


def _encode(told: ToldToLeads) -> bytes:
    return encode_plain(_ADAPTER.dump_python(told, mode="json"))


def _decode(data: bytes) -> ToldToLeads:
    return _ADAPTER.validate_python(decode_plain(data))
