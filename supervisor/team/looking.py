"""The verbs that only look: who is in the team, what an instance said, and waiting until something is to be done."""

from __future__ import annotations

from actors.following.pages import Page, PageQuery
from supervisor import requests, results
from supervisor.ports import HostPort
from supervisor.team import views
from supervisor.team.registry import Member
from supervisor.team.roll import Roll
from supervisor.team.waiting import is_settled, wait_for
from supervisor.verbs import Caller


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
        asked_for = [member for member in self._roll.registry if _matches(member, request)]
        members = [member for member in asked_for if request.include_stopped or not member.terminated]
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
        members = [self._roll.registry.get(instance_id) for instance_id in request.instance_ids]

        def progress() -> None:
            settled = sum(is_settled(self._roll, member) for member in members)
            caller.progress(settled, len(members), "instances settled")

        reached = await wait_for(self._roll, members, request.until, request.timeout_seconds, progress)
        return results.WaitResult(reached=reached, instances=[self._info(member) for member in members])

    def _info(self, member: Member) -> results.InstanceInfo:
        """Made anew only when something that it is made of has changed: most of a large team rests."""
        instance_id = member.record.instance_id
        followed = self._roll.members.has(instance_id)
        pending = self._roll.mail.pending(instance_id)
        blocked_reason = self._roll.mail.blocked_reason(instance_id)
        made_of = (member.record, member.snapshot, member.status, member.silence, followed, pending, blocked_reason)
        if member.shown is None or member.shown[0] != made_of:
            info = views.instance_info(member, followed=followed, pending=pending, blocked_reason=blocked_reason)
            member.shown = (made_of, info)
        return member.shown[1]


def _matches(member: Member, request: requests.ListRequest) -> bool:
    record = member.record
    return (request.role is None or record.role is request.role) and (
        request.parent_id is None or record.parent_id == request.parent_id
    )
