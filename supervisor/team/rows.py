"""The verb ``changes``: the team as rows that a view holds, and then only the rows that changed.

A view asks without a cursor and gets every row; from then on each answer has the rows that changed after its cursor,
whole and each once, however often they changed, and the ids that are no longer shown. A cursor of another supervisor,
or one so old that ids which have gone since are forgotten, gets every row again. Who applies the answers holds what
``list`` says of the instances that are not terminated.

The registry notes whose row may have changed (``Registry.touch``), so a change costs the same in a team of any size,
and nothing is done while nothing happens or nobody asks. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.team.queries import Queries
from supervisor.team.registry import Member
from supervisor.team.team import Team

GATHER_S = 0.05
"""What changes so soon after the first change goes with it."""
GONE_KEPT = 1000
"""Ids that are no longer shown; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    """Of the instance, by which ``list`` orders."""
    revision: int
    info: results.InstanceInfo


class TeamRows:
    """Numbers the changes of rows. ``revision`` is the number of the last one."""

    def __init__(self, team: Team, queries: Queries) -> None:
        self._team = team
        self._queries = queries
        self._epoch = secrets.token_hex(4)
        self._rows: dict[str, _Row] = {}
        """The last changed last."""
        self._gone: dict[str, int] = {}
        """By id the revision, the last one last."""
        self._needing: dict[str, int] = {}
        """By id the number of each that needs somebody."""
        self._oldest = 0
        """The first revision after which nothing is forgotten."""
        self.revision = 0

    @property
    def cursor(self) -> str:
        return f"{self._epoch}.{self.revision}"

    def refresh(self) -> None:
        """Takes in what has changed of the team."""
        touched = self._team.registry.touched
        while touched:
            self._look(touched.pop())

    def _look(self, instance_id: str) -> None:
        member = self._team.registry.find(instance_id)
        if member is None or member.terminated or member.record.is_spare:
            self._forget(instance_id)
            return
        self._note_need(member)
        info, earlier = self._queries.info(member), self._rows.get(instance_id)
        if earlier is not None and (earlier.info is info or earlier.info == info):
            return
        self.revision += 1
        self._gone.pop(instance_id, None)
        self._rows.pop(instance_id, None)
        self._rows[instance_id] = _Row(member.record.number, self.revision, info)

    def _note_need(self, member: Member) -> None:
        instance_id, needs = member.record.instance_id, self._team.needs_attention(member)
        if needs == (instance_id in self._needing):
            return
        if needs:
            self._needing[instance_id] = member.record.number
        else:
            del self._needing[instance_id]
        self.revision += 1

    def _forget(self, instance_id: str) -> None:
        self._needing.pop(instance_id, None)
        if self._rows.pop(instance_id, None) is None:
            return
        self.revision += 1
        self._gone[instance_id] = self.revision
        if len(self._gone) > GONE_KEPT:
            oldest = next(iter(self._gone))
            self._oldest = self._gone.pop(oldest)

    def position(self, cursor: str | None) -> int | None:
        """The revision of a cursor; None when everything must be told anew."""
        epoch, _, revision = (cursor or "").partition(".")
        if epoch != self._epoch or not revision.isdecimal():
            return None
        return int(revision) if self._oldest <= int(revision) <= self.revision else None

    def after(self, since: int | None) -> results.ChangesResult:
        """What changed after this revision, oldest instance first; None: everything."""
        changed = list(takewhile(lambda row: since is None or row.revision > since, reversed(self._rows.values())))
        gone = takewhile(lambda item: since is not None and item[1] > since, reversed(self._gone.items()))
        return results.ChangesResult(
            cursor=self.cursor,
            complete=since is None,
            instances=[row.info for row in sorted(changed, key=lambda row: row.number)],
            gone=[instance_id for instance_id, _ in gone],
            needs_attention=sorted(self._needing, key=self._needing.__getitem__),
            warnings=self._team.warnings,
        )


class RowService:
    """Answers ``changes``. Its own warnings wake nobody: they come with the next answer."""

    def __init__(self, team: Team, queries: Queries) -> None:
        self._registry = team.registry
        self._rows = TeamRows(team, queries)

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"changes": self.changes}

    async def begin(self) -> None:
        """Nothing goes on while nobody asks."""

    async def end(self) -> None:
        """Nothing of its own goes on."""

    async def changes(self, request: requests.ChangesRequest, caller: Caller) -> results.ChangesResult:
        rows, clock = self._rows, asyncio.get_running_loop().time
        rows.refresh()
        since = rows.position(request.cursor)
        deadline = clock() + request.timeout_seconds

        def has_news() -> bool:
            # Another call may have taken in already what was touched.
            return bool(self._registry.touched) or rows.revision != since

        while since == rows.revision and (left_s := deadline - clock()) > 0:
            if await self._registry.touches.until(has_news, left_s):
                await asyncio.sleep(min(GATHER_S, max(deadline - clock(), 0.0)))
            rows.refresh()
        return rows.after(since)
