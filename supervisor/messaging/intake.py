"""Makes messages of drafts: whom they are for can take them, their text is clean, their numbers tell the order.

Used by the mail, in the supervisor's event loop.
"""

from __future__ import annotations

import itertools
import secrets

from actors.errors import InvalidRequestError, PhalanxError, WrongStateError, from_wire
from actors.messages import Message
from supervisor.api.failures import told
from supervisor.messaging.drafts import Draft, check_text
from supervisor.team.registry import Registry, Stage


class Intake:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._numbers = itertools.count(1)

    def go_on_after(self, number: int) -> None:
        """Of the last message that was made."""
        self._numbers = itertools.count(number + 1)

    def checked(self, draft: Draft, sender: str, now: float) -> Message | PhalanxError:
        try:
            return self._checked(draft, sender, now)
        except Exception as error:  # noqa: BLE001 - told and logged
            return from_wire(told(error, "This message"))

    def _checked(self, draft: Draft, sender: str, now: float) -> Message:
        if draft.fault:
            raise InvalidRequestError(draft.fault)
        member = self._registry.get(draft.instance_id)
        if member.record.stage is Stage.STARTING:
            raise WrongStateError(f"{draft.instance_id} is just being started: send again when it is ready.")
        if member.terminated:
            raise WrongStateError(f"{draft.instance_id} was terminated: spawn a new instance for this message.")
        if not member.alive or member.ending:
            raise WrongStateError(f"{draft.instance_id} is {member.status} and takes no messages. Restart it first.")
        return self.message(draft, sender, now)

    def message(self, draft: Draft, sender: str, now: float) -> Message:
        cleaned = check_text(draft.text)
        return Message(
            id=f"msg_{secrets.token_hex(6)}",
            instance_id=draft.instance_id,
            sender=sender,
            text=cleaned.text,
            immediate=draft.immediate,
            accepted_at=now,
            removed_characters=cleaned.removed,
            number=next(self._numbers),
        )
