"""The team: registry, links, outbox, events and store, kept in step.

Every change of who is in the team goes through ``Team``; every wait for a change of the team waits on ``changes``. A
change of an instance is stored before anybody is told of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Unpack

from actors.agents.base import TokenUse
from actors.concurrency import ChangeNotifier
from actors.errors import StoreError, UnknownInstanceError
from actors.instance.reports import InstanceSnapshot, Report
from actors.status import ALIVE, IDLE, Status
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent, iso
from supervisor.events.stream import EventStream
from supervisor.messaging.outbox import Outbox, Writes
from supervisor.metrics.metrics import Count, MetricsRecorder
from supervisor.records import Unreadable, decode_plain, decode_record, encode_plain, encode_record
from supervisor.rpc.idempotency import IdempotencyStore, IdempotentCall
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.store.guards import PreservingStore
from supervisor.team.limits import in_force
from supervisor.team.links import InstanceLinks
from supervisor.team.moving_trees import MovingTrees
from supervisor.team.registry import InstanceRecord, InstanceStage, LastSeen, Member, RecordChanges, Registry

logger = logging.getLogger(__name__)

_STAGE_OF = {Status.STOPPED: InstanceStage.STOPPED, Status.FAILED: InstanceStage.FAILED}


class Team:
    def __init__(self, store: StateStore, names: Iterable[str] = (), recorder: MetricsRecorder | None = None) -> None:
        """``names``: of what instances and spares have left in this home; they are not given again."""
        self.changes = ChangeNotifier()
        self.registry = Registry()
        for name in names:
            self.registry.note_name(name)
        self.links = InstanceLinks(self.registry.touch)
        self.moving_trees = MovingTrees(self.changes)
        self.recorder = recorder or MetricsRecorder()
        self.unreadable = Unreadable()
        store = PreservingStore(store, self.unreadable)
        self.events = EventStream(store, self.unreadable)
        self.outbox = Outbox(self.registry, self.links, store, self.changes, self.recorder, self.events)
        self.idempotency = IdempotencyStore()
        self._failure_subscribers: list[Callable[[Member], None]] = []
        self._report_subscribers: list[Callable[[Member, Report], None]] = []
        self._change_subscribers: list[Callable[[Member], None]] = []
        self._warnings: list[Callable[[], str]] = []
        self._store = store
        self._pastes: dict[str, tuple[int, int]] = {}
        self._began_at = time.time()

    def subscribe_failures(self, subscriber: Callable[[Member], None]) -> None:
        """``subscriber`` is called when an instance has failed by itself; it must neither fail nor block."""
        self._failure_subscribers.append(subscriber)

    def subscribe_reports(self, subscriber: Callable[[Member, Report], None]) -> None:
        """``subscriber`` is called with each report of an instance; it must neither fail nor block."""
        self._report_subscribers.append(subscriber)

    def subscribe_changes(self, subscriber: Callable[[Member], None]) -> None:
        """``subscriber`` is called when something about an instance may have changed, also that it has left the team;
        it must neither fail nor block."""
        self._change_subscribers.append(subscriber)

    def changed(self, member: Member) -> None:
        """Tells all who wait that something about this instance may have changed."""
        for subscriber in self._change_subscribers:
            subscriber(member)
        self.changes.announce()

    def add_warning(self, warning: Callable[[], str]) -> None:
        """``warning`` says what is wrong with another part of the team, for people; empty while nothing is."""
        self._warnings.append(warning)

    async def load(self) -> None:
        """Takes in what the store tells of the team. Raises ``StoreError``."""
        now = time.time()
        last, last_spare = await self._counted(keys.LAST_NUMBER), await self._counted(keys.LAST_SPARE)
        stored = await self._store.load(keys.INSTANCE_PREFIX)
        records = [record for _, record in self.unreadable.readable(stored, decode_record)]
        for name in self.unreadable.instance_ids:
            self.registry.note_name(name)
        self.registry.last_number = max(self.registry.last_number, last)
        self.registry.last_spare = max(self.registry.last_spare, last_spare)
        for record in sorted(records, key=lambda record: record.number):
            self.registry.restore(record, now)
        messages, receipts = await self._store.load(keys.MESSAGE_PREFIX), await self._store.load(keys.RECEIPT_PREFIX)
        self.outbox.restore(messages, receipts, self.unreadable)
        self.idempotency.restore(await self._store.load(keys.REQUEST_PREFIX), self.unreadable)
        await self.events.load()

    async def _counted(self, key: str) -> int:
        found = self.unreadable.readable(await self._store.load(key), lambda data: int(decode_plain(data)))
        return max((number for _, number in found), default=0)

    def stored_form(self, record: InstanceRecord) -> Writes:
        """What stands in the store for this record, to be written together with other things."""
        return Writes(records={keys.instance(record.instance_id): encode_record(record), **self._counter()})

    def _counter(self) -> dict[str, bytes]:
        counts = {keys.LAST_NUMBER: self.registry.last_number, keys.LAST_SPARE: self.registry.last_spare}
        return {key: encode_plain(count) for key, count in counts.items()}

    async def confirm(self) -> None:
        """Raises ``FencedError`` when another supervisor has the state: to be called before agents are touched."""
        await self._store.save(self._counter())

    async def save(self, instance_id: str, **changes: Unpack[RecordChanges]) -> InstanceRecord:
        """Changes the record and stores it.

        Raises ``StoreError``; then the record is as it was. Raises ``UnknownInstanceError`` also when the instance is
        removed while this waits; then nothing is stored.
        """
        return await self._save(instance_id, changes)

    async def save_fresh(self, instance_id: str, **changes: Unpack[RecordChanges]) -> InstanceRecord:
        """As ``save``, for a fresh conversation: messages of the one before are not delivered again, its tokens stay.

        Nobody follows the instance meanwhile.
        """
        said = self.outbox.unsynced.of(instance_id)
        member = self.registry.get(instance_id)
        changes |= {"tokens_before": member.tokens, "tokens": TokenUse()}
        record = await self._save(instance_id, changes, [keys.message(message_id) for message_id in said])
        member.snapshot = replace(member.snapshot, tokens=TokenUse())
        self.outbox.unsynced.forget(instance_id, said)
        return record

    async def _save(self, instance_id: str, changes: RecordChanges, delete: Sequence[str] = ()) -> InstanceRecord:
        member = self.registry.get(instance_id)
        async with member.writing:
            self.registry.get(instance_id)  # it may have been removed while this waited
            changed = replace(member.record, **changes)
            await self._store.save(self.stored_form(changed).records, delete)
            stage = member.record.stage
            # What a spawn has noted meanwhile, to be stored with its next step, stays.
            self.registry.change_in_memory(instance_id, **changes)
        if member.record.stage is not stage:
            self.changed(member)
        return member.record

    async def remove(self, instance_id: str) -> None:
        """Forgets an instance as if it had never been."""
        await self._remove(instance_id, IdempotentCall())

    async def dismiss(self, instance_id: str) -> None:
        """Forgets an instance that has ended; a repeat of the call that made it still gets it."""
        record = self.registry.get(instance_id).record
        noted = self.idempotency.note(record.request_id, record.fingerprint, [encode_record(record)])
        await self._remove(instance_id, noted)
        self.idempotency.keep(noted)

    async def save_noted(self, noted: IdempotentCall) -> None:
        """What a call has done that changes no record of the team. Raises ``StoreError``."""
        await self._store.save(noted.records, noted.delete)

    def dismissed(self, request_id: str | None, fingerprint: str) -> InstanceRecord | None:
        """The dismissed instance that this call made. Raises ``InvalidRequestError`` when its record is unreadable."""
        outcomes = self.idempotency.outcomes(request_id, fingerprint)
        return None if outcomes is None else decode_record(outcomes[0])

    def snapshot_of(self, instance_id: str) -> InstanceSnapshot:
        """Also of one that was dismissed."""
        member = self.registry.find(instance_id)
        return member.snapshot if member else InstanceSnapshot(status=Status.STOPPED)

    async def _remove(self, instance_id: str, noted: IdempotentCall) -> None:
        await self.links.leave(instance_id)
        member = self.registry.find(instance_id)
        # A change that waits to be stored would write the record again.
        async with member.writing if member else nullcontext():
            await self._remove_stored(instance_id, member, noted)
            self.registry.remove(instance_id)
        self._pastes.pop(instance_id, None)
        if member is not None:
            self.changed(member)

    def event(
        self,
        kind: EventKind,
        instance_id: str,
        text: str,
        *,
        sender: str | None = None,
        permission_id: str | None = None,
    ) -> TeamEvent:
        """What has just happened to an instance, or to one that has left the team, to be published in ``events``."""
        member = self.registry.find(instance_id)
        return TeamEvent(
            kind=kind,
            at=iso(time.time()),
            instance_id=instance_id,
            name=member.record.name if member else None,
            parent_id=member.record.parent_id if member else None,
            text=text.encode(errors="replace").decode(),
            sender=sender,
            permission_id=permission_id,
        )

    async def _remove_stored(self, instance_id: str, member: Member | None, noted: IdempotentCall) -> None:
        """What it has used goes on to count for those above it."""
        deleted = [keys.instance(instance_id), *noted.delete]
        used = max(member.counted, member.tokens.counted) + member.record.tokens_of_removed if member else 0
        lead = self.registry.nearest_lead(member.record) if member and used else None
        if lead is None:
            await self._store.save(noted.records, delete=deleted)
            return
        async with lead.writing:
            of_removed = lead.record.tokens_of_removed + used
            kept = self.stored_form(replace(lead.record, tokens_of_removed=of_removed)).records
            await self._store.save({**noted.records, **kept}, delete=deleted)
            self.registry.change_in_memory(lead.record.instance_id, tokens_of_removed=of_removed)

    async def mark_ended(self, member: Member, stage: InstanceStage, reason: str, *, left: str = "") -> None:
        """Notes that the agent has ended while it was not followed. ``left``: see ``InstanceRecord``."""
        await self.save(
            member.record.instance_id,
            stage=stage,
            reason=reason,
            left=left,
            ended_at=time.time(),
            tokens=member.tokens_of_conversation,
            last_seen=LastSeen.of(member.snapshot),
        )
        status = Status.STOPPED if stage is InstanceStage.STOPPED else Status.FAILED
        member.snapshot = replace(member.snapshot, status=status, since=time.time(), reason=reason, permission=None)
        member.silence = ""
        self.changed(member)
        if stage is InstanceStage.FAILED:
            self._has_failed(member)

    async def mark_read(self, member: Member) -> None:
        """What one that has ended had answered was read. If it cannot be stored, the next start has it as unread."""
        if member.alive or not member.snapshot.unread:
            return
        member.snapshot = replace(member.snapshot, unread=0)
        instance_id = member.record.instance_id
        try:
            await self.save(instance_id, last_seen=LastSeen.of(member.snapshot))
        except (StoreError, UnknownInstanceError) as error:
            logger.warning("that the answers of %s were read cannot be stored: %s", instance_id, error)

    async def tell_reason(self, member: Member, reason: str) -> None:
        """There is more to say about why it has failed. Raises ``StoreError``."""
        await self.save(member.record.instance_id, reason=reason)
        member.snapshot = replace(member.snapshot, reason=reason)
        self.changed(member)

    async def take_in(self, instance_id: str, report: Report) -> None:
        """What an instance reports; its receipts are stored with what changed of its record."""
        if instance_id not in self.registry:
            await self.outbox.take_receipts(report.receipts)
            return
        member = self.registry.get(instance_id)
        async with member.writing:
            if instance_id not in self.registry:  # a spare that was given to an instance meanwhile
                return
            limited = any(limits.tokens for limits in in_force(member.record, self.registry))
            earlier, changed = member.record, _changed(member.record, report.snapshot, limited=limited)
            extra = self.stored_form(changed) if changed != earlier else Writes(records={})
            if earlier.transcript_path and changed.transcript_path != earlier.transcript_path:
                # Messages of the conversation before ended with it: they are not delivered again.
                await self.outbox.unsynced.end(instance_id)
            await self.outbox.take_receipts(report.receipts, extra)
            member.record, member.snapshot = changed, _told(report.snapshot, changed)
        self._count_pastes(changed, report)
        if not changed.is_spare:
            for subscriber in self._report_subscribers:
                subscriber(member, report)
        self.changed(member)
        self.outbox.reachable(instance_id)
        if changed.stage is InstanceStage.FAILED and earlier.stage is not InstanceStage.FAILED:
            self._has_failed(member)

    def _has_failed(self, member: Member) -> None:
        self.recorder.count(Count.AGENTS_FAILED)
        self.announce_failure(member)

    def announce_failure(self, member: Member) -> None:
        """Tells the subscribers that an instance has failed; for one that failed under an earlier supervisor."""
        for subscriber in self._failure_subscribers:
            subscriber(member)

    def _count_pastes(self, record: InstanceRecord, report: Report) -> None:
        """Instances count from the start of their actor, which may be before or after the start of this supervisor."""
        instance_id, now = record.instance_id, (report.batches, report.delivered)
        before = self._pastes.get(instance_id, (0, 0) if record.created_at >= self._began_at else now)
        self._pastes[instance_id] = now
        began_anew = now[0] < before[0]
        self.recorder.count(Count.PASTES, now[0] - (0 if began_anew else before[0]))
        self.recorder.count(Count.MESSAGES_PASTED, now[1] - (0 if began_anew else before[1]))

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the team's state, for people."""
        told = (self._store.health.warning, self.unreadable.warning, *(warning() for warning in self._warnings))
        return [text for text in told if text]

    def needs_attention(self, member: Member) -> bool:
        instance_id = member.record.instance_id
        if member.snapshot.needs_attention or member.silence or member.hold:
            return True
        return self.outbox.pending(instance_id) > 0 and (not member.alive or self.outbox.held(instance_id) > 0)

    @property
    def average_batch(self) -> float:
        """Messages per paste so far; 0 before the first."""
        batches = sum(batches for batches, _ in self._pastes.values())
        messages = sum(messages for _, messages in self._pastes.values())
        return messages / batches if batches else 0.0


def _told(snapshot: InstanceSnapshot, record: InstanceRecord) -> InstanceSnapshot:
    """What the supervisor knows of a failure stays said, however often the instance reports its own part of it."""
    failed = snapshot.status is Status.FAILED and record.stage is InstanceStage.FAILED and record.reason
    return replace(snapshot, reason=record.reason) if failed else snapshot


def _changed(record: InstanceRecord, snapshot: InstanceSnapshot, *, limited: bool) -> InstanceRecord:
    """The record as the snapshot changes it. A start or an end under way decides the stage itself.

    ``limited``: a limit of tokens counts what it uses, so that is stored with the end of each turn.
    """
    at_rest = snapshot.status not in ALIVE or (limited and snapshot.status in IDLE)
    more = snapshot.tokens.counted > record.tokens.counted
    heard = replace(
        record,
        tokens=snapshot.tokens if more and at_rest else record.tokens,
        session_id=snapshot.session_id or record.session_id,
        transcript_path=snapshot.transcript_path or record.transcript_path,
        last_seen=record.last_seen if snapshot.status in ALIVE else LastSeen.of(snapshot),
    )
    if record.stage in {InstanceStage.STARTING, InstanceStage.SPARE} or not record.wanted:
        return heard
    if snapshot.status in ALIVE:
        return replace(heard, stage=InstanceStage.RUNNING, reason="", ended_at=0.0)
    stage = _STAGE_OF[snapshot.status]
    if stage is record.stage:
        return heard
    return replace(heard, stage=stage, reason=snapshot.reason, ended_at=snapshot.since)
