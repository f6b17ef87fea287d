"""What an instance tells the supervisor: snapshots and receipts, fetched by a long poll.

The supervisor asks for what came after the last sequence number that it has taken in; asking acknowledges. So nothing
is lost between two asks, arrows run down only, and an instance that restarts is known by its new ``incarnation``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.agents.base import Dialog, TokenUse
from actors.concurrency import ChangeNotifier
from actors.instance.state import PendingPermission, RateLimit
from actors.messages import Receipt
from actors.status import ALIVE, NEEDING_ATTENTION, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSnapshot:
    """An instance at one moment. ``since`` is seconds since the epoch."""

    status: Status = Status.STARTING
    since: float = 0.0
    reason: str = ""
    permission: PendingPermission | None = None
    """WAITING_PERMISSION: the tool call that waits for a decision."""
    dialog: Dialog | None = None
    """WAITING_INPUT or STARTING: what is asked at its terminal, when a dialog is recognised."""
    transcript_path: str = ""
    """On the instance's host; empty before the agent has told."""
    unread: int = 0
    tokens: TokenUse = field(default_factory=TokenUse)
    context_tokens: int = 0
    """How long its conversation has grown."""
    context_window: int | None = None
    """How many tokens its model takes; None where that is not known."""
    model: str = ""
    """Of its last answer; empty before the first one."""
    task: str = ""
    """Head of what it was asked last."""
    activity: str = ""
    """What it does now, or its last answer; see ``activity``."""
    activity_at: str = ""
    """When that was written, as the transcript gives the time."""
    session_id: str = ""
    """Of the conversation that it is in; empty before the agent has told."""
    turn_at: float = 0.0
    """Names the last turn, see ``InstanceState``; 0 before the first one since its agent was started."""
    turn_failed: bool = False
    answer: str = ""
    """Head of the answer that ended the last turn; empty while there is none."""
    answer_characters: int = 0
    """Of the whole answer."""
    limit: RateLimit | None = None
    """At which the last turn failed; None once another one has begun."""

    @property
    def needs_attention(self) -> bool:
        """It waits for a decision, has failed, or its last turn has."""
        return self.status in NEEDING_ATTENTION or (self.status in ALIVE and bool(self.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    incarnation: str
    sequence: int
    """Give this to the next ask."""
    answer: int = 0
    """Likewise: its number, see ``deliverer.Lease``."""
    snapshot: InstanceSnapshot
    receipts: tuple[Receipt, ...]
    batches: int = 0
    """Pastes so far."""
    delivered: int = 0
    """Messages in those pastes."""


class ReportLog:
    """Collects what changes and hands it out; all in one event loop."""

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self._sequence = 0
        self._receipts: list[tuple[int, Receipt]] = []
        self._snapshot = InstanceSnapshot()
        self._changes = ChangeNotifier()
        self.batches = 0
        self.delivered = 0

    def renew(self, incarnation: str) -> None:
        """Begins another incarnation, which has reported nothing yet; waiting callers learn of it at once."""
        self.incarnation = incarnation
        self._receipts.clear()
        self._publish()

    @property
    def current(self) -> InstanceSnapshot:
        return self._snapshot

    def snapshot(self, snapshot: InstanceSnapshot) -> None:
        """Publishes a snapshot if it differs from the last one."""
        if snapshot != self._snapshot:
            self._snapshot = snapshot
            self._publish()

    def receipt(self, receipt: Receipt) -> None:
        self._receipts.append((self._sequence + 1, receipt))
        self._publish()

    def _publish(self) -> None:
        self._sequence += 1
        self._changes.announce()

    def acknowledge(self, sequence: int, incarnation: str) -> list[Receipt]:
        """The asker has taken in what came up to ``sequence`` of this incarnation; returns those receipts."""
        if incarnation and incarnation != self.incarnation:
            return []
        taken_in = [receipt for at, receipt in self._receipts if at <= sequence]
        self._receipts = [(at, receipt) for at, receipt in self._receipts if at > sequence]
        return taken_in

    async def after(self, sequence: int, timeout_s: float, incarnation: str) -> Report:
        """What came after ``sequence``; waits up to ``timeout_s`` seconds for news, then answers without any.

        Answers at once when the asker names another incarnation than this.
        """
        if incarnation and incarnation != self.incarnation:
            sequence = -1
        await self._changes.until(lambda: self._sequence > sequence, timeout_s)
        return Report(
            incarnation=self.incarnation,
            sequence=self._sequence,
            snapshot=self._snapshot,
            receipts=tuple(receipt for at, receipt in self._receipts if at > sequence),
            batches=self.batches,
            delivered=self.delivered,
        )
