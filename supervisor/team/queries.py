"""The verbs that change nothing: ``list``, ``read``, and ``wait``.

An instance is *done* when no turn is under way and no message is on its way to it. It is *held* when it is not done and
cannot go on before somebody decides, answers or restarts something. Otherwise it works. A wait wakes with each change
of the team, and every few seconds to see what has lasted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from actors.errors import InvalidRequestError
from actors.host.host import Host
from actors.instance.transcript import PageQuery, TranscriptPage
from actors.status import IDLE, Status
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.team import views
from supervisor.team.registry import Member
from supervisor.team.team import Team

Until = Literal["idle", "any_idle", "needs_attention"]
LASTS_S = 3.0
"""What has held an instance for so long will not be over by itself in a moment."""
_MOST_NAMED = 5
_LONGEST_WHY = 200


class Queries:
    """All in the supervisor's event loop."""

    def __init__(self, team: Team, host: Host) -> None:
        self._team = team
        self._host = host

    async def read(self, request: requests.ReadRequest) -> results.ReadResult:
        """Raises ``UnavailableError`` for the screen of an instance that has no actor; what was said can be read."""
        member = self._team.registry.get(request.instance_id)
        if request.source == "screen":
            screen = await self._team.members.port(request.instance_id).screen(request.lines)
            return results.ReadResult(instance_id=request.instance_id, source="screen", screen=screen)
        page = await self._page(member, PageQuery(cursor=request.cursor, limit=request.lines, whole=request.full or ""))
        return views.read_result(request.instance_id, page)

    async def _page(self, member: Member, query: PageQuery) -> TranscriptPage:
        record = member.record
        if self._team.members.has(record.instance_id):
            return await self._team.members.port(record.instance_id).page(query)
        if not record.transcript_path:
            return TranscriptPage(entries=(), cursor="", more=False)
        return await self._host.page(record.agent, record.transcript_path, query)

    def list(self, request: requests.ListRequest) -> results.ListResult:
        """Raises ``UnknownInstanceError`` for an unknown id."""
        named = request.instance_ids is not None
        asked_for = [member for member in self._named(request.instance_ids) if _matches(member, request)]
        members = [member for member in asked_for if named or request.include_stopped or not member.terminated]
        needing = [member for member in members if self._team.needs_attention(member)]
        ids = {member.record.instance_id for member in needing}
        others = [] if request.needs_attention else [one for one in members if one.record.instance_id not in ids]
        return results.ListResult(
            needs_attention=[member.record.instance_id for member in needing],
            counts=views.counts(members),
            instances=[self._info(member) for member in (*needing, *others)],
            not_shown=len(asked_for) - len(members),
            warnings=self._team.warnings,
        )

    async def wait(self, request: requests.WaitRequest, caller: Caller) -> results.WaitResult:
        """Raises ``InvalidRequestError`` when no instance is named and none is there."""
        members = self._waited_for(request)

        def progress() -> None:
            settled = sum(is_settled(self._team, member) for member in members)
            caller.progress(settled, len(members), "instances settled")

        waited = await wait_for(self._team, members, request.until, request.timeout_seconds, progress)
        members = still_there(self._team, members)
        needing, others = _parted(members, self._needs_somebody)
        done, rest = _parted(others, lambda member: is_done(self._team, member))
        shown, rest = (needing, others) if request.until == "needs_attention" else ([*needing, *done], rest)
        return results.WaitResult(
            reached=waited.reached,
            reason=waited.reason or None,
            instances=[self._info(member) for member in shown],
            others=views.counts(rest),
        )

    def _waited_for(self, request: requests.WaitRequest) -> Sequence[Member]:
        named = request.instance_ids is not None
        members = [member for member in self._named(request.instance_ids) if named or not member.terminated]
        if not members:
            raise InvalidRequestError("There is no instance to wait for.")
        return members

    def _named(self, instance_ids: Iterable[str] | None) -> Sequence[Member]:
        """Each once; everybody when none is given."""
        if instance_ids is None:
            return tuple(self._team.registry)
        return [self._team.registry.get(instance_id) for instance_id in dict.fromkeys(instance_ids)]

    def _needs_somebody(self, member: Member) -> bool:
        return self._team.needs_attention(member) or bool(why_held(self._team, member))

    def _info(self, member: Member) -> results.InstanceInfo:
        """Made anew only when something that it is made of has changed: most of a large team rests."""
        instance_id = member.record.instance_id
        followed = self._team.members.has(instance_id)
        pending = self._team.outbox.pending(instance_id)
        held = self._team.outbox.held(instance_id) if pending else 0
        blocked_reason = self._team.outbox.blocked_reason(instance_id) if held else ""
        made_of = (
            member.record,
            member.snapshot,
            member.status,
            member.silence,
            followed,
            pending,
            held,
            blocked_reason,
        )
        if member.shown is None or member.shown[0] != made_of:
            post = views.PendingMessages(pending=pending, held=held, why_held=blocked_reason)
            info = views.instance_info(member, post, followed=followed)
            member.shown = (made_of, info)
        return member.shown[1]


def _parted(members: Sequence[Member], belongs: Callable[[Member], bool]) -> tuple[Sequence[Member], Sequence[Member]]:
    """Those that belong, and the others, both in order."""
    found: tuple[list[Member], list[Member]] = ([], [])
    for member in members:
        found[not belongs(member)].append(member)
    return found


def _matches(member: Member, request: requests.ListRequest) -> bool:
    record = member.record
    return (request.role is None or record.role is request.role) and (
        request.parent_id is None or record.parent_id == request.parent_id
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitOutcome:
    reached: bool
    reason: str = ""
    """Why not, in words."""


def is_done(team: Team, member: Member) -> bool:
    return member.status in IDLE and team.outbox.pending(member.record.instance_id) == 0


def why_held(team: Team, member: Member) -> str:
    """What is in the way of one that is not done, in words; empty while it is done, or works."""
    if is_done(team, member):
        return ""
    snapshot, instance_id = member.snapshot, member.record.instance_id
    if snapshot.status is Status.WAITING_PERMISSION:
        asked = f" on {snapshot.permission.tool}" if snapshot.permission else ""
        return f"waits for a decision{asked}"
    blocked = team.outbox.blocked_reason(instance_id)
    if blocked:
        return f"has {_messages(team.outbox.held(instance_id))} held back: {blocked}"
    if not member.alive:
        return f"is {snapshot.status}, with {_messages(team.outbox.pending(instance_id))} not delivered: restart it"
    return snapshot.reason if member.status not in IDLE and not member.coming_back else ""


def is_settled(team: Team, member: Member) -> bool:
    """Done, or held."""
    return is_done(team, member) or bool(why_held(team, member))


async def wait_for(
    team: Team, members: Sequence[Member], until: Until, timeout_s: float, on_news: Callable[[], None]
) -> WaitOutcome:
    """Until the condition holds, or cannot hold before somebody acts, or for ``timeout_s`` seconds.

    An instance that has left the team, as after a spawn that failed, is not waited for.
    """
    held = _Held(team)

    def is_over() -> bool:
        nonlocal members
        members = still_there(team, members)
        on_news()
        return not members or _is_reached(team, members, until) or _is_stuck(held, members, until)

    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    while (left_s := deadline - clock()) > 0:
        # What is held for a moment only becomes certain by time, of which there is no news.
        if await team.changes.until(is_over, min(left_s, LASTS_S)):
            break
    if _is_reached(team, members, until):
        return WaitOutcome(reached=True)
    return WaitOutcome(reached=False, reason=_why_not(held, members, until))


def still_there(team: Team, members: Sequence[Member]) -> Sequence[Member]:
    """Those of them that are in the team now."""
    return [member for member in members if member.record.instance_id in team.registry]


class _Held:
    """Says which instances are held for certain: a request waits until it is answered, but a dialog is still drawn a
    moment after its answer, and a message is let go a moment later."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self._since: dict[str, float] = {}

    def why(self, member: Member) -> str:
        """As ``why_held``; empty as long as it may be over in a moment."""
        why, instance_id = why_held(self.team, member), member.record.instance_id
        if not why:
            self._since.pop(instance_id, None)
            return ""
        now = asyncio.get_running_loop().time()
        since = self._since.setdefault(instance_id, now)
        certain = member.snapshot.status is Status.WAITING_PERMISSION or not member.alive
        return why if certain or now - since >= LASTS_S else ""


def _is_reached(team: Team, members: Sequence[Member], until: Until) -> bool:
    if until == "needs_attention":
        return any(team.needs_attention(member) for member in members)
    done = (is_done(team, member) for member in members)
    return all(done) if until == "idle" else any(done)


def _is_stuck(held: _Held, members: Sequence[Member], until: Until) -> bool:
    """``idle``: no instance works any more. ``any_idle``: one is held, and the caller may act while others work."""
    if until == "needs_attention":
        return False
    # Each is looked at, also where one decides: from now on its time counts.
    stuck = [bool(held.why(member)) for member in members]
    if until == "any_idle":
        return any(stuck)
    return all(is_stuck or is_done(held.team, member) for is_stuck, member in zip(stuck, members, strict=True))


def _why_not(held: _Held, members: Sequence[Member], until: Until) -> str:
    if not members:
        return "None of them is in the team any more."
    if until == "needs_attention":
        return "The time ran out: nobody needs attention."
    stuck = [(member.record.instance_id, why) for member in members if (why := why_held(held.team, member))]
    work = sum(not is_settled(held.team, member) for member in members)
    told = [f"{instance_id} {' '.join(why.split())[:_LONGEST_WHY]}" for instance_id, why in stuck[:_MOST_NAMED]]
    more = [f"{len(stuck) - _MOST_NAMED} more are held"] if len(stuck) > _MOST_NAMED else []
    at_work = [f"{work} {'is' if work == 1 else 'are'} still at work"] if work else []
    ran_out = "" if _is_stuck(held, members, until) else "The time ran out: "
    return f"{ran_out}{'; '.join([*told, *more, *at_work])}."


def _messages(number: int) -> str:
    return "a message" if number == 1 else f"{number} messages"
