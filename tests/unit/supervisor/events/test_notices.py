"""Who is told of what, when, and never twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from actors.errors import UnavailableError
from actors.host.host import Host
from supervisor.api.requests import EventKind
from supervisor.api.results import Alert, TeamEvent, iso
from supervisor.events.notices import GATHER_S, MOST_AT_ONCE, OLD_S, PeopleNotifier
from supervisor.events.stream import EventStream
from supervisor.metrics.service import AlertLoop
from supervisor.records import Unreadable
from tests.fakes.store import MemoryStore
from tests.unit.supervisor.events.test_service import Alerts

ENOUGH_S = 20 * GATHER_S


class FakeHost:
    """Runs commands for ``takes_s`` and notes what they were given."""

    def __init__(self) -> None:
        self.ran: list[list[dict[str, Any]]] = []
        self.shown: list[tuple[str, str]] = []
        self.running = self.most = 0
        self.takes_s = 0.0
        self.fault: str | Exception = ""

    async def notify(self, command: Sequence[str], text: str) -> str:
        assert command == ("tell", "me")
        self.ran.append([json.loads(line) for line in text.splitlines()])
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.takes_s)
        self.running -= 1
        if isinstance(self.fault, Exception):
            raise self.fault
        return self.fault

    async def show_on_desktop(self, summary: str, body: str) -> str:
        self.shown.append((summary, body))
        return ""

    @property
    def told(self) -> list[str]:
        return [event["text"] for run in self.ran for event in run]


class Scene:
    """A team that may get one supervisor after another over the same store."""

    def __init__(self) -> None:
        self.store, self.host, self.alerts = MemoryStore(), FakeHost(), Alerts()

    async def supervisor(
        self,
        *kinds: EventKind,
        command: Sequence[str] = ("tell", "me"),
        desktop: bool = False,
    ) -> None:
        unreadable = Unreadable()
        self.stream = EventStream(self.store, unreadable)
        await self.stream.load()
        self.notifier = PeopleNotifier(
            self.stream,
            self.store,
            unreadable,
            cast("Host", self.host),
            cast("AlertLoop", self.alerts),
            command,
            frozenset(kinds or ("needs_attention", "failed")),
            desktop=desktop,
        )
        await self.notifier.begin()

    async def is_killed(self) -> None:
        await self.notifier.end()
        await self.stream.stop()

    async def happens(self, *texts: str, kind: EventKind = "needs_attention", **more: Any) -> None:
        at = more.pop("at", iso(time.time()))
        more.setdefault("instance_id", "spec_0_0_1")
        await self.stream.publish(*(TeamEvent(kind=kind, at=at, text=text, **more) for text in texts))


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    yield made
    await made.is_killed()


async def test_what_happens_is_told_with_who_it_is_and_what_it_asks(scene: Scene) -> None:
    await scene.supervisor()
    await scene.happens("asks to use Bash", name="parser", permission_id="p")
    await asyncio.sleep(ENOUGH_S)
    ((event,),) = scene.host.ran
    assert event | {"at": ""} == {
        "kind": "needs_attention",
        "at": "",
        "number": 1,
        "instanceId": "spec_0_0_1",
        "name": "parser",
        "text": "asks to use Bash",
        "permissionId": "p",
    }


async def test_a_burst_is_one_run_of_the_command(scene: Scene) -> None:
    await scene.supervisor()
    for number in range(10):
        await scene.happens(str(number))
        await asyncio.sleep(GATHER_S / 20)
    await asyncio.sleep(ENOUGH_S)
    assert len(scene.host.ran) == 1
    assert scene.host.told == [str(number) for number in range(10)]


async def test_commands_that_hang_hold_back_no_event_for_longer_than_they_may_and_do_not_pile_up(scene: Scene) -> None:
    scene.host.takes_s = 30.0
    await scene.supervisor()
    for number in range(20):
        await scene.happens(str(number))
        await asyncio.sleep(3 * GATHER_S)
    await asyncio.sleep(100)
    assert scene.host.most == MOST_AT_ONCE
    assert scene.host.told == [str(number) for number in range(20)]
    assert len(scene.host.ran) < 20


async def test_only_kinds_that_are_asked_for_are_told_and_of_alerts_only_errors(scene: Scene) -> None:
    await scene.supervisor("became_idle", "alert")
    await scene.happens("a question")
    await scene.happens("done", kind="became_idle")
    for severity in ("warning", "error"):
        alert = Alert(severity=severity, code="memory", category="machine", message="full")
        await scene.happens(severity, kind="alert", instance_id=None, alert=alert)
    await asyncio.sleep(ENOUGH_S)
    assert scene.host.told == ["done", "error"]
    assert scene.alerts.listened == 1


async def test_nobody_looks_at_the_team_for_alerts_that_are_not_asked_for(scene: Scene) -> None:
    await scene.supervisor("failed")
    await asyncio.sleep(ENOUGH_S)
    assert scene.alerts.listened == 0


async def test_the_next_supervisor_tells_what_the_one_before_did_not_and_nothing_twice(scene: Scene) -> None:
    await scene.supervisor()
    await scene.happens("first")
    await asyncio.sleep(ENOUGH_S)
    await scene.happens("second")
    await scene.is_killed()
    await scene.supervisor()
    await asyncio.sleep(ENOUGH_S)
    assert scene.host.told == ["first", "second"]


async def test_a_supervisor_that_dies_while_the_command_runs_does_not_tell_it_again(scene: Scene) -> None:
    scene.host.takes_s = 30.0
    await scene.supervisor()
    await scene.happens("first")
    await asyncio.sleep(5)
    await scene.is_killed()
    await scene.supervisor()
    await asyncio.sleep(100)
    assert scene.host.told == ["first"]


async def test_what_happened_before_anybody_was_to_be_told_and_what_is_old_is_not_told(scene: Scene) -> None:
    await scene.supervisor(command=())
    await scene.happens("before")
    await scene.is_killed()
    await scene.supervisor()
    await scene.happens("long ago", at=iso(time.time() - OLD_S - 1))
    await scene.happens("now")
    await asyncio.sleep(ENOUGH_S)
    assert scene.host.told == ["now"]


async def test_without_a_command_and_a_desktop_nothing_is_stored(scene: Scene) -> None:
    await scene.supervisor(command=())
    await asyncio.sleep(ENOUGH_S)
    assert await scene.store.load("team/") == {}


async def test_nobody_is_told_before_the_store_knows_it(scene: Scene) -> None:
    await scene.supervisor()
    await scene.happens("first")
    scene.store.fails()
    await asyncio.sleep(ENOUGH_S)
    assert scene.host.told == []
    scene.store.error = None
    await asyncio.sleep(100)
    assert scene.host.told == ["first"]


@pytest.mark.parametrize("fault", ["tell ended with exit status 3.", UnavailableError("The host is away.")])
async def test_a_command_that_fails_is_a_warning_until_one_succeeds_and_is_not_run_again(
    scene: Scene, fault: str | Exception
) -> None:
    scene.host.fault = fault
    await scene.supervisor()
    assert scene.notifier.warning == ""
    await scene.happens("first")
    await asyncio.sleep(ENOUGH_S)
    assert scene.notifier.warning == f"notify_command does not work, so it tells nobody: {fault}"
    scene.host.fault = ""
    await scene.happens("second")
    await asyncio.sleep(ENOUGH_S)
    assert scene.notifier.warning == ""
    assert scene.host.told == ["first", "second"]


async def test_the_desktop_shows_one_event_in_whole_and_many_by_their_heads(scene: Scene) -> None:
    await scene.supervisor(command=(), desktop=True)
    await scene.happens("asks\nto use Bash", name="parser")
    await asyncio.sleep(ENOUGH_S)
    await scene.happens(*"abcdef", kind="failed")
    await asyncio.sleep(ENOUGH_S)
    one, many = scene.host.shown
    assert one == ("Phalanx: parser needs you", "asks to use Bash")
    assert many[0] == "Phalanx: 6 things happened"
    assert many[1].splitlines() == [*(f"spec_0_0_1 has failed: {text}" for text in "abcd"), "and 2 more"]
    assert scene.host.ran == []
