"""Where a team's records are kept, behind one protocol.

Records are bytes (see ``actors.messages.encode``) under text keys; ``keys`` makes every key. The supervisor is the only
writer. An operation costs the same whatever the number of instances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class StateStore(Protocol):
    @property
    def description(self) -> str:
        """What people see in ``phalanx status``, for example ``memory``."""
        ...

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        """Writes and deletes in one transaction: all of it or nothing. Durable when it returns, where the store can."""
        ...

    async def load(self, prefix: str) -> dict[str, bytes]:
        """Every record whose key begins with ``prefix``."""
        ...
