"""Looks at the team now and then, as long as somebody listens, and tells what it sees as events.

A ``health-check`` tells how the team is; a ``performance-alert`` tells of trouble once, when it begins or gets worse.
Nobody listens: nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from supervisor.api.results import TeamEvent
from supervisor.performance import views
from supervisor.performance.events import Events
from supervisor.performance.facts import Facts
from supervisor.performance.findings import Finding
from supervisor.performance.monitor import Monitor
from supervisor.performance.rules import judge
from supervisor.team.views import iso

logger = logging.getLogger(__name__)

EVERY_S = 30.0
WINDOW_S = 300.0
_GRAVITY = {"info": 0, "warning": 1, "error": 2}


class Watch:
    """All in the supervisor's event loop."""

    def __init__(self, monitor: Monitor, events: Events, every_s: float = EVERY_S) -> None:
        self._monitor = monitor
        self._events = events
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, int] = {}

    def begin(self) -> None:
        """Somebody listens. No-op when it runs already; otherwise trouble that is there already is told, too."""
        if self._task is None or self._task.done():
            self._told = {}
            self._task = asyncio.create_task(self._run(), name="watch the team")

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._events.heard:
            try:
                await self.look()
            except Exception:
                logger.exception("the team could not be looked at")
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """One look, and what is to tell of it."""
        facts = await self._monitor.facts(WINDOW_S)
        findings = judge(facts)
        at = iso(self._monitor.now)
        for finding in new_alerts(findings, self._told):
            self._events.publish(TeamEvent(kind="performance-alert", at=at, alert=views.alert(finding)))
        self._told = {finding.code: _GRAVITY[finding.severity] for finding in findings}
        self._events.publish(self._health(facts, findings, at))

    def _health(self, facts: Facts, findings: Sequence[Finding], at: str) -> TeamEvent:
        return TeamEvent(kind="health-check", at=at, health=views.health(facts, findings))


def new_alerts(findings: Sequence[Finding], told: Mapping[str, int]) -> list[Finding]:
    """Those that were not told at the last look, or were less grave then. ``told``: gravity by code."""
    return [
        finding
        for finding in findings
        if finding.severity != "info" and _GRAVITY[finding.severity] > told.get(finding.code, 0)
    ]
