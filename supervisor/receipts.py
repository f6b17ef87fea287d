"""The receipts that the supervisor itself writes, before and after an instance has had its say; pure."""

from __future__ import annotations

import time

from actors.messages import Message, MessageStatus, Receipt


def accepted(message: Message) -> Receipt:
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.ACCEPTED,
        at=message.accepted_at,
    )


def lost(message: Message) -> Receipt:
    return Receipt(
        message_id=message.id,
        instance_id=message.instance_id,
        status=MessageStatus.FAILED,
        at=time.time(),
        reason="the instance was stopped before its actor said what became of the message",
    )


def is_settled(receipt: Receipt) -> bool:
    """At its end, or held back by something that needs a decision."""
    return receipt.final or receipt.status is MessageStatus.BLOCKED
