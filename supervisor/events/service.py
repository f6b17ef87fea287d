"""The verb ``events``: who may hear what. The supervisor begins and ends ``EventService`` with its other services."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

from supervisor.api import requests, results
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent
from supervisor.api.verbs import Caller, Handler
from supervisor.events.detector import EventDetector
from supervisor.events.stream import EventStream
from supervisor.metrics.service import AlertLoop
from supervisor.team.access import Access
from supervisor.team.registry import Registry

_JUDGED: frozenset[EventKind] = frozenset({"alert", "health-check"})


class EventService:
    """Answers ``events``. All in the supervisor's event loop."""

    def __init__(
        self, stream: EventStream, registry: Registry, access: Access, detector: EventDetector, alerts: AlertLoop
    ) -> None:
        """The service begins and ends ``detector`` and ``alerts``, which publish in ``stream``. ``alerts`` judges the
        team while somebody listens for what it finds."""
        self._stream = stream
        self._detector = detector
        self._registry = registry
        self._access = access
        self._alerts = alerts

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"events": self.events}

    async def begin(self) -> None:
        await self._detector.begin()

    async def end(self) -> None:
        self._detector.end()
        await self._alerts.end()

    async def events(self, request: requests.EventsRequest, caller: Caller) -> results.EventsResult:
        """Raises ``UnknownInstanceError`` for an unknown id, ``InvalidRequestError`` for an unknown cursor."""
        kinds = frozenset(request.kinds)
        asked_for = None
        if request.instance_ids is not None:
            asked_for = {self._registry.get(instance_id).record.instance_id for instance_id in request.instance_ids}

        def is_wanted(event: TeamEvent) -> bool:
            if event.kind not in kinds or (asked_for is not None and event.instance_id not in asked_for):
                return False
            return not caller.instance_id or self._may_see(caller.instance_id, event)

        listens_for_alerts = bool(kinds & _JUDGED) and asked_for is None
        with self._alerts.listening() if listens_for_alerts else nullcontext():
            return await self._stream.after(
                request.cursor, is_wanted, request.timeout_seconds, with_passing="health-check" in kinds
            )

    def _may_see(self, caller: str, event: TeamEvent) -> bool:
        """An instance hears of those that it may list, and of nothing that is about the team as a whole."""
        about = self._registry.find(event.instance_id) if event.instance_id else None
        return about is not None and self._access.may_see(self._registry.get(caller).record, about.record)
