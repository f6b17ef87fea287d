"""The verbs that change nothing: ``list``, ``read``, and ``wait``.

An instance is *done* when no turn is under way and no message is on its way to it. It is *held* when it is not done and
cannot go on before somebody decides, answers or restarts something. Otherwise it works. A wait wakes with each change
of the team, and every few seconds to see what has lasted. For a wait, a lead that is just about to be told something is
not done either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence, Set

from actors.errors import InvalidRequestError
from actors.host.host import Host
from actors.instance.transcript import PageQuery, TranscriptPage
from actors.status import IDLE, Status
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.team import views
from supervisor.team.registry import Member, unknown_instance
from supervisor.team.team import Team

LASTS_S = 3.0
"""What has held an instance for so long will not be over by itself in a moment."""
_MOST_NAMED = 5
_LONGEST_WHY = 200


class Queries:
    def __init__(self, team: Team, host: Host, to_be_told: Callable[[], Set[str]]) -> None:
        """``to_be_told``: ids of those for whom a message of the team is about to be made; see ``events.telling``."""
        self._team = team
        self._host = host
        self._to_be_told = to_be_told

    async def read(self, request: requests.ReadRequest) -> results.ReadResult:
        """Raises ``UnavailableError`` for the screen of an instance that has no actor; what was said can be read."""
        instance_id = request.instance_id
        member = self._team.registry.get(instance_id)
        record = member.record
        if request.source == "screen":
            screen = await self._team.links.port(instance_id).screen(request.lines)
            return results.ReadResult(instance_id=instance_id, source="screen", screen=screen)
        query = PageQuery(
            cursor=request.cursor, limit=request.lines, whole=request.full or "", leaves_unread=request.leaves_unread
        )
        if self._team.links.has(instance_id):
            page = await self._team.links.port(instance_id).page(query)
        elif record.transcript_path:
            page = await self._host.page(record.agent, record.transcript_path, query)
            if not page.more and not query.whole and not query.leaves_unread:
                await self._team.mark_read(member)
        else:
            page = TranscriptPage(entries=(), cursor="", more=False)
        return views.read_result(instance_id, page, self._team.outbox.receipt)

    def list(self, request: requests.ListRequest, seen: Iterable[Member]) -> results.ListResult:
        """``seen``: whom the caller sees. Raises ``UnknownInstanceError`` for an unknown id."""
        seen = tuple(seen)
        if request.parent_id is not None and all(member.record.instance_id != request.parent_id for member in seen):
            raise unknown_instance(request.parent_id, seen)
        asked_for = [
            member
            for member in (seen if request.instance_ids is None else self._named(request.instance_ids))
            if (request.role is None or member.record.role is request.role)
            and (request.parent_id is None or member.record.parent_id == request.parent_id)
        ]
        with_terminated = request.instance_ids is not None or request.include_stopped
        members = [member for member in asked_for if with_terminated or not member.terminated]
        needing, others = _parted(members, self._team.needs_attention)
        return results.ListResult(
            needs_attention=[member.record.instance_id for member in needing],
            counts=views.counts(members),
            instances=[self.info(member) for member in (*needing, *(() if request.needs_attention else others))],
            not_shown=len(asked_for) - len(members),
            spares=len(self._team.registry.ready_spares()),
            warnings=self._team.warnings,
        )

    async def wait(self, request: requests.WaitRequest, caller: Caller) -> results.WaitResult:
        """Raises ``InvalidRequestError`` when no instance is named and none is there."""
        named = request.instance_ids is not None
        members = [member for member in self._named(request.instance_ids) if named or not member.terminated]
        if not members:
            raise InvalidRequestError("There is no instance to wait for.")
        wait = _Wait(self._team, members, request.until, self._to_be_told)

        def is_over() -> bool:
            over = wait.is_over()
            settled = sum(wait.is_settled(member) for member in members)
            caller.progress(settled, len(members), "instances done or held")
            return over

        clock = asyncio.get_running_loop().time
        deadline = clock() + request.timeout_seconds
        while (left_s := deadline - clock()) > 0:
            # What is held for a moment only becomes certain by time, of which there is no news.
            if await self._team.changes.until(is_over, min(left_s, LASTS_S)):
                break
        wait.look()
        reached = wait.is_reached()
        needing, others = _parted(wait.members, self._needs_somebody)
        done, rest = _parted(others, wait.is_done)
        shown, rest = (needing, others) if request.until == "needs_attention" else ([*needing, *done], rest)
        return results.WaitResult(
            reached=reached,
            reason=None if reached else wait.why_not(),
            instances=[self.info(member) for member in shown],
            others=views.counts(rest),
        )

    def _named(self, instance_ids: Iterable[str] | None) -> Sequence[Member]:
        """Each once; everybody when none is given."""
        if instance_ids is None:
            return tuple(self._team.registry)
        return [self._team.registry.get(instance_id) for instance_id in dict.fromkeys(instance_ids)]

    def _needs_somebody(self, member: Member) -> bool:
        return self._team.needs_attention(member) or bool(why_held(self._team, member))

    def info(self, member: Member) -> results.InstanceInfo:
        """The row of this member, made anew only when something that it is made of has changed: most of a large team
        rests."""
        instance_id = member.record.instance_id
        followed = self._team.links.has(instance_id)
        pending = self._team.outbox.pending(instance_id)
        held = self._team.outbox.held(instance_id) if pending else 0
        why = self._team.outbox.blocked_reason(instance_id) if held else ""
        needs = self._team.needs_attention(member)
        total = member.total if member.record.limits.tokens else 0  # nobody else is shown it
        of_member = (member.record, member.snapshot, member.status, member.silence, member.hold, total)
        made_of = (*of_member, followed, needs, pending, held, why)
        if member.shown is None or member.shown[0] != made_of:
            info = views.instance_info(
                member, followed=followed, needs_attention=needs, pending=pending, held=held, why_held=why
            )
            member.shown = (made_of, info)
        return member.shown[1]


def _parted(members: Sequence[Member], belongs: Callable[[Member], bool]) -> tuple[Sequence[Member], Sequence[Member]]:
    """Those that belong, and the others, both in order."""
    found: tuple[list[Member], list[Member]] = ([], [])
    for member in members:
        found[not belongs(member)].append(member)
    return found


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
        return f"has {views.messages_in_words(team.outbox.held(instance_id))} held back: {blocked}"
    if not member.alive:
        return f"is {snapshot.status}, with {views.undelivered(team.outbox.pending(instance_id))}"
    return snapshot.reason if member.status not in IDLE and not member.coming_back else ""


def is_settled(team: Team, member: Member) -> bool:
    """Done, or held."""
    return is_done(team, member) or bool(why_held(team, member))


class _Wait:
    """What one call waits for, and whether that is reached or cannot be before somebody acts."""

    def __init__(
        self,
        team: Team,
        members: Sequence[Member],
        until: requests.Until,
        to_be_told: Callable[[], Set[str]],
    ) -> None:
        self.members = members
        """Without those that have left the team meanwhile, as after a spawn that failed."""
        self._team = team
        self._until = until
        self._ask_to_be_told = to_be_told
        self._to_be_told: Set[str] = frozenset()
        self._held_since: dict[str, float] = {}

    def look(self) -> None:
        """Takes in what is true now of all of them together, for the methods below."""
        self._to_be_told = self._ask_to_be_told()
        self.members = [member for member in self.members if member.record.instance_id in self._team.registry]

    def is_over(self) -> bool:
        self.look()
        return not self.members or self.is_reached() or self._is_stuck()

    def is_reached(self) -> bool:
        if self._until == "needs_attention":
            return any(map(self._team.needs_attention, self.members))
        done = map(self.is_done, self.members)
        return all(done) if self._until == "idle" else any(done)

    def is_done(self, member: Member) -> bool:
        return is_done(self._team, member) and member.record.instance_id not in self._to_be_told

    def is_settled(self, member: Member) -> bool:
        return is_settled(self._team, member) and member.record.instance_id not in self._to_be_told

    def _is_stuck(self) -> bool:
        """``idle``: no instance works any more. ``any_idle``: one is held, and the caller may act while others work."""
        if self._until == "needs_attention":
            return False
        # Each is looked at, also where one decides: from now on its time counts.
        stuck = [self._is_certainly_held(member) for member in self.members]
        if self._until == "any_idle":
            return any(stuck)
        return all(held or self.is_done(member) for held, member in zip(stuck, self.members, strict=True))

    def _is_certainly_held(self, member: Member) -> bool:
        """A request waits until it is answered, but a dialog is still drawn a moment after its answer, and a message is
        let go a moment later."""
        instance_id = member.record.instance_id
        if not why_held(self._team, member):
            self._held_since.pop(instance_id, None)
            return False
        now = asyncio.get_running_loop().time()
        since = self._held_since.setdefault(instance_id, now)
        return member.snapshot.status is Status.WAITING_PERMISSION or not member.alive or now - since >= LASTS_S

    def why_not(self) -> str:
        """Why it was not reached, in words."""
        if not self.members:
            return "None of them is in the team any more."
        if self._until == "needs_attention":
            return "The time ran out: nobody needs attention."
        held = [(member.record.instance_id, why) for member in self.members if (why := why_held(self._team, member))]
        work = sum(not self.is_settled(member) for member in self.members)
        told = [f"{instance_id} {' '.join(why.split())[:_LONGEST_WHY]}" for instance_id, why in held[:_MOST_NAMED]]
        if len(held) > _MOST_NAMED:
            told.append(f"{len(held) - _MOST_NAMED} more are held")
        if work:
            told.append(f"{work} {'is' if work == 1 else 'are'} still at work")
        ran_out = "" if self._is_stuck() else "The time ran out: "
        return f"{ran_out}{'; '.join(told)}."
