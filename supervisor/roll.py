"""The team's roll: registry, live ends, mail and store kept in step.

Whoever changes who is in the team goes through here. Everybody who waits for the team to change waits on ``news``.
"""

from __future__ import annotations

import logging

from actors.news import News
from actors.reports import Report
from supervisor.mail import Mail
from supervisor.members import Members
from supervisor.ports import InstancePort
from supervisor.records import encode_record
from supervisor.registry import Member, Registry
from supervisor.store import StateStore, keys

logger = logging.getLogger(__name__)


class Roll:
    """All in the supervisor's event loop."""

    def __init__(self, store: StateStore, last_number: int = 0) -> None:
        """``last_number``: highest number that an instance of this home has ever had."""
        self.news = News()
        self.registry = Registry(last_number)
        self.members = Members()
        self.mail = Mail(self.registry, self.members, store, self.news)
        self._store = store
        self._pastes: dict[str, tuple[int, int]] = {}

    async def save(self, instance_id: str) -> None:
        record = self.registry.get(instance_id).record
        await self._store.save({keys.instance(instance_id): encode_record(record)})

    def follow(self, instance_id: str, port: InstancePort) -> None:
        """From now on the instance's reports are taken in."""
        self.members.follow(instance_id, port, self._take_in, self._revive)

    async def leave(self, instance_id: str) -> None:
        await self.members.leave(instance_id)

    async def _take_in(self, instance_id: str, report: Report) -> None:
        if instance_id in self.registry:
            self.registry.get(instance_id).snapshot = report.snapshot
        self._pastes[instance_id] = (report.batches, report.delivered)
        await self.mail.take_receipts(report.receipts)
        await self.mail.reachable(instance_id)

    async def _revive(self, instance_id: str, port: InstancePort) -> None:
        record = self.registry.get(instance_id).record
        logger.warning("the actor of %s was restarted: it takes over its agent again", instance_id)
        await port.adopt(record.pane_id, record.pid)
        await self.mail.hand_over_again(instance_id)

    def needs_attention(self, member: Member) -> bool:
        from_messages = self.mail.blocked_reason(member.record.instance_id)
        return member.snapshot.needs_attention or bool(from_messages)

    @property
    def average_batch(self) -> float:
        """Messages per paste so far; 0 before the first."""
        batches = sum(batches for batches, _ in self._pastes.values())
        messages = sum(messages for _, messages in self._pastes.values())
        return messages / batches if batches else 0.0
