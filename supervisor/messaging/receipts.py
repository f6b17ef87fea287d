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
