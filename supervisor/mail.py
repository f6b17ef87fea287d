"""The way of a message above the instances: accepted, handed down, and what became of it.

A call's messages are checked one by one, stored together in one transaction, and handed to each instance as one list.
From then on the instance's receipts decide. A message that its instance could not take over (its actor is just coming
back) stays pending and is handed over again by the follower; instances know ids, so nothing arrives twice.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from actors.envelope import CleanText, clean
from actors.errors import InvalidRequestError, PhalanxError, UnavailableError, WrongStateError
from actors.messages import Message, MessageStatus, Receipt, encode
from actors.news import News
from actors.states import ALIVE
from supervisor.members import Members
from supervisor.registry import Registry
from supervisor.requests import MAX_MESSAGE_BYTES
from supervisor.store import StateStore, keys

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A text that a caller wants delivered."""

    instance_id: str
    text: str
    immediate: bool = False


class Mail:
    """Messages under way and their receipts. All in the supervisor's event loop."""

    def __init__(self, registry: Registry, members: Members, store: StateStore, news: News) -> None:
        self._registry = registry
        self._members = members
        self._store = store
        self._news = news
        self._pending: dict[str, dict[str, Message]] = {}
        self._receipts: dict[str, Receipt] = {}
        self._to_hand_over: set[str] = set()

    async def accept(self, drafts: Sequence[Draft], sender: str, now: float) -> list[Message | PhalanxError]:
        """Makes messages of drafts, in order; a draft that is refused gives its error and harms no other."""
        accepted = [self._checked(draft, sender, now) for draft in drafts]
        messages = [message for message in accepted if isinstance(message, Message)]
        await self._store.save({keys.message(message.id): encode(message) for message in messages})
        by_instance: dict[str, list[Message]] = {}
        for message in messages:
            self._pending.setdefault(message.instance_id, {})[message.id] = message
            self._receipts[message.id] = _accepted(message)
            by_instance.setdefault(message.instance_id, []).append(message)
        await asyncio.gather(*(self._hand_over(instance_id, batch) for instance_id, batch in by_instance.items()))
        return accepted

    def _checked(self, draft: Draft, sender: str, now: float) -> Message | PhalanxError:
        try:
            member = self._registry.get(draft.instance_id)
            if member.snapshot.status not in ALIVE:
                raise WrongStateError(
                    f"{draft.instance_id} is {member.snapshot.status} and takes no messages. Restart it first."
                )
            if not self._members.has(draft.instance_id):
                raise WrongStateError(f"{draft.instance_id} is just being started: send again when it is ready.")
            return _message(draft, sender, now)
        except PhalanxError as error:
            return error

    async def _hand_over(self, instance_id: str, messages: list[Message]) -> None:
        try:
            await self._members.port(instance_id).deliver(messages)
        except UnavailableError as error:
            logger.warning("%s takes over %d messages later: %s", instance_id, len(messages), error)
            self._to_hand_over.add(instance_id)

    async def reachable(self, instance_id: str) -> None:
        """The instance answers: it gets what it could not take over before."""
        if instance_id in self._to_hand_over:
            await self.hand_over_again(instance_id)

    async def close(self, instance_id: str) -> None:
        """The instance is gone for good: every message that is still under way ends here."""
        left = self._pending.get(instance_id, {}).values()
        await self.take_receipts([_lost(message) for message in left])

    async def hand_over_again(self, instance_id: str) -> None:
        """Gives an instance whose actor came back everything that is pending for it."""
        self._to_hand_over.discard(instance_id)
        pending = list(self._pending.get(instance_id, {}).values())
        if pending:
            await self._hand_over(instance_id, pending)

    async def take_receipts(self, receipts: Sequence[Receipt]) -> None:
        """Takes in what an instance reports."""
        if not receipts:
            self._news.announce()
            return
        await self._store.save(
            {keys.receipt(receipt.message_id): encode(receipt) for receipt in receipts},
            delete=[keys.message(receipt.message_id) for receipt in receipts if receipt.final],
        )
        for receipt in receipts:
            self._receipts[receipt.message_id] = receipt
            if receipt.final:
                self._pending.get(receipt.instance_id, {}).pop(receipt.message_id, None)
        self._news.announce()

    def receipt(self, message_id: str) -> Receipt:
        return self._receipts[message_id]

    def pending(self, instance_id: str) -> int:
        """How many accepted messages of this instance are not at the end of their way."""
        return len(self._pending.get(instance_id, {}))

    def blocked_reason(self, instance_id: str) -> str:
        """Why a message of this instance is held back; empty when none is."""
        for message_id in self._pending.get(instance_id, {}):
            receipt = self._receipts[message_id]
            if receipt.status is MessageStatus.BLOCKED:
                return receipt.reason
        return ""

    async def settled(self, message_ids: Iterable[str], timeout_s: float) -> bool:
        """Waits until every message is at its end or held back by something that needs a decision."""
        ids = tuple(message_ids)

        def all_settled() -> bool:
            return all(_is_settled(self._receipts[message_id]) for message_id in ids)

        return await self._news.until(all_settled, timeout_s)


def _is_settled(receipt: Receipt) -> bool:
    return receipt.final or receipt.status is MessageStatus.BLOCKED


def _lost(message: Message) -> Receipt:
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.FAILED,
        at=time.time(),
        reason="the instance was stopped before its actor said what became of the message",
    )


def _accepted(message: Message) -> Receipt:
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.ACCEPTED,
        at=message.accepted_at,
    )


def check_text(text: str) -> CleanText:
    """The text as it can be delivered. Raises ``InvalidRequestError`` for one that cannot."""
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


def _message(draft: Draft, sender: str, now: float) -> Message:
    cleaned = check_text(draft.text)
    return Message(
        id=f"msg_{secrets.token_hex(6)}",
        instance_id=draft.instance_id,
        sender=sender,
        text=cleaned.text,
        immediate=draft.immediate,
        accepted_at=now,
        removed_characters=cleaned.removed,
    )
