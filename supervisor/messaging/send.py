"""Carries out one call that sends messages, and gives a repeated call the outcome of the first one.

The verbs ``send`` and ``send_batch`` call ``MessageSender``. Messages and the call's outcome are stored in one
transaction, so after a crash either both are there or neither is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actors.errors import PhalanxError, to_wire
from actors.instance.inbox import clean
from actors.messages import Message
from supervisor.api.requests import BatchMessage, Malformed, SendBatchRequest, SendRequest
from supervisor.messaging.outbox import Writes
from supervisor.rpc.idempotency import IdempotentCall, fingerprint
from supervisor.team.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOutcome:
    """Of one member: the id of the accepted message, or the error (``to_wire``) of a refused one."""

    instance_id: str
    message_id: str = ""
    removed_characters: int = 0
    broken_headers: bool = False
    """The text held what looks like a header of ours, which no instance may write."""
    error: dict[str, str] | None = None


class MessageSender:
    """All in the supervisor's event loop."""

    def __init__(self, team: Team) -> None:
        self._outbox = team.outbox
        self._idempotency = team.idempotency
        self._storing: dict[str, asyncio.Task[None]] = {}

    async def send(
        self, request: SendRequest | SendBatchRequest, members: Sequence[BatchMessage | Malformed], sender: str
    ) -> Sequence[SendOutcome]:
        """Outcomes in the order of the members. A refused one harms no other. After ``StoreError`` none was taken."""

        async def work() -> Sequence[SendOutcome]:
            return await self._send(fingerprint(request), request.request_id, members, sender)

        return await self._idempotency.once(request, request.request_id, work)

    async def _send(
        self, content: str, request_id: str | None, members: Sequence[BatchMessage | Malformed], sender: str
    ) -> Sequence[SendOutcome]:
        if request_id is not None and request_id in self._storing:
            await asyncio.wait((self._storing[request_id],))
        earlier = self._idempotency.outcomes(request_id, content)
        if earlier is not None:
            return [SendOutcome(**outcome) for outcome in earlier]
        checked = self._outbox.check(members, sender, time.time())
        sent = [_outcome(member, message) for member, message in zip(members, checked, strict=True)]
        outcomes: list[Any] = [_stored(one) for one in sent]
        noted = self._idempotency.note(request_id, content, outcomes)
        messages = [message for message in checked if isinstance(message, Message)]
        await asyncio.shield(self._store(messages, noted))
        return sent

    def _store(self, messages: Sequence[Message], noted: IdempotentCall) -> asyncio.Task[None]:
        """The task goes on when its caller is cancelled: a repeated call must find what it has done."""

        async def store() -> None:
            await self._outbox.accept(messages, Writes(records=noted.records, delete=noted.delete))
            self._idempotency.keep(noted)

        def stored(_: object) -> None:
            self._storing.pop(noted.request_id, None)
            # The waiting caller gets the error; without one, asyncio must not complain.
            _ = task.cancelled() or task.exception()

        task = asyncio.create_task(store(), name="store messages")
        if noted.request_id:
            self._storing[noted.request_id] = task
        task.add_done_callback(stored)
        return task


def _stored(sent: SendOutcome) -> dict[str, Any]:
    """Without what is seldom so, which an earlier version does not know."""
    stored = asdict(sent)
    if not sent.broken_headers:
        del stored["broken_headers"]
    return stored


def _outcome(member: BatchMessage | Malformed, message: Message | PhalanxError) -> SendOutcome:
    instance_id = member.named("instanceId") if isinstance(member, Malformed) else member.instance_id
    if isinstance(message, PhalanxError):
        return SendOutcome(instance_id=instance_id, error=to_wire(message))
    return SendOutcome(
        instance_id=instance_id,
        message_id=message.id,
        removed_characters=message.removed_characters,
        broken_headers=not isinstance(member, Malformed) and message.text != clean(member.message).text,
    )
