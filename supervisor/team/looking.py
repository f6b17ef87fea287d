"""The verbs that only look: who is in the team, what an instance said, and waiting until something is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from actors.errors import InvalidRequestError
from actors.instance.transcript import Page, PageQuery
from supervisor.api import requests, results
from supervisor.api.verbs import Caller
from supervisor.ports import HostPort
from supervisor.team import views
from supervisor.team.registry import Member
from supervisor.team.roll import Roll
from supervisor.team.waiting import is_done, is_settled, still_there, wait_for, why_held


class Looking:
    """All in the supervisor's event loop."""

    def __init__(self, roll: Roll, host: HostPort) -> None:
        self._roll = roll
        self._host = host

    async def read(self, request: requests.ReadRequest) -> results.ReadResult:
        """Raises ``UnavailableError`` for the screen of an instance that has no actor; what was said can be read."""
        member = self._roll.registry.get(request.instance_id)
        if request.source == "screen":
            screen = await self._roll.members.port(request.instance_id).screen(request.lines)
            return results.ReadResult(instance_id=request.instance_id, source="screen", screen=screen)
        page = await self._page(member, PageQuery(cursor=request.cursor, limit=request.lines, whole=request.full or ""))
        return views.read_result(request.instance_id, page)

    async def _page(self, member: Member, query: PageQuery) -> Page:
        record = member.record
        if self._roll.members.has(record.instance_id):
            return await self._roll.members.port(record.instance_id).page(query)
        if not record.transcript_path:
            return Page(entries=(), cursor="", more=False)
        return await self._host.page(record.agent, record.transcript_path, query)

    def list(self, request: requests.ListRequest) -> results.ListResult:
        """Raises ``UnknownInstanceError`` for an id that nobody has."""
        named = request.instance_ids is not None
        asked_for = [member for member in self._named(request.instance_ids) if _matches(member, request)]
        members = [member for member in asked_for if named or request.include_stopped or not member.terminated]
        needing = [member for member in members if self._roll.needs_attention(member)]
        ids = {member.record.instance_id for member in needing}
        others = [] if request.needs_attention else [one for one in members if one.record.instance_id not in ids]
        return results.ListResult(
            needs_attention=[member.record.instance_id for member in needing],
            counts=views.counts(members),
            instances=[self._info(member) for member in (*needing, *others)],
            not_shown=len(asked_for) - len(members),
            warnings=self._roll.warnings,
        )

    async def wait(self, request: requests.WaitRequest, caller: Caller) -> results.WaitResult:
        """Raises ``InvalidRequestError`` when nobody is named and nobody is there."""
        members = self._waited_for(request)

        def progress() -> None:
            settled = sum(is_settled(self._roll, member) for member in members)
            caller.progress(settled, len(members), "instances settled")

        waited = await wait_for(self._roll, members, request.until, request.timeout_seconds, progress)
        members = still_there(self._roll, members)
        needing, others = _parted(members, self._needs_somebody)
        done, rest = _parted(others, lambda member: is_done(self._roll, member))
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
            return tuple(self._roll.registry)
        return [self._roll.registry.get(instance_id) for instance_id in dict.fromkeys(instance_ids)]

    def _needs_somebody(self, member: Member) -> bool:
        return self._roll.needs_attention(member) or bool(why_held(self._roll, member))

    def _info(self, member: Member) -> results.InstanceInfo:
        """Made anew only when something that it is made of has changed: most of a large team rests."""
        instance_id = member.record.instance_id
        followed = self._roll.members.has(instance_id)
        pending = self._roll.mail.pending(instance_id)
        held = self._roll.mail.held(instance_id) if pending else 0
        blocked_reason = self._roll.mail.blocked_reason(instance_id) if held else ""
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
            post = views.Post(pending=pending, held=held, why_held=blocked_reason)
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
