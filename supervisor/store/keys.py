"""Every key of the store, in one place."""

from __future__ import annotations

from dataclasses import dataclass

INSTANCE_PREFIX = "instance/"
MESSAGE_PREFIX = "message/"
RECEIPT_PREFIX = "receipt/"
REQUEST_PREFIX = "request/"
PERFORMANCE_PREFIX = "performance/"
LAST_NUMBER = "team/last_number"
"""Highest number that an instance of this team has ever had."""
LAST_SPARE = "team/last_spare"
"""Highest number that a spare of this team has ever had."""

POOL_ORDERS = "pool/orders"
"""What is to be kept ready."""


def instance(instance_id: str) -> str:
    return INSTANCE_PREFIX + instance_id


def message(message_id: str) -> str:
    return MESSAGE_PREFIX + message_id


def request(request_id: str) -> str:
    """What came of a call that may be repeated."""
    return REQUEST_PREFIX + request_id


def performance(start: float) -> str:
    """What happened in the five minutes that began then."""
    return f"{PERFORMANCE_PREFIX}{start:.0f}"


def receipt(message_id: str) -> str:
    return RECEIPT_PREFIX + message_id


RESTORED = "team/restored"
"""Where a state that was restored comes from, see ``base.Origin``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisKeys:
    """Where a team's mirror is in Redis. The part in braces keeps all of it in one slot of a cluster."""

    meta: str
    """A hash: what the mirror is a copy of, who may write it, whether a write was cut off."""
    records: str
    """A hash of every record under its key, so a write costs the same however many there are."""
    staging: str
    """The same for records that are about to take the place of all there are."""

    @classmethod
    def of(cls, team: str) -> RedisKeys:
        tag = f"{{phalanx:{team}}}"
        return cls(meta=f"{tag}:meta", records=f"{tag}:records", staging=f"{tag}:staging")
