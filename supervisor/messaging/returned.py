"""Messages that had arrived, that their agent has lost, and that its instance delivers again by itself.

Kept by the mail. An agent may be killed before it has written down what its hook told of; the instance's actor alone
has such a message then, in its journal on its host. So it counts as under way again, and nobody takes its instance away
from that host meanwhile. All in the supervisor's event loop.
"""

from __future__ import annotations

from collections.abc import Collection

from actors.messages import Receipt


class Returned:
    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}

    def note(self, receipt: Receipt) -> None:
        """What the instance says of a message of which the mail has nothing but the receipt."""
        ids = self._ids.setdefault(receipt.instance_id, set())
        if receipt.final:
            ids.discard(receipt.message_id)
        else:
            ids.add(receipt.message_id)
        if not ids:
            del self._ids[receipt.instance_id]

    def of(self, instance_id: str) -> Collection[str]:
        return frozenset(self._ids.get(instance_id, ()))
