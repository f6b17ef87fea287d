"""Where a team's records are kept, behind one protocol.

Records are bytes (see ``actors.messages.encode``) under text keys; ``keys`` makes every key. The supervisor is the only
writer: ``open`` takes the state for one process and gives it an epoch, higher than every one before; a process that
another one has replaced can write no more. An operation costs the same whatever the number of instances.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgpack

from actors.messages import RECORD_VERSION

MayBegin = Callable[[], Awaitable[None]]
"""Asked before a state without any record is gone on with: raises why that may not be."""


async def always() -> None:
    """Whoever has no state may begin one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """``description`` is what people see in ``phalanx status``, for example ``SQLite``."""

    description: str
    warning: str = ""
    """What is wrong with the store now and what happens meanwhile, for people; empty when all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which mirror a state was restored from. Times are seconds since the epoch, by the clocks of those who wrote."""

    host: str
    home: str
    current_at: float
    """When the mirror was last known to have everything."""
    restored_at: float

    def encode(self) -> bytes:
        """The record ``keys.RESTORED``."""
        return bytes([RECORD_VERSION]) + bytes(msgpack.packb([self.host, self.home, self.current_at, self.restored_at]))


def origin_in_words(record: bytes) -> str:
    """The end of what a state is called; empty for one that was not restored."""
    if record[:1] != bytes([RECORD_VERSION]):
        return ""
    host, home, current_at, restored_at = msgpack.unpackb(record[1:])
    return f", restored at {utc(restored_at)} from the mirror of {host}:{home} as it was at {utc(current_at)}"


def utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


class StateStore(Protocol):
    @property
    def health(self) -> StoreHealth: ...

    async def open(self) -> int:
        """Takes the state for this process and returns its epoch. Nothing else may be called before.

        Raises ``StateHeldError`` when another supervisor has it and ``StoreError`` when it is damaged, with what to do.
        What ``MayBegin`` raises goes through; the empty state stays unused.
        """
        ...

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        """Writes and deletes in one transaction: all of it or nothing. Durable when it returns, where the store can.

        Raises ``StoreError`` when nothing was written (disk full), ``FencedError`` when the state has another writer.
        """
        ...

    async def load(self, prefix: str) -> dict[str, bytes]:
        """Every record whose key begins with ``prefix``, in the order of the keys."""
        ...

    async def close(self) -> None:
        """Lets the state go. No-op when it is not open."""
        ...
