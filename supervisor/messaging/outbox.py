"""The messages of a team on their way to instances, from acceptance to the final receipt.

The way of a message above the instances: accepted, handed down, and what became of it.

A call's messages are checked one by one and stored together in one transaction; from then on they are accepted, and
survive every crash. Each instance is handed what waits for it in order, by one task at a time; what it could not take
over (its actor is just coming back) waits and is handed over again. Instances know ids, so nothing arrives twice. The
instance's receipts decide, and are stored before they are acknowledged.

Makes messages of drafts: whom they are for can take them, their text is clean, their numbers tell the order.

Used by the outbox, in the supervisor's event loop.

The receipts that the supervisor itself writes, before and after an instance has had its say; pure.

Messages that had arrived, that their agent has lost, and that its instance delivers again by itself.

Kept by the outbox. An agent may be killed before it has written down what its hook told of; the instance's actor alone
has such a message then, in its journal on its host. So it counts as under way again, and nobody takes its instance away
from that host meanwhile. All in the supervisor's event loop.

Messages in conversations that are on another host alone so far, kept by the outbox.

Such a host may be lost, and with it what was said there since its conversation came home last. So a message that has
arrived there stays stored until the copy of the conversation at home shows it; if the instance has to go on by a copy
that does not, the message is delivered again. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, PhalanxError, StoreError, WrongStateError, from_wire
from actors.messages import Message, MessageStatus, Receipt, encode
from supervisor.api.failures import told
from supervisor.messaging.outgoing import OutgoingMessage, check_text
from supervisor.metrics.metrics import Count, MetricsRecorder
from supervisor.records import Unreadable, decode_message, decode_receipt
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import InstanceStage, Registry

logger = logging.getLogger(__name__)


class MessageIntake:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._numbers = itertools.count(1)

    def go_on_after(self, number: int) -> None:
        """Of the last message that was made."""
        self._numbers = itertools.count(number + 1)

    def checked(self, outgoing: OutgoingMessage, sender: str, now: float) -> Message | PhalanxError:
        try:
            return self._checked(outgoing, sender, now)
        except Exception as error:  # noqa: BLE001 - told and logged
            return from_wire(told(error, "This message"))

    def _checked(self, outgoing: OutgoingMessage, sender: str, now: float) -> Message:
        if outgoing.fault:
            raise InvalidRequestError(outgoing.fault)
        member = self._registry.get(outgoing.instance_id)
        if member.record.stage is InstanceStage.STARTING:
            raise WrongStateError(f"{outgoing.instance_id} is just being started: send again when it is ready.")
        if member.terminated:
            raise WrongStateError(f"{outgoing.instance_id} was terminated: spawn a new instance for this message.")
        if not member.alive or member.ending:
            raise WrongStateError(f"{outgoing.instance_id} is {member.status} and takes no messages. Restart it first.")
        return self.message(outgoing, sender, now)

    def message(self, outgoing: OutgoingMessage, sender: str, now: float) -> Message:
        cleaned = check_text(outgoing.text)
        return Message(
            id=f"msg_{secrets.token_hex(6)}",
            instance_id=outgoing.instance_id,
            sender=sender,
            text=cleaned.text,
            immediate=outgoing.immediate,
            accepted_at=now,
            removed_characters=cleaned.removed,
            number=next(self._numbers),
        )


def accepted(message: Message) -> Receipt:
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.ACCEPTED,
        at=message.accepted_at,
    )


def again(message: Message) -> Receipt:
    """For what has arrived in a conversation that is lost with its host."""
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.ACCEPTED,
        at=time.time(),
        reason="its host was lost before the conversation that has it came home: it is delivered again",
    )


def lost(message: Message, *, touched: bool) -> Receipt:
    """For who was stopped; ``touched``: its actor may have had the message, and has not said what became of it."""
    said = "the instance was stopped before its actor said what became of the message"
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.UNCONFIRMED if touched else MessageStatus.FAILED,
        at=time.time(),
        reason=said if touched else "the instance was stopped before the message was handed to it",
    )


def left_behind(message_id: str, instance_id: str) -> Receipt:
    """For what was with an actor alone that is gone."""
    return Receipt(
        message_id=message_id,
        instance_id=instance_id,
        status=MessageStatus.UNCONFIRMED,
        at=time.time(),
        reason="the agent ended before it had written this down, and was taken away before it was delivered again",
    )


def is_settled(receipt: Receipt) -> bool:
    """At its end, or held back by something that needs a decision."""
    return receipt.final or receipt.status is MessageStatus.BLOCKED


class Redeliveries:
    """Messages at their end whose actor delivers them after all.

    Whoever is terminated while its actor is silent has its messages counted as lost. When it is restarted, its next
    actor finds in the typing journal what the agent had not written down, and delivers it again.
    """

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}

    def note(self, receipt: Receipt) -> None:
        """What the instance says of a message of which the outbox has nothing but the receipt."""
        ids = self._ids.setdefault(receipt.instance_id, set())
        if receipt.final:
            ids.discard(receipt.message_id)
        else:
            ids.add(receipt.message_id)
        if not ids:
            del self._ids[receipt.instance_id]

    def of(self, instance_id: str) -> Collection[str]:
        return frozenset(self._ids.get(instance_id, ()))


class UnsyncedMessages:
    def __init__(self, registry: Registry, store: StateStore) -> None:
        self._registry = registry
        self._store = store
        self._said: dict[str, dict[str, Message]] = {}

    def keeps(self, receipt: Receipt) -> bool:
        """Whether what this tells of is lost with the host of its instance."""
        if receipt.status is not MessageStatus.SUBMITTED or receipt.instance_id not in self._registry:
            return False
        return self._registry.get(receipt.instance_id).record.carried

    def take(self, message: Message) -> None:
        """It has arrived, and its record stays."""
        self._said.setdefault(message.instance_id, {})[message.id] = message

    def of(self, instance_id: str) -> Mapping[str, Message]:
        """By id, in the order in which they were accepted."""
        said = self._said.get(instance_id, {})
        return dict(sorted(said.items(), key=lambda item: item[1].number))

    async def came_home(self, instance_id: str, ids: Collection[str]) -> None:
        """These are not lost with the host any more, nor what was said before: a conversation is written in order.

        Raises ``StoreError``; then they are kept.
        """
        said = list(self.of(instance_id))
        home = [at for at, message_id in enumerate(said, 1) if message_id in ids]
        if home:
            gone = said[: home[-1]]
            await self._store.save({}, [keys.message(one) for one in gone])
            self.forget(instance_id, gone)

    async def end(self, instance_id: str) -> None:
        """Nothing of what was said so far is missed any more. Raises ``StoreError``."""
        await self.came_home(instance_id, self.of(instance_id))

    def forget(self, instance_id: str, ids: Collection[str]) -> None:
        """Their records are looked after by somebody else."""
        said = self._said.get(instance_id, {})
        for one in ids:
            said.pop(one, None)
        if not said:
            self._said.pop(instance_id, None)


RECEIPTS_KEPT = 50_000
"""So many of the latest receipts are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What is written and deleted in the same transaction."""

    records: Mapping[str, bytes]
    delete: Sequence[str] = ()


_NOTHING_MORE = Writes(records={})


class Outbox:
    """Messages under way and their receipts. All in the supervisor's event loop."""

    def __init__(
        self,
        registry: Registry,
        members: InstanceLinks,
        store: StateStore,
        changes: ChangeNotifier,
        recorder: MetricsRecorder,
    ) -> None:
        self._registry = registry
        self._members = members
        self._store = store
        self._changes = changes
        self._recorder = recorder
        self._intake = MessageIntake(registry)
        self._pending: dict[str, dict[str, Message]] = {}
        self._unhanded: dict[str, set[str]] = {}
        self._carriers: dict[str, asyncio.Task[None]] = {}
        self._called: set[str] = set()
        self._withheld: dict[str, str] = {}
        """Who is given nothing now, but for the message with this id."""
        self._closed: set[str] = set()
        self._doubtful: set[str] = set()
        self._untouched: set[str] = set()
        self._receipts: dict[str, Receipt] = {}
        self._doubted: dict[str, float] = {}
        """When those were accepted that counted as lost: a late proof takes that back."""
        self._returned = Redeliveries()
        self.unsynced = UnsyncedMessages(registry, store)

    def restore(self, messages: Mapping[str, bytes], receipts: Mapping[str, bytes], unreadable: Unreadable) -> None:
        """Takes in what the store tells; nothing is handed over before ``hand_over_again``."""
        known = sorted((r for _, r in unreadable.readable(receipts, decode_receipt)), key=lambda receipt: receipt.at)
        self._receipts = {receipt.message_id: receipt for receipt in known}
        waiting = sorted(
            (m for _, m in unreadable.readable(messages, decode_message)), key=lambda message: message.number
        )
        for one in known:
            if keys.message(one.message_id) not in messages:
                self._hear(one)
        for message in waiting:
            receipt = self._receipts.get(message.id)
            if receipt is not None and receipt.status is MessageStatus.SUBMITTED:
                self.unsynced.take(message)
            else:
                self._take(message)
        self._intake.go_on_after(waiting[-1].number if waiting else 0)

    def check(self, drafts: Sequence[OutgoingMessage], sender: str, now: float) -> list[Message | PhalanxError]:
        """Makes messages of drafts, in order; a draft that is refused gives its error and harms no other."""
        return [self._intake.checked(outgoing, sender, now) for outgoing in drafts]

    def first(self, outgoing: OutgoingMessage, sender: str, now: float) -> Message:
        """The first message of an instance that is only being started."""
        return self._intake.message(outgoing, sender, now)

    async def accept(self, messages: Sequence[Message], extra: Writes = _NOTHING_MORE) -> list[Receipt]:
        """Stores messages in one transaction with ``extra`` and sends them on their way. Raises ``StoreError``.

        Who is cancelled meanwhile may have sent them all the same.
        """
        return await asyncio.shield(asyncio.ensure_future(self._accept(messages, extra)))

    async def _accept(self, messages: Sequence[Message], extra: Writes) -> list[Receipt]:
        records = {keys.message(message.id): encode(message) for message in messages} | dict(extra.records)
        try:
            await self._save(records, extra.delete)
        except StoreError:
            self._doubtful.update(key for key in records if key.startswith((keys.MESSAGE_PREFIX, keys.REQUEST_PREFIX)))
            raise
        self._recorder.count(Count.MESSAGES_ACCEPTED, len(messages))
        for message in messages:
            self._take(message)
            self._untouched.add(message.id)
        for instance_id in {message.instance_id for message in messages}:
            self._carry(instance_id)
            if instance_id in self._closed:
                await self.close(instance_id)
        return [self._receipts[message.id] for message in messages]

    async def _save(self, records: Mapping[str, bytes], delete: Iterable[str]) -> None:
        """A disk that hangs may write in the end what was refused to the caller: that is taken back first."""
        doubtful = self._doubtful - records.keys()
        await self._store.save(records, [*delete, *doubtful])
        self._doubtful -= doubtful | records.keys()

    def _take(self, message: Message) -> None:
        self._pending.setdefault(message.instance_id, {})[message.id] = message
        self._unhanded.setdefault(message.instance_id, set()).add(message.id)
        self._receipts.setdefault(message.id, accepted(message))

    def _carry(self, instance_id: str) -> None:
        """One task at a time hands over to an instance, so that nothing overtakes."""
        carrier = self._carriers.get(instance_id)
        if carrier is not None and not carrier.done():
            self._called.add(instance_id)
            return
        if self._members.has(instance_id) and self._unhanded.get(instance_id):
            carrier = asyncio.create_task(self._hand_over(instance_id), name=f"messages for {instance_id}")
            self._carriers[instance_id] = carrier

    async def _hand_over(self, instance_id: str) -> None:
        while self._members.has(instance_id) and (waiting := self._waiting(instance_id)):
            # Held on to: who is to be given everything again meanwhile gets a set of its own.
            unhanded = self._unhanded[instance_id]
            self._called.discard(instance_id)
            self._untouched.difference_update(message.id for message in waiting)
            try:
                await self._members.port(instance_id).deliver(waiting)
            except Exception as error:  # noqa: BLE001 - whatever it is, they are handed over again
                logger.warning("%s takes over %d messages later: %r", instance_id, len(waiting), error)
                if instance_id in self._called:
                    continue  # since this call began it was said that the instance can be reached
                return
            unhanded.difference_update(message.id for message in waiting)

    def _waiting(self, instance_id: str) -> list[Message]:
        unhanded = self._unhanded.get(instance_id, set())
        if instance_id in self._withheld:
            unhanded = unhanded & {self._withheld[instance_id]}
        return [message for message in self._pending.get(instance_id, {}).values() if message.id in unhanded]

    @contextmanager
    def withheld(self, instance_id: str, *, but: str) -> Iterator[None]:
        """Inside, messages of this instance are accepted and wait here, whoever takes its agent over; ``but`` for the
        one with this id. Those that were handed over before are with the instance."""
        self._withheld[instance_id] = but
        try:
            yield
        finally:
            del self._withheld[instance_id]
            self._carry(instance_id)

    def reachable(self, instance_id: str) -> None:
        """The instance answers: it gets what it could not take over before."""
        self._carry(instance_id)

    def hand_over_again(self, instance_id: str) -> None:
        """An instance whose actor came back gets everything that is pending for it."""
        self._closed.discard(instance_id)
        self._unhanded[instance_id] = set(self._pending.get(instance_id, ()))
        self._carry(instance_id)

    def begin_life(self, instance_id: str) -> None:
        """Its agent is started again: what held messages back before holds them back no more."""
        self._closed.discard(instance_id)
        for message in self._pending.get(instance_id, {}).values():
            if self._receipts[message.id].status is MessageStatus.BLOCKED:
                self._receipts[message.id] = accepted(message)

    async def close(self, instance_id: str) -> None:
        """The instance is gone for good: every message that is still under way, or is just being accepted, ends here.

        Raises ``StoreError``; then they are still pending.
        """
        self._closed.add(instance_id)
        carrier = self._carriers.pop(instance_id, None)
        if carrier is not None:
            carrier.cancel()
        left = self._pending.get(instance_id, {})
        await self.take_receipts([lost(left[id_], touched=id_ not in self._untouched) for id_ in left])
        await self.leave_behind(instance_id)
        await self.unsynced.end(instance_id)

    async def leave_behind(self, instance_id: str) -> None:
        """What its actor alone was delivering again ends with the place where it was. Raises ``StoreError``."""
        await self.take_receipts([left_behind(id_, instance_id) for id_ in self._returned.of(instance_id)])

    async def deliver_again(self, instance_id: str) -> None:
        """What was said abroad and is lost is pending again, before all that came later. Raises ``StoreError``."""
        said = self.unsynced.of(instance_id)
        if not said:
            return
        receipts = {message_id: again(message) for message_id, message in said.items()}
        await self._save({keys.receipt(id_): encode(receipt) for id_, receipt in receipts.items()}, ())
        self.unsynced.forget(instance_id, said)
        self._receipts |= receipts
        self._pending[instance_id] = {**said, **self._pending.get(instance_id, {})}
        self._unhanded.setdefault(instance_id, set()).update(said)
        self._changes.announce()

    async def take_receipts(self, receipts: Sequence[Receipt], extra: Writes = _NOTHING_MORE) -> None:
        """Takes in what an instance reports, with ``extra`` in one transaction. Raises ``StoreError``."""
        forgotten = self._too_old(receipts)
        final = [receipt for receipt in receipts if receipt.final]
        if receipts or extra.records:
            await self._save(
                {**{keys.receipt(receipt.message_id): encode(receipt) for receipt in receipts}, **extra.records},
                [
                    *(keys.message(receipt.message_id) for receipt in final if not self.unsynced.keeps(receipt)),
                    *map(keys.receipt, forgotten),
                    *extra.delete,
                ],
            )
        for message_id in forgotten:
            self._receipts.pop(message_id, None)
            self._doubted.pop(message_id, None)
        for receipt in receipts:
            self._note_late_proof(receipt)
            self._receipts[receipt.message_id] = receipt
            self._hear(receipt)
            if receipt.final:
                self._settle(receipt)
        self._changes.announce()

    def _hear(self, receipt: Receipt) -> None:
        """What had arrived may be on its way again, because the agent has lost it: its actor has it already."""
        instance_id, message_id = receipt.instance_id, receipt.message_id
        pending = self._pending.get(instance_id, {})
        message = None if receipt.final else self.unsynced.of(instance_id).get(message_id)
        if message is not None:
            self.unsynced.forget(instance_id, [message_id])
            under_way = sorted([message, *pending.values()], key=lambda one: one.number)
            self._pending[instance_id] = {one.id: one for one in under_way}
        elif message_id not in pending and instance_id in self._registry:
            self._returned.note(receipt)

    def _settle(self, receipt: Receipt) -> None:
        pending = self._pending.get(receipt.instance_id, {})
        message = pending.pop(receipt.message_id, None)
        self._untouched.discard(receipt.message_id)
        if message is not None:
            meant = self._is_being_started_or_ended(receipt.instance_id)
            self._recorder.receipt(message, receipt, meant=meant)
            if receipt.status is not MessageStatus.SUBMITTED and not meant:
                self._doubted[message.id] = message.accepted_at
            if self.unsynced.keeps(receipt):
                self.unsynced.take(message)
        self._unhanded.get(receipt.instance_id, set()).discard(receipt.message_id)
        if not pending:
            self._pending.pop(receipt.instance_id, None)

    def _note_late_proof(self, receipt: Receipt) -> None:
        """What counts as lost and has arrived all the same."""
        earlier = self._receipts.get(receipt.message_id)
        if receipt.status is not MessageStatus.SUBMITTED or earlier is None or not earlier.final:
            return
        accepted_at = self._doubted.pop(receipt.message_id, None)
        was_counted = not self._is_being_started_or_ended(receipt.instance_id)
        if earlier.status is not MessageStatus.SUBMITTED and was_counted:
            self._recorder.proved_late(earlier, receipt, accepted_at)

    def _is_being_started_or_ended(self, instance_id: str) -> bool:
        """By somebody who has asked for it: what does not arrive there is no loss of its own."""
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
        """The latest; None when it was so long ago that it is forgotten."""
        return self._receipts.get(message_id)

    def is_final(self, message_id: str) -> bool:
        """Whether it is at the end of its way, or not known any more."""
        receipt = self._receipts.get(message_id)
        return receipt is None or receipt.final

    def under_way(self, instance_id: str) -> Iterator[tuple[Message, Receipt]]:
        """Each accepted message of this instance that is not at its end, with its receipt."""
        for message in self._pending.get(instance_id, {}).values():
            yield message, self._receipts[message.id]

    def pending(self, instance_id: str) -> int:
        """How many accepted messages of this instance are not at the end of their way."""
        return len(self._under_way(instance_id))

    def held(self, instance_id: str) -> int:
        """How many messages of this instance are held back."""
        under_way = self._receipts_of(self._under_way(instance_id))
        return sum(receipt.status is MessageStatus.BLOCKED for receipt in under_way)

    def blocked_reason(self, instance_id: str) -> str:
        """Why a message of this instance is held back; empty when none is."""
        for receipt in self._receipts_of(self._under_way(instance_id)):
            if receipt.status is MessageStatus.BLOCKED:
                return receipt.reason
        return ""

    def _under_way(self, instance_id: str) -> list[str]:
        return [*self._pending.get(instance_id, ()), *self._returned.of(instance_id)]

    async def settled(self, message_ids: Iterable[str], timeout_s: float) -> bool:
        """Waits until every message is at its end or held back by something that needs a decision."""
        ids = tuple(message_ids)
        return await self._changes.until(lambda: all(map(is_settled, self._receipts_of(ids))), timeout_s)

    def _receipts_of(self, message_ids: Iterable[str]) -> Iterator[Receipt]:
        return (self._receipts[message_id] for message_id in message_ids if message_id in self._receipts)

    async def stop(self) -> None:
        """Hands nothing over any more."""
        carriers = tuple(self._carriers.values())
        for carrier in carriers:
            carrier.cancel()
        await asyncio.gather(*carriers, return_exceptions=True)
