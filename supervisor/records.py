"""How an instance's record is stored: a version byte and a msgpack map, as all records are."""

from __future__ import annotations

import msgpack
from pydantic import TypeAdapter

from actors.messages import RECORD_VERSION, RecordVersionError
from supervisor.registry import InstanceRecord

_ADAPTER = TypeAdapter(InstanceRecord)


def encode_record(record: InstanceRecord) -> bytes:
    return bytes([RECORD_VERSION]) + bytes(msgpack.packb(_ADAPTER.dump_python(record, mode="json")))


def decode_record(data: bytes) -> InstanceRecord:
    """Raises ``RecordVersionError`` for a record of another version."""
    if data[:1] != bytes([RECORD_VERSION]):
        raise RecordVersionError("A stored instance has an unknown format: use the version of Phalanx that wrote it.")
    return _ADAPTER.validate_python(msgpack.unpackb(data[1:]))
