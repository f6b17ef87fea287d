"""Counts the tokens of all instances together, from what they report, for the totals that Prometheus scrapes.

``build_supervisor`` makes it, and nobody calls it: it subscribes to the team.

An instance reports all that it has used so far. What is more than it reported before is new, of each kind for itself:
an actor that was killed counts anew and may report less for a moment. The first report of an instance that is older
than this supervisor is where its counting begins.
"""

from __future__ import annotations

import time

from actors.agents.base import TokenUse
from actors.instance.reports import Report
from supervisor.team.registry import Member
from supervisor.team.team import Team


class TokenMeter:
    """All in the supervisor's event loop."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._counted: dict[str, TokenUse] = {}
        self._began_at = time.time()
        team.subscribe_reports(self._reported)
        team.subscribe_changes(self._changed)

    def _reported(self, member: Member, _report: Report) -> None:
        used = member.tokens
        is_new = member.record.created_at >= self._began_at
        before = self._counted.get(member.record.instance_id, TokenUse() if is_new else used)
        now = used.at_least(before)
        self._counted[member.record.instance_id] = now
        if now != before:
            self._team.recorder.tokens_used(now.minus(before))

    def _changed(self, member: Member) -> None:
        if member.record.instance_id not in self._team.registry:
            self._counted.pop(member.record.instance_id, None)
