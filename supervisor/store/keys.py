"""Every key of the store, in one place."""

from __future__ import annotations

INSTANCE_PREFIX = "instance/"
MESSAGE_PREFIX = "message/"
RECEIPT_PREFIX = "receipt/"
REQUEST_PREFIX = "request/"


def instance(instance_id: str) -> str:
    return INSTANCE_PREFIX + instance_id


def message(message_id: str) -> str:
    return MESSAGE_PREFIX + message_id


def request(request_id: str) -> str:
    """What came of a call that may be repeated."""
    return REQUEST_PREFIX + request_id


def receipt(message_id: str) -> str:
    return RECEIPT_PREFIX + message_id
