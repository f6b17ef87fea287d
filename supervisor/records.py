"""How the supervisor's own records are stored: a version byte and msgpack, as all records are.

A record of a version that is not known, or one that is torn, is kept as it is and reported (``Unreadable``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgpack
from pydantic import TypeAdapter

from actors.errors import PhalanxError
from actors.messages import RECORD_VERSION, Message, Receipt, RecordVersionError
from supervisor.metrics.metrics import TimeBucket
from supervisor.store import keys
from supervisor.team.registry import InstanceRecord

_ADAPTER = TypeAdapter(InstanceRecord)
_MESSAGES = TypeAdapter(Message)
_RECEIPTS = TypeAdapter(Receipt)
_Value = TypeVar("_Value")


def encode_plain(value: Any) -> bytes:
    """Any value that msgpack knows."""
    return bytes([RECORD_VERSION]) + bytes(msgpack.packb(value))


def decode_plain(data: bytes) -> Any:
    """Raises ``RecordVersionError`` for a record of another version."""
    if data[:1] != bytes([RECORD_VERSION]):
        raise RecordVersionError("A stored record has an unknown format: use the version of Phalanx that wrote it.")
    return msgpack.unpackb(data[1:])


def encode_record(record: InstanceRecord) -> bytes:
    return encode_plain(_ADAPTER.dump_python(record, mode="json"))


def decode_record(data: bytes) -> InstanceRecord:
    """Raises ``RecordVersionError`` for a record of another version."""
    return _ADAPTER.validate_python(decode_plain(data))


def decode_message(data: bytes) -> Message:
    """As ``actors.messages.decode``, with every field checked: a store may be older than this program."""
    return _MESSAGES.validate_python(decode_plain(data))


def decode_receipt(data: bytes) -> Receipt:
    return _RECEIPTS.validate_python(decode_plain(data))


def encode_slot(slot: TimeBucket) -> bytes:
    return encode_plain(slot.to_plain())


def decode_slot(data: bytes) -> TimeBucket:
    return TimeBucket.from_plain(decode_plain(data))


class Unreadable:
    """The keys of records that this version cannot read: they are left alone."""

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
        """Whose records they are: what belongs to these is left alone, too."""
        found = (key for key in self.keys if key.startswith(keys.INSTANCE_PREFIX))
        return tuple(key.removeprefix(keys.INSTANCE_PREFIX) for key in found)

    @property
    def warning(self) -> str:
        """For people; empty when every record could be read."""
        if not self.keys:
            return ""
        return (
            f"{len(self.keys)} stored records were written by another version of Phalanx or are damaged; they are kept "
            f"and left alone (the first is {self.keys[0]}). The version that wrote them can read them."
        )
