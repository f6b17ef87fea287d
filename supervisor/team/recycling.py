"""Replaces the long conversation of an instance by a fresh one: same id, workspace and branch, with a summary.

``Supervisor`` calls ``ContextRecycler`` for the verb ``recycle``; reports of idle instances start it unasked. The old
conversation gives the summary as its last answer; the fresh one begins with it in its system prompt.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from actors.agents.base import EntryKind
from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet
from actors.errors import AgentError, UnavailableError, WrongStateError
from actors.instance.inbox import ids_in
from actors.instance.instance import Instance
from actors.instance.reports import InstanceSnapshot, Report
from actors.instance.transcript import PageItem, PageQuery
from actors.messages import KEEPER, Message, MessageStatus
from actors.status import Status
from supervisor.api.requests import BatchMessage
from supervisor.api.results import RecycleResult
from supervisor.team.lifecycle import Lifecycle
from supervisor.team.registry import Member
from supervisor.team.team import Team

SENDER = KEEPER
LONGEST_SUMMARY = 20_000
SUMMARY_S = 600.0
"""Longest wait for the summary."""
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
"""Between unasked attempts: each costs a turn over the whole conversation."""
_WRITTEN_S = 5.0
"""An answer is written, and a turn that no event tells of is seen, within so long."""
_HELD_S = 5.0
"""A message that is held for longer waits for a person."""
_LOOK_S = 0.5
_ASK_S = 5.0
_ENTRIES = 200
ASK = (
    "Your conversation has grown long, so it ends with this turn, and a fresh one goes on in your place: in the same "
    "worktree, on the same branch, knowing nothing but what you answer now. Change nothing any more. Answer with all "
    "that it needs: who wants what and why, what is decided, what is done and committed, what is not, where things "
    "are, what to do next and what to beware of."
)


class ContextRecycler:
    """Subscribes to the team's reports.

    Promises: from the question for the summary on nothing else is typed into the old conversation; messages to the
    instance wait for the fresh one, or for the old one where that goes on. The summary is the answer to that very
    question. When it is not given, or somebody goes on with something else, the old conversation stays as it was. After
    a crash the old conversation goes on until the record names the fresh one, and the fresh one afterwards.
    """

    def __init__(self, team: Team, lifecycle: Lifecycle, *, context_tokens: int, tasks: int) -> None:
        """From how many tokens of context, or messages, on an idle instance is recycled unasked; 0: never."""
        self._team = team
        self._lifecycle = lifecycle
        self._context_tokens = context_tokens
        self._tasks = tasks
        self._under_way: set[str] = set()
        self._unasked = TaskSet("recycling")
        self._tries = RetrySchedule[str](Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S))
        team.subscribe_reports(self.reported)

    def reported(self, member: Member, report: Report) -> None:
        """Begins to recycle an idle instance whose conversation has grown too long."""
        long = 0 < self._context_tokens <= report.snapshot.context_tokens
        old = 0 < self._tasks <= report.delivered
        instance_id = member.record.instance_id
        free = self._is_idle(member) and not member.hold and instance_id not in self._under_way
        if (long or old) and free and self._tries.may(instance_id, time.monotonic()):
            self._unasked.begin(self._recycle_unasked(member), name=f"recycle {instance_id}")

    async def stop(self) -> None:
        await self._unasked.end()

    async def _recycle_unasked(self, member: Member) -> None:
        instance_id = member.record.instance_id
        try:
            await self.recycle(member)
        except Exception:
            self._tries.failed(instance_id, time.monotonic())
            raise
        self._tries.worked(instance_id)

    async def recycle(self, member: Member) -> RecycleResult:
        """Raises ``WrongStateError`` when the instance is not idle, ``AgentError`` when it gives no summary."""
        instance_id = member.record.instance_id
        if instance_id in self._under_way or not self._is_idle(member):
            raise WrongStateError(
                f"{instance_id} is {member.status} or has messages: wait until it is idle, then recycle it."
            )
        self._under_way.add(instance_id)
        try:
            return await self._recycle(member)
        finally:
            self._under_way.discard(instance_id)

    def _is_idle(self, member: Member) -> bool:
        idle = member.snapshot.status is Status.READY and not member.turn.locked() and not member.ending
        outbox, instance_id = self._team.outbox, member.record.instance_id
        return idle and not outbox.pending(instance_id) and not outbox.is_withheld(instance_id)

    async def _recycle(self, member: Member) -> RecycleResult:
        instance_id, began = member.record.instance_id, member.record
        question = BatchMessage(instance_id=instance_id, message=ASK, immediate=True)
        (asked,) = self._team.outbox.check([question], SENDER, time.time())
        if not isinstance(asked, Message):
            raise asked
        # No await since it was found idle: what is sent from now on is withheld, and there was nothing before.
        with self._team.outbox.withheld(instance_id, but=asked.id):
            port = self._team.links.port(instance_id)
            place = (await port.page(PageQuery(cursor=None, limit=1, leaves_unread=True))).cursor
            deadline = time.monotonic() + SUMMARY_S
            await self._ask(member, asked, deadline)
            await self._answered(member, asked, place, deadline)
            async with member.turn:
                now = member.record
                if member.ending or (now.pid, now.session_id) != (began.pid, began.session_id):
                    raise WrongStateError(f"{instance_id} was ended or begun anew before it gave its summary.")
                port = self._team.links.port(instance_id)
                _check_has_ended(instance_id, (await port.reports(-1, _ASK_S)).snapshot)
                summary = await self._summary(port, asked, place)
                status = await self._lifecycle.renew(member, summary)
        return RecycleResult(instance_id=instance_id, status=status, summary=summary)

    async def _ask(self, member: Member, asked: Message, deadline: float) -> None:
        """Returns when the question stands in the conversation; one that does not get there is taken back."""
        outbox, instance_id = self._team.outbox, member.record.instance_id
        await outbox.accept([asked])
        if await outbox.settled([asked.id], deadline - time.monotonic()):
            await self._team.changes.until(lambda: outbox.is_final(asked.id), _HELD_S)
        receipt = outbox.receipt(asked.id)
        if receipt is not None and receipt.status is MessageStatus.SUBMITTED:
            return
        with suppress(UnavailableError):
            await self._team.links.port(instance_id).withdraw([asked.id], "the recycling was given up")
            await self._team.changes.until(lambda: outbox.is_final(asked.id), _ASK_S)
        why = (receipt and receipt.reason) or f"that took longer than {SUMMARY_S:.0f} s"
        raise _no_summary(instance_id, f"it could not be asked for one: {why}")

    async def _answered(self, member: Member, asked: Message, place: str, deadline: float) -> None:
        """Returns when its turn is over and nothing more of it is to be expected."""
        instance_id, changes = member.record.instance_id, self._team.changes
        silent_until = None
        while True:
            if not await changes.until(lambda: member.snapshot.status is not Status.BUSY, deadline - time.monotonic()):
                raise _no_summary(instance_id, f"its turn lasts longer than {SUMMARY_S:.0f} s")
            _check_has_ended(instance_id, member.snapshot)
            with suppress(UnavailableError):  # its actor may have been killed, and is back in a moment
                turn = turn_of(await _entries(self._team.links.port(instance_id), place), asked.id)
                silent_until = silent_until or time.monotonic() + _WRITTEN_S
                if turn.answer or turn.trouble or time.monotonic() > silent_until:
                    return
            await changes.next(_LOOK_S)

    async def _summary(self, port: Instance, asked: Message, place: str) -> str:
        """Raises ``AgentError`` when there is none, or when there is something after it."""
        turn = turn_of(await _entries(port, place), asked.id)
        if turn.trouble:
            raise _no_summary(asked.instance_id, turn.trouble)
        summary = "\n\n".join([await _whole(port, shown) for shown in turn.answer])
        if not summary.strip():
            raise _no_summary(asked.instance_id, "its turn ended without an answer")
        return summary[:LONGEST_SUMMARY]


def _check_has_ended(instance_id: str, snapshot: InstanceSnapshot) -> None:
    """Raises ``AgentError`` unless it stands at its prompt after a turn that went well."""
    if snapshot.status is not Status.READY:
        why = f"it is {snapshot.status}" + (f" ({snapshot.reason})" if snapshot.reason else "")
        raise _no_summary(instance_id, why)
    if snapshot.reason:
        raise _no_summary(instance_id, snapshot.reason)


async def _entries(port: Instance, place: str) -> list[PageItem]:
    """What was said since then."""
    found: list[PageItem] = []
    while True:
        page = await port.page(PageQuery(cursor=place or None, limit=_ENTRIES, leaves_unread=True))
        found += page.entries
        if not page.more:
            return found
        place = page.cursor


async def _whole(port: Instance, shown: PageItem) -> str:
    if not shown.reference:
        return shown.entry.text
    page = await port.page(PageQuery(cursor=None, limit=1, whole=shown.reference))
    return page.entries[0].entry.text


def _no_summary(instance_id: str, why: str) -> AgentError:
    return AgentError(
        f"{instance_id} gave no summary: {why}. Its conversation goes on as it is, and nothing of it was thrown away."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryTurn:
    """What has come of the question for the summary so far."""

    answer: tuple[PageItem, ...] = ()
    """Its last answer, in the pieces in which it was given; empty while something else came last."""
    trouble: str = ""
    """Why there will be none, in words; empty while there may."""


def turn_of(entries: Sequence[PageItem], message_id: str) -> SummaryTurn:
    """What the conversation tells of the turn that this message began; pure."""
    numbers = (n for n, shown in enumerate(entries) if message_id in ids_in(shown.entry.text))
    asked = next((n for n in numbers if entries[n].entry.kind is EntryKind.QUESTION), None)
    if asked is None:
        return SummaryTurn()
    answer: tuple[PageItem, ...] = ()
    for shown in entries[asked + 1 :]:
        entry = shown.entry
        if entry.kind is EntryKind.QUESTION:
            return SummaryTurn(trouble="somebody has gone on with it at its terminal")
        if entry.interrupted:
            return SummaryTurn(trouble="its turn was interrupted")
        if entry.kind is EntryKind.NOTICE and entry.answer_id:
            return SummaryTurn(trouble=f"its turn failed: {entry.text}")
        if entry.kind in (EntryKind.TOOL_CALL, EntryKind.TOOL_RESULT):
            answer = ()
        elif entry.kind is EntryKind.ANSWER:
            goes_on = bool(answer) and bool(entry.answer_id) and answer[-1].entry.answer_id == entry.answer_id
            answer = (*answer, shown) if goes_on else (shown,)
    return SummaryTurn(answer=answer)
