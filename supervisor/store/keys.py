"""Every key of the store and of its mirror in Redis. The stores and all that write records use it."""

from __future__ import annotations

from dataclasses import dataclass

INSTANCE_PREFIX = "instance/"
MESSAGE_PREFIX = "message/"
RECEIPT_PREFIX = "receipt/"
REQUEST_PREFIX = "request/"
PERFORMANCE_PREFIX = "performance/"
EVENT_PREFIX = "event/"
DUE_EVENT_PREFIX = "due-event/"
DETECTED_PREFIX = "detected/"
TOLD_TO_LEADS_PREFIX = "told-to-leads/"
LIMIT_TOLD_PREFIX = "limit-told/"
MERGING_PREFIX = "merging/"
LAST_NUMBER = "team/last_number"
"""The highest number that an instance of this team has ever had."""
LAST_SPARE = "team/last_spare"
"""The highest number that a spare of this team has ever had."""
POOL_ORDERS = "pool/orders"
"""Which spares are ordered, see ``pool.service``."""
LEADS_TOLD_SINCE = "team/leads_told_since"
"""The number of the event after which leads are told, when they were not told once; see ``events.telling``."""
NOTICED = "team/noticed"
"""The number of the event up to which people were told of what happens; see ``events.notices``."""
RESTORED = "team/restored"
"""The mirror that the state was restored from, see ``base.origin_record``."""


def instance(instance_id: str) -> str:
    return INSTANCE_PREFIX + instance_id


def message(message_id: str) -> str:
    return MESSAGE_PREFIX + message_id


def receipt(message_id: str) -> str:
    return RECEIPT_PREFIX + message_id


def request(request_id: str) -> str:
    """The outcome of a call that may be repeated."""
    return REQUEST_PREFIX + request_id


def performance(start: float) -> str:
    """The metrics of the five minutes that begin at ``start``, in seconds since the epoch."""
    return f"{PERFORMANCE_PREFIX}{start:.0f}"


def event(number: int) -> str:
    """An event of the team's stream; keys sort as the numbers do."""
    return f"{EVENT_PREFIX}{number:015}"


def event_number(key: str) -> int:
    return int(key.removeprefix(EVENT_PREFIX))


def due_event(identity: str) -> str:
    """Events of one change that have happened and have no numbers yet."""
    return DUE_EVENT_PREFIX + identity


def detected(instance_id: str) -> str:
    """What the stream has told last of this instance."""
    return DETECTED_PREFIX + instance_id


def told_to_leads(instance_id: str) -> str:
    """How far its lead knows what happened to this instance."""
    return TOLD_TO_LEADS_PREFIX + instance_id


def limit_told(instance_id: str) -> str:
    """How much of its token limit was told as used."""
    return LIMIT_TOLD_PREFIX + instance_id


def merging(identity: str) -> str:
    """A merge that is under way, see ``git.merging``."""
    return MERGING_PREFIX + identity


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisKeys:
    """The keys of a team's mirror in Redis. The part in braces keeps all of it in one slot of a cluster."""

    meta: str
    """A hash: what the mirror is a copy of, which process may write it, whether a write was cut off."""
    records: str
    """A hash of every record under its key, so that a write costs the same however many there are."""
    staging: str
    """A hash of records that are about to replace all others."""

    @classmethod
    def of(cls, team: str) -> RedisKeys:
        tag = f"{{phalanx:{team}}}"
        return cls(meta=f"{tag}:meta", records=f"{tag}:records", staging=f"{tag}:staging")
