"""The verb ``events``: who hears what, and when the team is judged for a listener."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from actors.errors import InvalidRequestError, UnknownInstanceError
from supervisor.api import requests, results
from supervisor.api.requests import EventKind, Role
from supervisor.api.results import TeamEvent, iso
from supervisor.api.verbs import Caller
from supervisor.events.detector import EventDetector
from supervisor.events.service import EventService
from supervisor.metrics.service import AlertLoop
from supervisor.team.access import Access
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore
from tests.fakes.team import record

EXECUTIVE, MANAGER, PEER, SPECIALIST, STRANGER = "exec_1", "mgr_1_2", "mgr_1_3", "spec_1_2_4", "spec_0_0_5"


class Alerts:
    def __init__(self) -> None:
        self.listened = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.listened += 1
        yield

    async def end(self) -> None:
        """Nothing runs."""


class Scene:
    def __init__(self) -> None:
        store = MemoryStore()
        self.team = Team(store)
        self.alerts = Alerts()
        self._add(1, EXECUTIVE, Role.EXECUTIVE, None)
        self._add(2, MANAGER, Role.MANAGER, EXECUTIVE)
        self._add(3, PEER, Role.MANAGER, EXECUTIVE)
        self._add(4, SPECIALIST, Role.SPECIALIST, MANAGER)
        self._add(5, STRANGER, Role.SPECIALIST, None)
        self.service = EventService(
            self.team.events,
            self.team.registry,
            Access(self.team.registry, siblings_may_send=False),
            EventDetector(self.team, store, self.team.unreadable),
            cast("AlertLoop", self.alerts),
        )

    def _add(self, number: int, instance_id: str, role: Role, parent: str | None) -> None:
        self.team.registry.restore(record(number, instance_id=instance_id, role=role, parent_id=parent), now=1.0)

    def publish(self, instance_id: str | None, kind: EventKind = "became_idle") -> None:
        self.team.events.publish_soon(TeamEvent(kind=kind, at=iso(time.time()), instance_id=instance_id))

    async def hears(self, caller: str = "", **asked: object) -> results.EventsResult:
        request = requests.EventsRequest.model_validate({"cursor": "0", "timeoutSeconds": 0.01, **asked})
        return await self.service.events(request, Caller(sender="x", instance_id=caller))


@pytest.fixture
async def scene() -> Scene:
    made = Scene()
    for instance_id in (EXECUTIVE, MANAGER, PEER, SPECIALIST, STRANGER, None):
        made.publish(instance_id, "became_idle" if instance_id else "alert")
    return made


@pytest.mark.parametrize(
    ("caller", "heard"),
    [
        ("", [EXECUTIVE, MANAGER, PEER, SPECIALIST, STRANGER, None]),
        (EXECUTIVE, [EXECUTIVE, MANAGER, PEER, SPECIALIST]),
        (MANAGER, [EXECUTIVE, MANAGER, PEER, SPECIALIST]),
        (SPECIALIST, [MANAGER, SPECIALIST]),
        (STRANGER, [STRANGER]),
    ],
)
async def test_the_user_hears_everything_and_an_instance_of_those_it_may_list(
    scene: Scene, caller: str, heard: list[str | None]
) -> None:
    answer = await scene.hears(caller)
    assert ([event.instance_id for event in answer.events], answer.cursor) == (heard, "6")


async def test_only_events_of_the_named_instances_are_told(scene: Scene) -> None:
    answer = await scene.hears(instanceIds=[SPECIALIST, STRANGER])
    assert [event.instance_id for event in answer.events] == [SPECIALIST, STRANGER]


async def test_naming_an_instance_shows_nothing_that_the_caller_may_not_see(scene: Scene) -> None:
    assert (await scene.hears(SPECIALIST, instanceIds=[STRANGER])).events == []


async def test_only_events_of_the_named_kinds_are_told(scene: Scene) -> None:
    assert [event.number for event in (await scene.hears(kinds=["alert"])).events] == [6]


async def test_an_unknown_instance_and_an_unknown_kind_are_refused(scene: Scene) -> None:
    with pytest.raises(UnknownInstanceError):
        await scene.hears(instanceIds=["spec_9_9_9"])
    with pytest.raises(ValueError, match="kinds"):
        await scene.hears(kinds=["performance-alert"])


async def test_a_cursor_of_another_team_is_refused(scene: Scene) -> None:
    with pytest.raises(InvalidRequestError, match="last event of this team is 6"):
        await scene.hears(cursor="7")


async def test_the_team_is_judged_only_for_who_listens_for_that(scene: Scene) -> None:
    await scene.hears(kinds=["became_idle"])
    await scene.hears(instanceIds=[SPECIALIST])
    assert scene.alerts.listened == 0
    await scene.hears()
    assert scene.alerts.listened == 1


async def test_a_health_check_is_heard_only_by_who_asks_for_it(scene: Scene) -> None:
    start = await scene.hears(kinds=["health-check"])
    scene.team.events.tell(TeamEvent(kind="health-check", at="now"))
    heard = await scene.hears(cursor=start.cursor, kinds=["health-check"])
    assert [event.kind for event in heard.events] == ["health-check"]
    assert (await scene.hears(cursor="6")).events == []
