"""Where a team's records are kept, behind one protocol.

Records are bytes (see ``actors.messages.encode``) under text keys; ``keys`` makes every key. The supervisor is the only
writer. ``open`` takes the state for one process and gives it an epoch, higher than every earlier one; a process that
was replaced can write no more. An operation costs the same whatever the number of instances.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgpack

from actors.messages import RECORD_VERSION

MayBegin = Callable[[], Awaitable[None]]
"""Called before a store into which nothing was ever saved is used. Raises when that may not be."""


class StateStore(Protocol):
    @property
    def health(self) -> StoreHealth: ...

    async def open(self) -> int:
        """Takes the state for this process and returns its epoch. Nothing else may be called before.

        Raises ``StateHeldError`` when another supervisor has it, ``StoreError`` when it is damaged, and whatever
        ``MayBegin`` raises; then the empty state stays unused.
        """
        ...

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        """Writes and deletes in one transaction, all or nothing. Durable when it returns, if the store can be.

        Raises ``StoreError`` when nothing was written (disk full), ``FencedError`` when the state has another writer.
        """
        ...

    async def load(self, prefix: str) -> dict[str, bytes]:
        """Every record whose key begins with ``prefix``, in the order of the keys."""
        ...

    async def close(self) -> None:
        """Releases the state. No-op when it is not open."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """For people."""

    description: str
    """Shown by ``phalanx status``, for example ``SQLite``."""
    warning: str = ""
    """What is wrong with the store now and what happens meanwhile; empty when all is well."""


async def always() -> None:
    """Permits it."""


def origin_record(host: str, home: str, current_at: float) -> bytes:
    """The record ``keys.RESTORED`` of a state that is restored now.

    The mirror of ``home`` on ``host`` had everything until ``current_at``, in seconds since the epoch there.
    """
    return bytes([RECORD_VERSION]) + bytes(msgpack.packb([host, home, current_at, time.time()]))


def origin_in_words(record: bytes) -> str:
    """Appended to the description of a restored state; empty for any other."""
    if record[:1] != bytes([RECORD_VERSION]):
        return ""
    host, home, current_at, restored_at = msgpack.unpackb(record[1:])
    return f", restored at {utc(restored_at)} from the mirror of {host}:{home} as it was at {utc(current_at)}"


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
