"""The verbs ``get_performance`` and ``metrics``, the history behind the first, and the alerts.

The supervisor begins and ends ``MetricsService`` with its other services. The service keeps the history in the store
(``HistoryStore``). ``AlertLoop`` looks at the team while somebody listens (``events.service``) and publishes what it
finds in the team's stream of events. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from actors.errors import FencedError, StoreError
from supervisor.api import requests, results
from supervisor.api.results import TeamEvent, iso
from supervisor.api.verbs import Caller, Handler
from supervisor.events.stream import EventStream
from supervisor.metrics import views
from supervisor.metrics.autotune import CapStep, CapTuningLoop
from supervisor.metrics.exposition import CONTENT_TYPE, SupervisorInfo, exposition
from supervisor.metrics.health import HealthFinding, judge
from supervisor.metrics.metrics import COARSE_S, FINE_S, KEPT_S, MetricsRecorder
from supervisor.metrics.monitor import Monitor
from supervisor.records import Unreadable, decode_bucket, encode_bucket
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.versions import VERSION

logger = logging.getLogger(__name__)

LISTENER_S = 90.0
"""A client that has asked so lately counts as a listener between two asks."""
TOLD_AGAIN_S = 3600.0
"""Trouble that lasts is told again to who listens after nobody has for so long."""

EVERY_S = 30.0
WINDOW_S = 300.0
_GRAVITY = {"info": 0, "warning": 1, "error": 2}

SAVE_AFTER_S = 30.0

_MOST_POINTS = 30


class MetricsService:
    """Answers ``get_performance`` and ``metrics``. All in the supervisor's event loop."""

    def __init__(
        self,
        monitor: Monitor,
        recorder: MetricsRecorder,
        history: HistoryStore,
        cap_tuning: CapTuningLoop,
    ) -> None:
        """The service begins and ends ``history``."""
        self._monitor = monitor
        self._recorder = recorder
        self._history = history
        self._cap_tuning = cap_tuning
        self._about = SupervisorInfo(version=VERSION, started_at=recorder.clock())

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"get_performance": self.get_performance, "metrics": self.metrics}

    async def begin(self) -> None:
        await self._history.begin()

    async def end(self) -> None:
        await self._history.end()

    async def get_performance(
        self, request: requests.GetPerformanceRequest, caller: Caller
    ) -> results.GetPerformanceResult:
        snapshot = await self._monitor.snapshot(request.window_seconds)
        findings = judge(snapshot)
        metrics = views.metrics(snapshot)
        return results.GetPerformanceResult(
            metrics=metrics,
            performance=views.performance(findings),
            recommendations=views.recommendations(findings),
            queues=metrics.queues,
            messages=metrics.messages,
            settings=views.tuned(snapshot.tuning),
            auto=[_step(step) for step in self._cap_tuning.steps],
            history=self._points(request.window_seconds),
        )

    async def metrics(self, request: requests.MetricsRequest, caller: Caller) -> results.MetricsResult:
        """Costs nothing before the first call: what is summed up for it is summed up beside the history."""
        snapshot = await self._monitor.snapshot(WINDOW_S)
        text = exposition(self._about, self._recorder.totals, snapshot, judge(snapshot))
        return results.MetricsResult(text=text, content_type=CONTENT_TYPE)

    def _points(self, window_s: float) -> list[results.HistoryPoint]:
        recorder, seconds = self._recorder, max(FINE_S, window_s / _MOST_POINTS)
        points = recorder.history.points(recorder.clock(), window_s, _MOST_POINTS)
        return [views.history_point(point, seconds) for point in points]


def _step(step: CapStep) -> results.AutoStep:
    return results.AutoStep(at=iso(step.at), before=step.before, after=step.after, reason=step.reason)


class AlertLoop:
    """Judges the team at intervals, as long as somebody listens, and publishes events.

    A ``health-check`` tells how the team is; an ``alert`` tells of trouble once, when it begins or gets worse.
    """

    def __init__(self, monitor: Monitor, stream: EventStream) -> None:
        self._monitor = monitor
        self._stream = stream
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, int] = {}
        self._listening = 0
        self._listened_at = float("-inf")

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Around a client's ask."""
        if self._task is None or self._task.done():
            if time.monotonic() - self._listened_at > TOLD_AGAIN_S:
                self._told = {}
            self._task = asyncio.create_task(self._run(), name="watch the team")
        self._listening += 1
        try:
            yield
        finally:
            self._listening -= 1
            self._listened_at = time.monotonic()

    @property
    def _heard(self) -> bool:
        return self._listening > 0 or time.monotonic() - self._listened_at < LISTENER_S

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._heard:
            try:
                await self._look()
            except Exception:
                logger.exception("the team could not be looked at")
            await asyncio.sleep(EVERY_S)

    async def _look(self) -> None:
        snapshot = await self._monitor.snapshot(WINDOW_S)
        findings = judge(snapshot)
        at = iso(self._monitor.now)
        for finding in new_alerts(findings, self._told):
            alert = views.alert(finding)
            self._stream.publish_soon(TeamEvent(kind="alert", at=at, text=alert.message, alert=alert))
        self._told = {finding.code: _GRAVITY[finding.severity] for finding in findings}
        self._stream.tell(TeamEvent(kind="health-check", at=at, health=views.health(snapshot, findings)))


def new_alerts(findings: Sequence[HealthFinding], told: Mapping[str, int]) -> list[HealthFinding]:
    """Findings that were not told at the last look, or were less grave then. ``told``: gravity by code."""
    return [
        finding
        for finding in findings
        if finding.severity != "info" and _GRAVITY[finding.severity] > told.get(finding.code, 0)
    ]


class HistoryStore:
    """Keeps the history in the store: one small record for five minutes, written half a minute after a change.

    A team that rests writes nothing; one that is killed loses at most half a minute of its figures.
    """

    def __init__(self, recorder: MetricsRecorder, store: StateStore, unreadable: Unreadable) -> None:
        self._recorder = recorder
        self._store = store
        self._unreadable = unreadable
        self._keeping = False
        recorder.subscribe(self._changed)
        self._stored: set[float] = set()
        self._since: float | None = None
        """When the first thing happened that is not stored yet; None while all is."""
        self._timer: asyncio.TimerHandle | None = None
        self._saving: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def begin(self) -> None:
        """Takes in what earlier supervisors have stored. Raises ``StoreError``."""
        stored = await self._store.load(keys.PERFORMANCE_PREFIX)
        for _, record in self._unreadable.readable(stored, decode_bucket):
            self._recorder.history.restore(record, self._recorder.clock())
            self._stored.add(record.start)
        self._recorder.settle()
        self._keeping = True

    async def end(self) -> None:
        """Saves, and does so by itself no more."""
        if self._saving is not None:
            await self._saving
        self._keeping = False
        if self._timer is not None:
            self._timer.cancel()
        await self.save()

    def _changed(self, at: float) -> None:
        if not self._keeping:
            return
        if self._since is None and not self._writing.locked():
            self._save_later()
        self._since = at if self._since is None else min(self._since, at)

    def _save_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SAVE_AFTER_S, self._begin_saving)

    def _begin_saving(self) -> None:
        self._saving = asyncio.create_task(self._save_or_try_again(), name="save the history")

    async def _save_or_try_again(self) -> None:
        await self.save()
        if self._since is not None:
            self._save_later()

    async def save(self) -> None:
        """Stores what has not been stored yet; a store in trouble leaves it for the next time."""
        async with self._writing:
            if self._since is not None:
                await self._write(self._since)

    async def _write(self, since: float) -> None:
        now = self._recorder.clock()
        records = [self._recorder.history.record(start) for start in _starts(since, now)]
        records = [record for record in records if record.counts or record.timings]
        forgotten = {start for start in self._stored if start < now - KEPT_S}
        # Before the write, so that what happens meanwhile is noted anew.
        changes, self._since = self._recorder.changes, None
        self._recorder.settle()
        try:
            await self._store.save(
                {keys.performance(record.start): encode_bucket(record) for record in records},
                delete=[keys.performance(start) for start in forgotten],
            )
        except FencedError:
            self._keeping, self._since = False, None  # it is another supervisor's now
            return
        except StoreError as error:
            logger.warning("the history is stored later: %s", error)
            self._since = since if self._since is None else min(self._since, since)
            return
        self._stored = (self._stored - forgotten) | {record.start for record in records}
        if self._recorder.changes == changes:  # the write itself is observed, and writing would go on for ever
            self._since = None
            self._recorder.settle()


def _starts(since: float, now: float) -> list[int]:
    """Of the records between; they are many only when the store has been in trouble for long."""
    first, last = (int(at // COARSE_S) for at in (since, now))
    oldest = int((now - KEPT_S) // COARSE_S)
    return [number * COARSE_S for number in sorted({first, last, *range(max(first, oldest), last)})]
