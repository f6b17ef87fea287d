"""The desk of ``get_performance`` and ``events``; it also keeps the history while the team runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.performance import views
from supervisor.performance.events import Events
from supervisor.performance.history import FINE_S
from supervisor.performance.keeper import HistoryKeeper
from supervisor.performance.meters import Meters
from supervisor.performance.monitor import Monitor
from supervisor.performance.rules import judge
from supervisor.performance.watch import Watch
from supervisor.records import Unreadable
from supervisor.team.views import iso
from supervisor.tuning.autopilot import Step

_MOST_POINTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceParts:
    monitor: Monitor
    meters: Meters
    keeper: HistoryKeeper
    unreadable: Unreadable
    events: Events
    watch: Watch
    auto_steps: Callable[[], Sequence[Step]]


class PerformanceDesk:
    """All in the supervisor's event loop."""

    def __init__(self, parts: PerformanceParts) -> None:
        self._parts = parts

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"get_performance": self.get_performance, "events": self.events}

    async def begin(self) -> None:
        await self._parts.keeper.begin(self._parts.unreadable)

    async def end(self) -> None:
        await self._parts.watch.end()
        await self._parts.keeper.end()

    async def get_performance(
        self, request: requests.GetPerformanceRequest, caller: Caller
    ) -> results.GetPerformanceResult:
        facts = await self._parts.monitor.facts(request.window_seconds)
        findings = judge(facts)
        metrics = views.metrics(facts)
        return results.GetPerformanceResult(
            metrics=metrics,
            performance=views.performance(findings),
            recommendations=views.recommendations(findings),
            queues=metrics.queues,
            messages=metrics.messages,
            settings=views.tuned(facts.tuning),
            auto=[_step(step) for step in self._parts.auto_steps()],
            history=self._history(request.window_seconds),
        )

    def _history(self, window_s: float) -> list[results.HistoryPoint]:
        meters, seconds = self._parts.meters, max(FINE_S, window_s / _MOST_POINTS)
        points = meters.history.points(meters.clock(), window_s, _MOST_POINTS)
        return [views.history_point(point, seconds) for point in points]

    async def events(self, request: requests.EventsRequest, caller: Caller) -> results.EventsResult:
        self._parts.watch.begin()
        heard = await self._parts.events.after(request.cursor, request.kinds, request.timeout_seconds)
        return results.EventsResult(events=list(heard.events), cursor=heard.cursor, missed=heard.missed)


def _step(step: Step) -> results.AutoStep:
    return results.AutoStep(at=iso(step.at), before=step.before, after=step.after, reason=step.reason)
