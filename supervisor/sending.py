"""One call that sends messages: what became of each, told again when the call is repeated.

Messages and the outcome of the call are stored in one transaction, so after a crash either both are there or neither.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actors.errors import PhalanxError, to_wire
from actors.messages import Message
from supervisor.mail import Draft, Extra
from supervisor.repeats import fingerprint
from supervisor.requests import Request
from supervisor.roll import Roll


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of one draft: a message that was accepted, or the error (``to_wire``) for which it was not."""

    instance_id: str
    message_id: str = ""
    removed_characters: int = 0
    error: dict[str, str] | None = None


class Sending:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll) -> None:
        self._mail = roll.mail
        self._repeats = roll.repeats

    async def send(
        self, request: Request, request_id: str | None, drafts: Sequence[Draft], sender: str
    ) -> Sequence[Sent]:
        """In the order of the drafts; one that is refused harms no other. After ``StoreError`` nothing was accepted."""

        async def work() -> Sequence[Sent]:
            return await self._send(fingerprint(request), request_id, drafts, sender)

        return await self._repeats.once(request, request_id, work)

    async def _send(self, content: str, request_id: str | None, drafts: Sequence[Draft], sender: str) -> Sequence[Sent]:
        earlier = self._repeats.outcomes(request_id, content)
        if earlier is not None:
            return [Sent(**outcome) for outcome in earlier]
        checked = self._mail.check(drafts, sender, time.time())
        sent = [_sent(draft, message) for draft, message in zip(drafts, checked, strict=True)]
        outcomes: list[Any] = [asdict(one) for one in sent]
        records, forgotten = self._repeats.remember(request_id, content, outcomes)
        try:
            messages = [message for message in checked if isinstance(message, Message)]
            await self._mail.accept(messages, Extra(records=records, delete=forgotten))
        except Exception:
            self._repeats.forget(request_id)
            raise
        return sent


def _sent(draft: Draft, message: Message | PhalanxError) -> Sent:
    if isinstance(message, PhalanxError):
        return Sent(instance_id=draft.instance_id, error=to_wire(message))
    return Sent(instance_id=draft.instance_id, message_id=message.id, removed_characters=message.removed_characters)
