"""The messages of a team on their way to instances, from acceptance to the final receipt.

``MessageSender``, spawns and ``Team`` call ``Outbox``. Messages of a call are checked one by one and stored together in
one transaction; from then on they are accepted and survive every crash. One task at a time hands an instance its
waiting messages, in order. What the instance could not take over, for example while its actor restarts, is handed over
again. Instances know ids, so nothing arrives twice. Receipts of the instance decide, and are stored before they are
acknowledged.

``UnsyncedMessages`` are in a conversation that only another host has so far. That host may be lost, and with it all
since the last copy. So such a message stays stored until the copy at home shows it, and is delivered again if the
instance goes on with a copy that does not.

All of it runs in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, PhalanxError, StoreError, WrongStateError
from actors.instance.inbox import SanitizedText, clean, without_headers
from actors.messages import Message, MessageStatus, Receipt, encode
from supervisor.api.requests import MAX_MESSAGE_BYTES, BatchMessage, Malformed
from supervisor.api.results import TeamEvent, iso, public_error
from supervisor.events.stream import EventStream
from supervisor.metrics.metrics import Count, MetricsRecorder
from supervisor.records import Unreadable, decode_message, decode_receipt
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import InstanceRecord, InstanceStage, Registry

logger = logging.getLogger(__name__)
RECEIPTS_KEPT = 50_000
"""Older ones are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What else is written and deleted in the same transaction."""

    records: Mapping[str, bytes] = field(default_factory=dict)
    delete: Sequence[str] = ()


_NOTHING_MORE = Writes()


class Outbox:
    """Messages under way and their receipts."""

    def __init__(
        self,
        registry: Registry,
        links: InstanceLinks,
        store: StateStore,
        changes: ChangeNotifier,
        recorder: MetricsRecorder,
        events: EventStream,
    ) -> None:
        self._events = events
        self._registry = registry
        self._links = links
        self._store = store
        self._changes = changes
        self._recorder = recorder
        self._numbers = itertools.count(1)
        self._pending: dict[str, dict[str, Message]] = {}
        self._to_hand_over: dict[str, set[str]] = {}
        self._handovers: dict[str, asyncio.Task[None]] = {}
        self._reachable_again: set[str] = set()
        """Instances that were reported reachable while a handover was under way."""
        self._withheld: defaultdict[str, list[str]] = defaultdict(list)
        """By instance: of each that withholds messages from it now, the id that it lets through, or nothing."""
        self._closed: set[str] = set()
        self._perhaps_written: set[str] = set()
        """Keys of a save that failed: a disk that hangs may write them in the end."""
        self._never_handed: set[str] = set()
        self._receipts: dict[str, Receipt] = {}
        self._counted_lost: dict[str, float] = {}
        """When messages counted as lost were accepted: a late proof takes that back."""
        self._redelivered: defaultdict[str, set[str]] = defaultdict(set)
        """Settled messages that the instance delivers after all, by instance. An agent may be killed before it wrote
        down what its hook reported; then only the actor's typing journal, on its host, has the message. So it counts as
        under way, and the instance stays on that host meanwhile."""
        self.unsynced = UnsyncedMessages(registry, store)

    def restore(self, messages: Mapping[str, bytes], receipts: Mapping[str, bytes], unreadable: Unreadable) -> None:
        """Takes in stored messages and receipts; nothing is handed over before ``hand_over_again``."""
        known = sorted((r for _, r in unreadable.readable(receipts, decode_receipt)), key=lambda receipt: receipt.at)
        self._receipts = {receipt.message_id: receipt for receipt in known}
        waiting = sorted(
            (m for _, m in unreadable.readable(messages, decode_message)), key=lambda message: message.number
        )
        for one in known:
            if keys.message(one.message_id) not in messages:
                self._note_redelivery(one)
        for message in waiting:
            receipt = self._receipts.get(message.id)
            if receipt is not None and receipt.status is MessageStatus.SUBMITTED:
                self.unsynced.take(message)
            else:
                self._add(message)
        self._numbers = itertools.count(waiting[-1].number + 1 if waiting else 1)

    def check(
        self, members: Sequence[BatchMessage | Malformed], sender: str, now: float
    ) -> list[Message | PhalanxError]:
        """The message of each member, in order. A refused member gives its error and harms no other."""
        return [self._checked(member, sender, now) for member in members]

    def _checked(self, member: BatchMessage | Malformed, sender: str, now: float) -> Message | PhalanxError:
        if isinstance(member, Malformed):
            return member.error
        try:
            self._check_takes_messages(member.instance_id)
            return self._message(member, sender, now)
        except Exception as error:  # noqa: BLE001 - told and logged
            return public_error(error, "This message")

    def _check_takes_messages(self, instance_id: str) -> None:
        member = self._registry.get(instance_id)
        if member.record.stage is InstanceStage.STARTING:
            raise WrongStateError(f"{instance_id} is just being started: send again when it is ready.")
        if member.terminated:
            raise WrongStateError(f"{instance_id} was terminated: spawn a new instance for this message.")
        if not member.alive or member.ending:
            raise WrongStateError(f"{instance_id} is {member.status} and takes no messages. Restart it first.")

    def first_message(self, instance_id: str, text: str, sender: str) -> Message:
        """The message to an instance that is being started. Raises ``InvalidRequestError`` for its text."""
        return self._message(BatchMessage(instance_id=instance_id, message=text, immediate=True), sender, time.time())

    def _message(self, member: BatchMessage, sender: str, now: float) -> Message:
        cleaned = check_text(member.message)
        return Message(
            id=f"msg_{secrets.token_hex(6)}",
            instance_id=member.instance_id,
            sender=sender,
            text=without_headers(cleaned.text) if sender in self._registry else cleaned.text,
            immediate=member.immediate,
            accepted_at=now,
            removed_characters=cleaned.removed,
            number=next(self._numbers),
        )

    async def accept(self, messages: Sequence[Message], extra: Writes = _NOTHING_MORE) -> list[Receipt]:
        """Stores messages in one transaction with ``extra`` and begins to hand them over. Raises ``StoreError``.

        A caller that is cancelled meanwhile may have sent them all the same.
        """
        return await asyncio.shield(self._accept(messages, extra))

    async def _accept(self, messages: Sequence[Message], extra: Writes) -> list[Receipt]:
        records = {keys.message(message.id): encode(message) for message in messages} | dict(extra.records)
        try:
            await self._save(records, extra.delete)
        except StoreError:
            self._perhaps_written.update(
                key for key in records if key.startswith((keys.MESSAGE_PREFIX, keys.REQUEST_PREFIX))
            )
            raise
        self._recorder.count(Count.MESSAGES_ACCEPTED, len(messages))
        for message in messages:
            self._add(message)
            self._never_handed.add(message.id)
        for instance_id in {message.instance_id for message in messages}:
            self._begin_handover(instance_id)
            if instance_id in self._closed:
                await self.close(instance_id)
        return [self._receipts[message.id] for message in messages]

    async def _save(self, records: Mapping[str, bytes], delete: Iterable[str]) -> None:
        """Deletes what an earlier save that failed may have written after all."""
        perhaps_written = self._perhaps_written - records.keys()
        await self._store.save(records, [*delete, *perhaps_written])
        self._perhaps_written -= perhaps_written | records.keys()

    def _add(self, message: Message) -> None:
        self._pending.setdefault(message.instance_id, {})[message.id] = message
        self._to_hand_over.setdefault(message.instance_id, set()).add(message.id)
        self._receipts.setdefault(message.id, _accepted(message))
        self._registry.touch(message.instance_id)

    def _begin_handover(self, instance_id: str) -> None:
        """One task at a time hands over to an instance, so that the order holds."""
        handover = self._handovers.get(instance_id)
        if handover is not None and not handover.done():
            self._reachable_again.add(instance_id)
            return
        if self._links.has(instance_id) and self._to_hand_over.get(instance_id):
            handover = asyncio.create_task(self._hand_over(instance_id), name=f"messages for {instance_id}")
            self._handovers[instance_id] = handover

    async def _hand_over(self, instance_id: str) -> None:
        while self._links.has(instance_id) and (waiting := self._waiting(instance_id)):
            # ``hand_over_again`` puts another set in its place meanwhile, of which nothing may be removed here.
            to_hand_over = self._to_hand_over[instance_id]
            self._reachable_again.discard(instance_id)
            self._never_handed.difference_update(message.id for message in waiting)
            try:
                await self._links.port(instance_id).deliver(waiting)
            except Exception as error:  # noqa: BLE001 - they are handed over again after any error
                logger.warning("%s takes over %d messages later: %r", instance_id, len(waiting), error)
                if instance_id in self._reachable_again:
                    continue
                return
            to_hand_over.difference_update(message.id for message in waiting)

    def _waiting(self, instance_id: str) -> list[Message]:
        to_hand_over = self._to_hand_over.get(instance_id, set())
        for let_through in self._withheld.get(instance_id, ()):
            to_hand_over = to_hand_over & {let_through}
        return [message for message in self._pending.get(instance_id, {}).values() if message.id in to_hand_over]

    @contextmanager
    def withheld(self, instance_id: str, *, but: str) -> Iterator[None]:
        """Inside, accepted messages for this instance wait here, except the one with the id ``but``. Those that were
        handed over before stay with the instance.

        Several may withhold at a time and end in any order: a message goes on when it waits for none of them.
        """
        self._withheld[instance_id].append(but)
        try:
            yield
        finally:
            self._withheld[instance_id].remove(but)
            if not self._withheld[instance_id]:
                del self._withheld[instance_id]
            self._begin_handover(instance_id)
            self._changes.announce()

    def is_withheld(self, instance_id: str) -> bool:
        """Whether messages for it wait here until something is done with it."""
        return instance_id in self._withheld

    def reachable(self, instance_id: str) -> None:
        """Hands over what the instance could not take over before; called when it answers again."""
        self._begin_handover(instance_id)

    def hand_over_again(self, instance_id: str) -> None:
        """Hands over everything that is pending; called when the instance has a new actor."""
        self._closed.discard(instance_id)
        self._to_hand_over[instance_id] = set(self._pending.get(instance_id, ()))
        self._begin_handover(instance_id)

    def begin_life(self, instance_id: str) -> None:
        """Takes back what held messages; called when the agent is started again."""
        self._closed.discard(instance_id)
        for message in self._pending.get(instance_id, {}).values():
            if self._receipts[message.id].status is MessageStatus.BLOCKED:
                self._receipts[message.id] = _accepted(message)
        self._registry.touch(instance_id)

    async def close(self, instance_id: str) -> None:
        """Settles every message under way, and those that are just being accepted: the instance is gone for good.

        Raises ``StoreError``; then they are still pending.
        """
        self._closed.add(instance_id)
        handover = self._handovers.pop(instance_id, None)
        if handover is not None:
            handover.cancel()
        left = self._pending.get(instance_id, ())
        await self.take_receipts([self._lost(message_id, instance_id) for message_id in left])
        await self.leave_behind(instance_id)
        await self.unsynced.end(instance_id)

    async def leave_behind(self, instance_id: str) -> None:
        """Settles what only its actor was delivering again, because that ends with the actor. Raises ``StoreError``."""
        why = "the agent ended before it had written this down, and was taken away before it was delivered again"
        ids = tuple(self._redelivered.get(instance_id, ()))
        await self.take_receipts([_receipt(id_, instance_id, MessageStatus.UNCONFIRMED, why) for id_ in ids])

    def _lost(self, message_id: str, instance_id: str) -> Receipt:
        if message_id in self._never_handed:
            why = "the instance was stopped before the message was handed to it"
            return _receipt(message_id, instance_id, MessageStatus.FAILED, why)
        why = "the instance was stopped before its actor said what became of the message"
        return _receipt(message_id, instance_id, MessageStatus.UNCONFIRMED, why)

    async def deliver_again(self, instance_id: str) -> None:
        """Makes lost unsynced messages pending again, before all later ones. Raises ``StoreError``."""
        kept = self.unsynced.of(instance_id)
        if not kept:
            return
        why = "its host was lost before the conversation that has it came home: it is delivered again"
        receipts = {id_: _receipt(id_, instance_id, MessageStatus.ACCEPTED, why) for id_ in kept}
        await self._save({keys.receipt(id_): encode(receipt) for id_, receipt in receipts.items()}, ())
        self.unsynced.forget(instance_id, kept)
        self._receipts |= receipts
        self._pending[instance_id] = {**kept, **self._pending.get(instance_id, {})}
        self._to_hand_over.setdefault(instance_id, set()).update(kept)
        self._registry.touch(instance_id)
        self._changes.announce()

    async def take_receipts(self, receipts: Sequence[Receipt], extra: Writes = _NOTHING_MORE) -> None:
        """Stores what an instance reports, with ``extra`` in one transaction. Raises ``StoreError``."""
        forgotten = self._too_old(receipts)
        final = [receipt for receipt in receipts if receipt.final]
        news = self._news(final)
        due = self._events.due(f"{news[0].message_id}/{news[0].status}" if news else "", news)
        if receipts or extra.records:
            await self._save(
                {
                    **{keys.receipt(receipt.message_id): encode(receipt) for receipt in receipts},
                    **due.record,
                    **extra.records,
                },
                [
                    *(keys.message(receipt.message_id) for receipt in final if not self.unsynced.keeps(receipt)),
                    *map(keys.receipt, forgotten),
                    *extra.delete,
                ],
            )
        # An actor that was followed anew may have said the same meanwhile.
        untold = [event for event in news if not self._stands(event.message_id or "", event.status)]
        for message_id in forgotten:
            self._receipts.pop(message_id, None)
            self._counted_lost.pop(message_id, None)
        for receipt in receipts:
            self._note_late_proof(receipt)
            self._receipts[receipt.message_id] = receipt
            self._note_redelivery(receipt)
            if receipt.final:
                self._settle(receipt)
            self._registry.touch(receipt.instance_id)
        if news == untold != []:
            self._events.publish_due(due)
        elif news:
            self._events.publish_soon(*untold, delete=[due.key])
        self._changes.announce()

    def _stands(self, message_id: str, status: MessageStatus | None) -> bool:
        receipt = self._receipts.get(message_id)
        return receipt is not None and receipt.status is status

    def _news(self, final: Sequence[Receipt]) -> list[TeamEvent]:
        """The event of each message that is settled now.

        Not of the first message of a spawn, and not of what a recycling asks: these calls tell themselves how it went.
        """
        news = []
        for receipt in final:
            member = self._registry.find(receipt.instance_id)
            if member is None or member.record.is_spare or member.record.stage is InstanceStage.STARTING:
                continue
            if receipt.message_id in self._withheld.get(receipt.instance_id, ()):
                continue
            if not self._stands(receipt.message_id, receipt.status):
                news.append(self._settled_event(receipt, member.record))
        return news

    def _settled_event(self, receipt: Receipt, record: InstanceRecord) -> TeamEvent:
        message = self._pending.get(receipt.instance_id, {}).get(receipt.message_id)
        return TeamEvent(
            kind="message_final",
            at=iso(receipt.at),
            instance_id=receipt.instance_id,
            name=record.name,
            parent_id=record.parent_id,
            text=f"{receipt.status}: {receipt.reason}" if receipt.reason else str(receipt.status),
            message_id=receipt.message_id,
            # One that was settled before is not kept, but the event of that is.
            sender=message.sender if message else self._events.sender_of(receipt.message_id),
            status=receipt.status,
        )

    def _note_redelivery(self, receipt: Receipt) -> None:
        """Notes a settled message that is on its way again, because the agent lost it; its actor has it already."""
        instance_id, message_id = receipt.instance_id, receipt.message_id
        pending = self._pending.get(instance_id, {})
        message = None if receipt.final else self.unsynced.of(instance_id).get(message_id)
        if message is not None:
            self.unsynced.forget(instance_id, [message_id])
            under_way = sorted([message, *pending.values()], key=lambda one: one.number)
            self._pending[instance_id] = {one.id: one for one in under_way}
        elif message_id not in pending and instance_id in self._registry:
            if receipt.final:
                self._redelivered.get(instance_id, set()).discard(message_id)
            else:
                self._redelivered[instance_id].add(message_id)

    def _settle(self, receipt: Receipt) -> None:
        pending = self._pending.get(receipt.instance_id, {})
        message = pending.pop(receipt.message_id, None)
        self._never_handed.discard(receipt.message_id)
        if message is not None:
            intended = self._is_being_started_or_ended(receipt.instance_id)
            self._recorder.receipt(message, receipt, meant=intended)
            if receipt.status is not MessageStatus.SUBMITTED and not intended:
                self._counted_lost[message.id] = message.accepted_at
            if self.unsynced.keeps(receipt):
                self.unsynced.take(message)
        self._to_hand_over.get(receipt.instance_id, set()).discard(receipt.message_id)
        if not pending:
            self._pending.pop(receipt.instance_id, None)

    def _note_late_proof(self, receipt: Receipt) -> None:
        """Takes a message that was counted as lost out of that count: it has arrived all the same."""
        earlier = self._receipts.get(receipt.message_id)
        if receipt.status is not MessageStatus.SUBMITTED or earlier is None or not earlier.final:
            return
        accepted_at = self._counted_lost.pop(receipt.message_id, None)
        was_counted = not self._is_being_started_or_ended(receipt.instance_id)
        if earlier.status is not MessageStatus.SUBMITTED and was_counted:
            self._recorder.proved_late(earlier, receipt, accepted_at)

    def _is_being_started_or_ended(self, instance_id: str) -> bool:
        """A message that does not arrive there is no loss: the start or the end was asked for."""
        if instance_id not in self._registry:
            return False
        member = self._registry.get(instance_id)
        return member.ending or member.record.stage is InstanceStage.STARTING

    def _too_old(self, receipts: Sequence[Receipt]) -> list[str]:
        told = {receipt.message_id for receipt in receipts}
        surplus = len(self._receipts) + sum(id_ not in self._receipts for id_ in told) - RECEIPTS_KEPT
        if surplus <= 0:
            return []
        settled = (id_ for id_, receipt in self._receipts.items() if receipt.final and id_ not in told)
        return list(itertools.islice(settled, surplus))

    def receipt(self, message_id: str) -> Receipt | None:
        """The latest one; None when it is forgotten."""
        return self._receipts.get(message_id)

    def is_final(self, message_id: str) -> bool:
        """Whether the message is settled, or forgotten."""
        receipt = self._receipts.get(message_id)
        return receipt is None or receipt.final

    def under_way(self, instance_id: str) -> Iterator[tuple[Message, Receipt]]:
        """Each accepted message of this instance that is not settled, with its receipt."""
        for message in self._pending.get(instance_id, {}).values():
            yield message, self._receipts[message.id]

    def pending(self, instance_id: str) -> int:
        """How many messages of this instance are under way."""
        return len(self._under_way(instance_id))

    def held(self, instance_id: str) -> int:
        """How many messages of this instance are held."""
        under_way = self._receipts_of(self._under_way(instance_id))
        return sum(receipt.status is MessageStatus.BLOCKED for receipt in under_way)

    def blocked_reason(self, instance_id: str) -> str:
        """Why a message of this instance is held; empty when none is."""
        for receipt in self._receipts_of(self._under_way(instance_id)):
            if receipt.status is MessageStatus.BLOCKED:
                return receipt.reason
        return ""

    def _under_way(self, instance_id: str) -> list[str]:
        return [*self._pending.get(instance_id, ()), *self._redelivered.get(instance_id, ())]

    async def settled(self, message_ids: Iterable[str], timeout_s: float) -> bool:
        """Waits until every message is settled, or held by something that needs a decision."""
        ids = tuple(message_ids)

        def settled() -> bool:
            return all(one.final or one.status is MessageStatus.BLOCKED for one in self._receipts_of(ids))

        return await self._changes.until(settled, timeout_s)

    def _receipts_of(self, message_ids: Iterable[str]) -> Iterator[Receipt]:
        return (self._receipts[message_id] for message_id in message_ids if message_id in self._receipts)

    async def stop(self) -> None:
        """Hands nothing over any more."""
        handovers = tuple(self._handovers.values())
        for handover in handovers:
            handover.cancel()
        await asyncio.gather(*handovers, return_exceptions=True)


def check_text(text: str) -> SanitizedText:
    """The text without control characters. Raises ``InvalidRequestError`` when it is too long or empty."""
    cleaned = clean(text)
    size_bytes = len(cleaned.text.encode())
    if size_bytes > MAX_MESSAGE_BYTES:
        raise InvalidRequestError(
            f"The message has {size_bytes} bytes; at most {MAX_MESSAGE_BYTES} are possible. "
            "Put long material into a file and send its path."
        )
    if not cleaned.text.strip():
        raise InvalidRequestError("The message is empty once control characters are removed: send some text.")
    return cleaned


def _accepted(message: Message) -> Receipt:
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.ACCEPTED,
        at=message.accepted_at,
    )


def _receipt(message_id: str, instance_id: str, status: MessageStatus, reason: str) -> Receipt:
    return Receipt(message_id=message_id, instance_id=instance_id, status=status, at=time.time(), reason=reason)


class UnsyncedMessages:
    def __init__(self, registry: Registry, store: StateStore) -> None:
        self._registry = registry
        self._store = store
        self._kept: dict[str, dict[str, Message]] = {}

    def keeps(self, receipt: Receipt) -> bool:
        """Whether the message of this receipt would be lost with the host of its instance."""
        if receipt.status is not MessageStatus.SUBMITTED or receipt.instance_id not in self._registry:
            return False
        return self._registry.get(receipt.instance_id).record.carried

    def take(self, message: Message) -> None:
        """The message has arrived, and its record stays."""
        self._kept.setdefault(message.instance_id, {})[message.id] = message

    def of(self, instance_id: str) -> Mapping[str, Message]:
        """By id, in the order of acceptance."""
        kept = self._kept.get(instance_id, {})
        return dict(sorted(kept.items(), key=lambda item: item[1].number))

    async def came_home(self, instance_id: str, ids: Collection[str]) -> None:
        """The copy at home shows these, so it has all before them too: a conversation is written in order.

        Raises ``StoreError``; then they are kept.
        """
        kept = list(self.of(instance_id))
        home = [at for at, message_id in enumerate(kept, 1) if message_id in ids]
        if home:
            gone = kept[: home[-1]]
            await self._store.save({}, [keys.message(one) for one in gone])
            self.forget(instance_id, gone)

    async def end(self, instance_id: str) -> None:
        """Keeps none of this instance any more. Raises ``StoreError``."""
        await self.came_home(instance_id, self.of(instance_id))

    def forget(self, instance_id: str, ids: Collection[str]) -> None:
        """Leaves the stored records to the caller."""
        kept = self._kept.get(instance_id, {})
        for one in ids:
            kept.pop(one, None)
        if not kept:
            self._kept.pop(instance_id, None)
