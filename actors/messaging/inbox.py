"""The batcher of one instance; pure, the clock is an argument.

The courier offers every accepted message, those of one call together, and takes a batch when typing is safe. Messages
leave in the order in which they came. The delay is waited only where more is likely to come: when the last message came
within the delay after one before. Then a batch is due when it is full, when its oldest message has waited the delay, or
when any queued message is immediate; otherwise at once. Because a batch is formed only when it is taken, all that
gathers while the agent works goes in one paste.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass

from actors.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    size: int
    """Most messages in one paste."""
    delay_s: float
    """Longest wait of a message for companions, and how soon after another a message tells that more may come."""
    bytes: int = 1_000_000
    """Most bytes of text in one paste; a single longer message goes alone."""


class Inbox:
    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self._queue: deque[tuple[float, Message]] = deque()
        self._last_came_at = -math.inf
        self._more_is_likely = False

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Message]:
        return (message for _, message in self._queue)

    def offer(self, messages: Iterable[Message], now: float) -> None:
        """What one call has brought."""
        self._queue.extend((now, message) for message in messages)
        self._more_is_likely = now - self._last_came_at < self.limits.delay_s
        self._last_came_at = now

    def put_back(self, messages: Iterable[Message]) -> None:
        """Puts what was taken before to the front again, in its order; it is due at once."""
        self._queue.extendleft((-math.inf, message) for message in reversed(tuple(messages)))

    def due_at(self) -> float | None:
        """When the next batch is due; None while nothing is queued."""
        if not self._queue:
            return None
        oldest = self._queue[0][0]
        full = len(self._queue) >= self.limits.size
        waits = self._more_is_likely and not full and not any(message.immediate for message in self)
        return oldest + self.limits.delay_s if waits else oldest

    def take(self, now: float, alone: Set[str] = frozenset()) -> tuple[Message, ...]:
        """Removes and returns the batch that is due, empty if none is. Ids in ``alone`` go in no batch with others."""
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return ()
        batch = [self._queue.popleft()[1]]
        size_bytes = len(batch[0].text.encode())
        while self._queue and len(batch) < self.limits.size and alone.isdisjoint({batch[0].id, self._queue[0][1].id}):
            size_bytes += len(self._queue[0][1].text.encode())
            if size_bytes > self.limits.bytes:
                break
            batch.append(self._queue.popleft()[1])
        return tuple(batch)

    def remove(self, message_ids: Collection[str]) -> tuple[Message, ...]:
        """Removes and returns those of these that are queued."""
        removed = tuple(message for message in self if message.id in message_ids)
        self._queue = deque(item for item in self._queue if item[1].id not in message_ids)
        return removed

    def drain(self) -> tuple[Message, ...]:
        """Removes and returns all that is queued."""
        drained = tuple(self)
        self._queue.clear()
        return drained
