from __future__ import annotations

import asyncio
from typing import Any

from supervisor.api.results import TeamEvent
from supervisor.metrics.service import EVERY_S, LISTENER_S, AlertLoop, EventFeed
from supervisor.metrics.snapshot import TeamSnapshot
from tests.fakes.metrics import snapshot

ALL = ("performance-alert", "health-check")


class Monitor:
    now = 1000.0

    def __init__(self) -> None:
        self.looks = 0
        self.facts_now = snapshot()
        self.broken = False

    async def snapshot(self, window_s: float) -> TeamSnapshot:
        self.looks += 1
        if self.broken:
            raise RuntimeError("a fault")
        return self.facts_now


class Scene:
    def __init__(self) -> None:
        self.monitor = Monitor()
        self.events = EventFeed()
        self.watch = AlertLoop(self.monitor, self.events)  # type: ignore[arg-type]
        self.cursor: str | None = None

    async def hears(self, timeout_s: float = 60.0) -> list[TeamEvent]:
        self.watch.begin()
        heard = await self.events.after(self.cursor, ALL, timeout_s)
        self.cursor = heard.cursor
        return list(heard.events)


async def test_the_team_is_looked_at_while_somebody_listens_and_no_longer() -> None:
    one = Scene()
    for _ in range(4):
        assert [event.kind for event in await one.hears()] == ["health-check"]
    assert one.monitor.looks == 4
    await asyncio.sleep(100 * EVERY_S)
    assert one.monitor.looks <= 4 + LISTENER_S / EVERY_S
    one.cursor, before = None, one.monitor.looks
    await one.hears()
    assert one.monitor.looks == before + 1
    await one.watch.end()


async def test_trouble_is_told_when_it_comes_and_again_to_who_listens_anew_later() -> None:
    one = Scene()
    await one.hears()
    one.monitor.facts_now = snapshot(statuses={"failed": 1})
    kinds: list[Any] = [[event.kind for event in await one.hears()] for _ in range(3)]
    assert kinds[0][0] == "performance-alert"
    assert "performance-alert" not in kinds[1] + kinds[2]
    await asyncio.sleep(100 * EVERY_S)
    one.cursor = None
    assert (await one.hears())[0].kind == "performance-alert"
    await one.watch.end()


async def test_a_look_that_fails_ends_nothing() -> None:
    one = Scene()
    one.monitor.broken = True
    assert await one.hears(5) == []
    one.monitor.broken = False
    assert [event.kind for event in await one.hears()] == ["health-check"]
    await one.watch.end()
