"""Hands an instance whose conversation has grown long over to a fresh one: same id, workspace and branch, a summary.

The old conversation is asked for the summary as its last message; the fresh one begins with it in its system prompt.
Nothing of the work is touched, and messages that come meanwhile wait. What fails before the old agent is ended leaves
it as it was; what a crash cuts off afterwards is resumed as the fresh one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from actors.agents.base import EntryKind
from actors.background import Background
from actors.errors import AgentError, WrongStateError
from actors.following.pages import PageQuery
from actors.following.reports import Report
from actors.messages import Message, MessageStatus
from actors.states import Status
from supervisor.messaging.drafts import Draft
from supervisor.results import RecycleResult
from supervisor.team.closing import Closing
from supervisor.team.registry import Member
from supervisor.team.roll import Roll

SENDER = "phalanx"
LONGEST_SUMMARY = 20_000
_SUMMARY_S = 600.0
_ENTRIES = 50
_ASK = (
    "Your conversation has grown long, so it ends with this turn, and a fresh one goes on in your place: in the same "
    "worktree, on the same branch, knowing nothing but what you answer now. Change nothing any more. Answer with all "
    "that it needs: who wants what and why, what is decided, what is done and committed, what is not, where things "
    "are, what to do next and what to beware of."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecyclingRules:
    """When it is done unasked; 0 is never."""

    context_tokens: int
    tasks: int


class Recycling:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll, closing: Closing, rules: RecyclingRules) -> None:
        self._roll = roll
        self._closing = closing
        self._rules = rules
        self._under_way: set[str] = set()
        self._unasked = Background("recycling")

    def reported(self, member: Member, report: Report) -> None:
        """Begins a recycling where the rules ask for one and the instance is idle."""
        snapshot, rules = report.snapshot, self._rules
        long = 0 < rules.context_tokens <= snapshot.context_tokens
        old = 0 < rules.tasks <= report.delivered
        if (long or old) and self._is_idle(member) and member.record.instance_id not in self._under_way:
            self._unasked.begin(self.recycle(member), name=f"recycle {member.record.instance_id}")

    async def stop(self) -> None:
        await self._unasked.end()

    async def recycle(self, member: Member) -> RecycleResult:
        """Raises ``WrongStateError`` when the instance is not idle, ``AgentError`` when it gives no summary."""
        instance_id = member.record.instance_id
        if instance_id in self._under_way or not self._is_idle(member):
            raise WrongStateError(
                f"{instance_id} is {member.snapshot.status} or has messages: wait until it is idle, then recycle it."
            )
        self._under_way.add(instance_id)
        try:
            summary = await self._summary(member)
            status = await self._closing.renew(member, summary)
        finally:
            self._under_way.discard(instance_id)
        return RecycleResult(instance_id=instance_id, status=status, summary=summary)

    def _is_idle(self, member: Member) -> bool:
        idle = member.snapshot.status is Status.READY and not member.turn.locked() and not member.ending
        return idle and not self._roll.mail.pending(member.record.instance_id)

    async def _summary(self, member: Member) -> str:
        instance_id = member.record.instance_id
        draft = Draft(instance_id=instance_id, text=_ASK, immediate=True)
        (asked,) = self._roll.mail.check([draft], SENDER, time.time())
        if not isinstance(asked, Message):
            raise asked
        await self._roll.mail.accept([asked])
        await self._roll.mail.settled([asked.id], _SUMMARY_S)
        receipt = self._roll.mail.receipt(asked.id)
        if receipt is None or receipt.status is not MessageStatus.SUBMITTED:
            raise AgentError(
                f"{instance_id} was not asked for its summary: {receipt.reason if receipt else 'no receipt'}"
            )
        await self._roll.news.until(lambda: member.snapshot.status is not Status.BUSY, _SUMMARY_S)
        if member.snapshot.status is not Status.READY:
            raise AgentError(f"{instance_id} gave no summary: it is {member.snapshot.status}. It goes on as it is.")
        summary = await self._last_answer(instance_id)
        if not summary.strip():
            raise AgentError(f"{instance_id} gave no summary. It goes on as it is.")
        return summary[:LONGEST_SUMMARY]

    async def _last_answer(self, instance_id: str) -> str:
        port = self._roll.members.port(instance_id)
        page = await port.page(PageQuery(cursor=None, limit=_ENTRIES))
        answers = [shown for shown in page.entries if shown.entry.kind is EntryKind.ANSWER]
        if answers and answers[-1].reference:
            page = await port.page(PageQuery(cursor=None, limit=1, whole=answers[-1].reference))
            answers = list(page.entries)
        return answers[-1].entry.text if answers else ""
