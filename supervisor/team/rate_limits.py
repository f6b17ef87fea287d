"""What becomes of instances whose account has reached a limit, until the time that Claude Code told.

Each actor holds what would begin a turn, because that would only fail again (``actors.instance.deliverer``). Here, the
turn that failed is continued: a short message is accepted at once, waits with the others, and goes with them when the
limit ends. Its id names the failed turn, so it is sent once, also by the next supervisor. It is taken back when the
turn goes on without it. Starts for the same account wait, too, until one of its instances has ended a turn well, or
those that met the limit have ended. A limit whose end is not told holds nothing up.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from actors.concurrency import TaskSet
from actors.errors import UnavailableError
from actors.instance.reports import Report
from actors.instance.state import RateLimit
from actors.messages import KEEPER, Message
from supervisor.api.verbs import Handler
from supervisor.spawning.admission import Tell
from supervisor.team.registry import Member
from supervisor.team.team import Team

SENDER = KEEPER
GO_ON = "A limit of your account has ended your last turn, and is over. Go on where you were."
_LOOK_S = 60.0
"""The end of a limit is a time of day, which somebody may set or a machine sleep through."""


class RateLimits:
    """Subscribes to the team's reports; a ``VerbService`` without verbs."""

    def __init__(self, team: Team, *, continues: bool) -> None:
        """``continues``: a turn that failed at a limit is continued when that has ended."""
        self._team = team
        self._continues = continues
        self._limited: defaultdict[str, dict[str, RateLimit]] = defaultdict(dict)
        """By account and instance: what its latest report tells."""
        self._worked_at: dict[str, float] = {}
        """By account: when a turn ended well, in seconds since the epoch."""
        self._tasks = TaskSet("continue after a limit")
        self._sending: set[str] = set()
        team.subscribe_reports(self.reported)
        team.subscribe_changes(self._changed)

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {}

    async def begin(self) -> None:
        """Reports tell."""

    async def end(self) -> None:
        await self._tasks.end()

    def reported(self, member: Member, report: Report) -> None:
        record, limit = member.record, report.snapshot.limit
        of_account = self._limited[record.account]
        if limit is None:
            of_account.pop(record.instance_id, None)
        else:
            of_account[record.instance_id] = limit
        if report.snapshot.answer:
            before = self._worked_at.get(record.account, 0.0)
            self._worked_at[record.account] = max(before, report.snapshot.turn_at)
        wanted = _id_of(record.instance_id, limit) if limit is not None and limit.resets_at else ""
        stale = [message.id for message, _ in self._team.outbox.under_way(record.instance_id) if _is_of_ours(message)]
        if stale and stale != [wanted]:
            self._tasks.begin(self._withdraw(member, [each for each in stale if each != wanted]))
        due = self._continues and record.wanted and member.alive
        if wanted and due and wanted not in self._sending:
            self._sending.add(wanted)
            self._tasks.begin(self._continue(member, wanted), name=f"continue {record.instance_id}")

    def _changed(self, member: Member) -> None:
        """Who has ended tells no more of its limit."""
        record = member.record
        if not member.alive or self._team.registry.find(record.instance_id) is not member:
            self._limited[record.account].pop(record.instance_id, None)

    async def _continue(self, member: Member, message_id: str) -> None:
        outbox, instance_id = self._team.outbox, member.record.instance_id
        try:
            if outbox.receipt(message_id) is None:
                message = outbox.first_message(instance_id, GO_ON, SENDER)
                await outbox.accept([replace(message, id=message_id)])
        finally:
            self._sending.discard(message_id)

    async def _withdraw(self, member: Member, message_ids: list[str]) -> None:
        with suppress(UnavailableError):  # its actor is away: the next report shows whether it is still to be done
            port = self._team.links.port(member.record.instance_id)
            await port.withdraw(message_ids, "the turn that failed at the limit has gone on without it")

    async def until_free(self, account: str, tell: Tell, timeout_s: float) -> None:
        """Waits until a turn with this account would not fail at a limit. ``tell``: why it waits, if it does.

        Raises ``UnavailableError`` at once when that takes longer than ``timeout_s``.
        """
        deadline = time.time() + timeout_s
        while (free_at := self._free_at(account)) > time.time():
            until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(free_at))
            limited = f"the limit of its account is reached, and resets at {until}"
            if free_at > deadline:
                raise UnavailableError(f"Nothing was started: {limited}. Start it again then, or with another account.")
            tell(f"waits: {limited}")
            await self._team.changes.next(min(free_at - time.time(), _LOOK_S))

    def _free_at(self, account: str) -> float:
        """Seconds since the epoch; 0 when no limit of this account is known."""
        worked_at = self._worked_at.get(account, 0.0)
        limits = self._limited.get(account, {}).values()
        return max((limit.resets_at for limit in limits if limit.at > worked_at), default=0.0)


def _id_of(instance_id: str, limit: RateLimit) -> str:
    """The same for each report of one failed turn."""
    return f"msg_{hashlib.sha256(f'{instance_id} {limit.at!r}'.encode()).hexdigest()[:12]}"


def _is_of_ours(message: Message) -> bool:
    return (message.sender, message.text) == (SENDER, GO_ON)
