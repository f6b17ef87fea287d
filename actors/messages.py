"""The frozen values of message delivery, and how they are stored.

Supervisor, instance actors and stores exchange them. A later state is a new value. ``encode`` and ``decode`` turn each
into msgpack with a leading version byte.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

import msgpack

from actors.errors import PhalanxError

RECORD_VERSION = 1
"""The first byte of every encoded record."""
TELLER = "team"
"""The sender of messages in which the team tells a lead what has happened."""
KEEPER = "phalanx"
"""The sender of messages by which the team keeps an instance going, as when its conversation is recycled."""
Record = TypeVar("Record")


class RecordVersionError(PhalanxError):
    """Another version of Phalanx wrote the record."""

    code = "record_version"


class MessageStatus(StrEnum):
    """The state of a delivery; ``FINAL_STATUSES`` do not change any more."""

    ACCEPTED = "accepted"
    """Stored: queued for the instance or being typed."""
    BLOCKED = "blocked"
    """Waits because typing is not safe now (a dialog or somebody's draft is on the screen); continues by itself."""
    SUBMITTED = "submitted"
    """The agent's transcript shows it in the conversation."""
    UNCONFIRMED = "unconfirmed"
    """Typed, but without proof in time. It is not typed again; late proof still makes it submitted."""
    FAILED = "failed"
    """It did not and will not reach the conversation; the reason says why."""


FINAL_STATUSES = frozenset({MessageStatus.SUBMITTED, MessageStatus.UNCONFIRMED, MessageStatus.FAILED})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One text for one instance. ``accepted_at`` is seconds since the epoch; ``number`` is its order in the team."""

    id: str
    instance_id: str
    sender: str
    text: str
    immediate: bool
    accepted_at: float
    removed_characters: int = 0
    number: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The delivery state of one message. ``at`` is seconds since the epoch."""

    message_id: str
    instance_id: str
    status: MessageStatus
    at: float
    reason: str = ""
    exact: bool | None = None
    """For SUBMITTED: whether every character arrived; None when that was not compared."""
    changes: tuple[str, ...] = ()
    """What the agent's program changed in the text, in words with counts."""

    @property
    def final(self) -> bool:
        return self.status in FINAL_STATUSES


def encode(record: Any) -> bytes:
    """A dataclass as a version byte and a msgpack map. Records in its fields are encoded in the same way, as bytes."""
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    return bytes([RECORD_VERSION]) + bytes(msgpack.packb(fields, default=encode))


def decode(cls: type[Record], data: bytes, **made: Callable[[Any], Any]) -> Record:
    """The inverse of ``encode``. Raises ``RecordVersionError`` for a record of another version.

    ``made`` makes the value of a field that is not plain.
    """
    if not data or data[0] != RECORD_VERSION:
        found = data[0] if data else "none"
        raise RecordVersionError(
            f"A stored {cls.__name__} has format version {found}; this Phalanx reads {RECORD_VERSION}. "
            "Use the version of Phalanx that wrote it."
        )
    fields = msgpack.unpackb(data[1:])
    return cls(**fields | {name: make(fields[name]) for name, make in made.items()})
