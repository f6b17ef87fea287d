"""How the supervisor's records are stored: a version byte and msgpack.

The team, outbox, pool and metrics encode and decode with it. A record of an unknown version, or a damaged one, is left
as it is and reported (``Unreadable``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgpack
from pydantic import TypeAdapter

from actors.errors import PhalanxError
from actors.messages import RECORD_VERSION, Message, Receipt, RecordVersionError
from supervisor.api.results import SPARE_PREFIX
from supervisor.metrics.metrics import TimeBucket
from supervisor.store import keys
from supervisor.team.registry import InstanceRecord

_INSTANCES = TypeAdapter(InstanceRecord)
_MESSAGES = TypeAdapter(Message)
_RECEIPTS = TypeAdapter(Receipt)
_Value = TypeVar("_Value")


def encode_plain(value: Any) -> bytes:
    """Takes any value that msgpack can pack."""
    return bytes([RECORD_VERSION]) + bytes(msgpack.packb(value))


def decode_plain(data: bytes) -> Any:
    """Raises ``RecordVersionError`` for a record of another version."""
    if data[:1] != bytes([RECORD_VERSION]):
        raise RecordVersionError("A stored record has an unknown format: use the version of Phalanx that wrote it.")
    return msgpack.unpackb(data[1:])


def encode_record(record: InstanceRecord) -> bytes:
    return encode_plain(_INSTANCES.dump_python(record, mode="json"))


def decode_record(data: bytes) -> InstanceRecord:
    """Raises ``RecordVersionError`` for a record of another version."""
    return _INSTANCES.validate_python(decode_plain(data))


def decode_message(data: bytes) -> Message:
    """As ``actors.messages.decode``, but checks every field: another version may have written the store."""
    return _MESSAGES.validate_python(decode_plain(data))


def decode_receipt(data: bytes) -> Receipt:
    return _RECEIPTS.validate_python(decode_plain(data))


def encode_bucket(slot: TimeBucket) -> bytes:
    return encode_plain(slot.to_plain())


def decode_bucket(data: bytes) -> TimeBucket:
    return TimeBucket.from_plain(decode_plain(data))


class Unreadable:
    """The keys of records that this version cannot read. They are left alone."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        """In the order in which they were found."""
        self.known: set[str] = set()

    def readable(self, records: Mapping[str, bytes], decode: Callable[[bytes], _Value]) -> Iterator[tuple[str, _Value]]:
        """Key and value of every record that can be read; the others are noted."""
        for key, data in records.items():
            try:
                yield key, decode(data)
            except (PhalanxError, ValueError, TypeError, KeyError, msgpack.UnpackException):
                self.keys.append(key)
                self.known.add(key)

    @property
    def instance_ids(self) -> tuple[str, ...]:
        """Instances whose record cannot be read: everything of theirs is left alone, too."""
        found = (key for key in self.keys if key.startswith(keys.INSTANCE_PREFIX))
        return tuple(key.removeprefix(keys.INSTANCE_PREFIX) for key in found)

    def may_have(self, name: str) -> bool:
        """Whether what has this name may be of one of them: what was a spare's keeps its name (``SPARE_PREFIX``)."""
        ids = self.instance_ids
        return name in ids or (bool(ids) and name.startswith(SPARE_PREFIX))

    @property
    def warning(self) -> str:
        """For people; empty when every record could be read."""
        if not self.keys:
            return ""
        return (
            f"{len(self.keys)} stored records were written by another version of Phalanx or are damaged; they are kept "
            f"and left alone (the first is {self.keys[0]}). The version that wrote them can read them."
        )
