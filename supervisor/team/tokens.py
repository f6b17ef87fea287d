"""Limits of tokens: what each instance and all below it have used, and who is held because of it.

A limit counts what the instance and all below it have used together, also those that have ended. At 80 % it is told, at
100 % the instance and all below it are held: a turn that has begun goes on, then no message is typed until the limit is
raised. Nobody is ended, and a person at the terminal types as ever. A start below it is refused, whoever asks.

Actors count (``actors.instance.tokens``), and count anew from the transcripts when they were killed. Records keep the
sums of those that have ended and, where a limit holds, of each turn that has ended. So totals and holds are there again
before the first message after a crash. Adding up costs as much as there are levels, whatever the size of the team.

What was told of a limit is stored in the transaction of the event that tells it (``Told``): each step of each limit is
told once, whatever dies, and later when the disk is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from actors.errors import RefusedError, UnknownInstanceError
from actors.instance.reports import Report
from supervisor.api import requests, results
from supervisor.api.results import TeamEvent
from supervisor.api.verbs import Caller, Handler
from supervisor.records import decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team import views
from supervisor.team.adoption import Batching
from supervisor.team.registry import Member
from supervisor.team.team import Team

TOLD_PERCENT = 80
_UsedUp = tuple[str, int]
"""Whose limit is used up, and how much that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told last of an instance's token limit."""

    limit: int = 0
    """Which one that was: of another one nothing was told so far."""
    percent: int = 0


_NOTHING = Told()


class TokenLimits:
    """Subscribes to the team's reports; the ``VerbService`` of ``limit``."""

    def __init__(self, team: Team, batching: Batching, store: StateStore) -> None:
        """``store``: from which it begins; what it tells is stored by the team's events."""
        self._team = team
        self._batching = batching
        self._store = store
        self._told: dict[str, Told] = {}
        """By instance."""
        self._held_by: dict[str, _UsedUp] = {}
        """By instance."""
        self._changing = asyncio.Lock()
        team.subscribe_reports(self.reported)
        team.subscribe_changes(self._changed)

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"limit": self.limit}

    async def begin(self) -> None:
        """Raises ``StoreError``."""
        await self._load_told()
        members = tuple(self._team.registry)
        for member in members:
            for each in self._with_leads(member):
                each.total += member.record.tokens_of_removed
            self._add(member)
        for member in members:
            self._hold(member)
            self._judge(member)

    async def end(self) -> None:
        """Nothing of its own goes on."""

    async def _load_told(self) -> None:
        stored = await self._store.load(keys.LIMIT_TOLD_PREFIX)
        for key, told in self._team.unreadable.readable(stored, lambda data: Told(**decode_plain(data))):
            instance_id = key.removeprefix(keys.LIMIT_TOLD_PREFIX)
            if instance_id in self._team.registry:
                self._told[instance_id] = told
            elif instance_id not in self._team.unreadable.instance_ids:
                self._team.events.publish_soon(delete=[key])

    def _changed(self, member: Member) -> None:
        instance_id = member.record.instance_id
        if self._team.registry.find(instance_id) is not member:
            self._held_by.pop(instance_id, None)
            if self._told.pop(instance_id, None) is not None:
                self._team.events.publish_soon(delete=[keys.limit_told(instance_id)])

    def reported(self, member: Member, report: Report) -> None:
        if self._add(member):
            for each in self._with_leads(member):
                self._judge(each)

    def check_start(self, parent_id: str | None) -> None:
        """Raises ``RefusedError`` where a new instance under this one would be held from the first message on."""
        for lead in self._team.registry.line(parent_id):
            if self._percent(lead) >= 100:
                raise RefusedError(f"Nothing is started below {lead.record.instance_id}. {self._used_up(lead)}")

    async def limit(self, request: requests.LimitRequest, caller: Caller) -> results.LimitResult:
        """Where nothing is given it only tells. Raises ``StoreError``; then the limits are as they were."""
        member = self._team.registry.get(request.instance_id)
        if request.limits.given or request.lifted:
            await self._change(member, request, caller)
        return results.LimitResult(
            instance_id=request.instance_id,
            limits=views.limits_info(member.record.limits),
            tokens=views.tokens(member),
            reason=member.hold or None,
        )

    async def _change(self, member: Member, request: requests.LimitRequest, caller: Caller) -> None:
        async with self._changing:  # two calls may each change a part
            limits = member.record.limits.changed(request.limits, request.lifted)
            if limits.tokens is not None:
                await self._store_use(member)
            setters = dict.fromkeys([*request.limits.given, *request.lifted], caller.instance_id)
            await self._team.save(
                request.instance_id, limits=limits, limits_set_by={**member.record.limits_set_by, **setters}
            )
        self._keep_told(member)
        self._judge(member)

    async def _store_use(self, member: Member) -> None:
        """It counts from now on: the next supervisor must know it before any actor reports. Raises ``StoreError``."""
        for each in (member, *self._team.registry.below(member.record.instance_id)):
            if each.tokens_of_conversation != each.record.tokens:
                with suppress(UnknownInstanceError):  # removed meanwhile
                    await self._team.save(each.record.instance_id, tokens=each.tokens_of_conversation)

    def _with_leads(self, member: Member) -> Sequence[Member]:
        return (member, *self._team.registry.line(member.record.parent_id))

    def _add(self, member: Member) -> bool:
        """Whether it has used more than is in the totals."""
        grown = member.tokens.counted - member.counted
        if grown <= 0:  # an actor that was made anew may not have read all yet
            return False
        member.counted += grown
        for each in self._with_leads(member):
            each.total += grown
        return True

    def _judge(self, member: Member) -> None:
        """Holds or frees it with all below it, and tells what has to be told."""
        if self._used_up_for(member) != self._held_by.get(member.record.instance_id):
            for each in chain((member,), self._team.registry.below(member.record.instance_id)):
                self._hold(each)
        limit, percent = member.record.limits.tokens, _told_at(self._percent(member))
        told = self._told.get(member.record.instance_id, _NOTHING)
        if limit is not None and percent > (told.percent if told.limit == limit else 0):
            words = self._used_up(member) if percent >= 100 else self._near(member)
            event = self._team.event("limit_reached", member.record.instance_id, words)
            self._note(member, Told(limit=limit, percent=percent), event)

    def _keep_told(self, member: Member) -> None:
        """Who changes a limit sees in the answer how much of the new one is used: what was told stays told."""
        limit, told = member.record.limits.tokens, self._told.get(member.record.instance_id, _NOTHING)
        if limit is not None and told.limit not in (0, limit):
            self._note(member, Told(limit=limit, percent=min(told.percent, _told_at(self._percent(member)))))

    def _note(self, member: Member, told: Told, *events: TeamEvent) -> None:
        """Nobody else writes this record, and what is published is stored in order: so none is stored over a newer."""
        instance_id = member.record.instance_id
        self._told[instance_id] = told
        self._team.events.publish_soon(*events, records={keys.limit_told(instance_id): _encode(told)})

    def _hold(self, member: Member) -> None:
        """The figures are those of the moment when it began: its actor is told once."""
        used_up, instance_id = self._used_up_for(member), member.record.instance_id
        if used_up == self._held_by.get(instance_id):
            return
        if used_up is None:
            del self._held_by[instance_id]
            member.hold = ""
        else:
            self._held_by[instance_id] = used_up
            lead = self._team.registry.get(used_up[0])
            whose = "its token limit" if lead is member else f"the token limit of {used_up[0]}, above it,"
            member.hold = f"{whose} of {used_up[1]} is used up ({_used(lead)}): {_raise(lead)}"
        self._batching.changed(instance_id)
        self._team.changes.announce()

    def _used_up_for(self, member: Member) -> _UsedUp | None:
        """What holds it: of the limits on its line that are used up the nearest."""
        for each in self._with_leads(member):
            if (limit := each.record.limits.tokens) is not None and each.total >= limit:
                return each.record.instance_id, limit
        return None

    def _used_up(self, member: Member) -> str:
        who, limit = member.record.instance_id, member.record.limits.tokens
        return (
            f"The token limit of {limit} of {who} is used up ({_used(member)}): {who} and those below it are held "
            f"after their turns. To let them go on, {_raise(member)}."
        )

    def _near(self, member: Member) -> str:
        who, limit = member.record.instance_id, member.record.limits.tokens
        return (
            f"{self._percent(member)} % of the token limit of {limit} of {who} are used ({_used(member)}). At the "
            f"limit {who} and those below it are held; before that, {_raise(member)}."
        )

    @staticmethod
    def _percent(member: Member) -> int:
        limit = member.record.limits.tokens
        return 0 if limit is None else member.total * 100 // limit


def _encode(told: Told) -> bytes:
    return encode_plain({"limit": told.limit, "percent": told.percent})


def _told_at(percent: int) -> int:
    """The highest of the steps that are told which was reached."""
    return 100 if percent >= 100 else TOLD_PERCENT if percent >= TOLD_PERCENT else 0


def _raise(member: Member) -> str:
    """What who leads it does, or a person."""
    return f"raise it with limit (`phalanx limit {member.record.instance_id} --tokens NUMBER`)"


def _used(member: Member) -> str:
    return f"own {member.counted}, with all below {member.total}"
