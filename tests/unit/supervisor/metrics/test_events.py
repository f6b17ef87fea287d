from __future__ import annotations

import asyncio

from supervisor.api.results import Alert, TeamEvent
from supervisor.metrics.health import HealthFinding, Severity
from supervisor.metrics.service import KEPT, EventFeed, new_alerts

ALL = ("performance-alert", "health-check")


def event(number: int = 0) -> TeamEvent:
    return TeamEvent(
        kind="performance-alert",
        at="now",
        alert=Alert(severity="warning", code="memory", category="machine", message=str(number)),
    )


def check() -> TeamEvent:
    return TeamEvent(kind="health-check", at="now")


async def test_a_listener_hears_what_happens_after_it_began_and_each_event_once() -> None:
    events = EventFeed()
    events.publish(event(0))
    waiting = asyncio.create_task(events.after(None, ALL, 10))
    await asyncio.sleep(0)
    events.publish(event(1))
    first = await waiting
    events.publish(event(2))
    second = await events.after(first.cursor, ALL, 10)
    assert first.events == (event(1),)
    assert second.events == (event(2),)
    assert (await events.after(second.cursor, ALL, 0.001)).events == ()


async def test_only_the_kinds_that_were_asked_for_are_told() -> None:
    events = EventFeed()
    start = (await events.after(None, ALL, 0.001)).cursor
    events.publish(check())
    events.publish(event(1))
    assert (await events.after(start, ["performance-alert"], 10)).events == (event(1),)
    assert (await events.after(start, ["health-check"], 10)).events == (check(),)


async def test_a_slow_listener_misses_the_oldest_and_learns_how_many() -> None:
    events = EventFeed()
    start = (await events.after(None, ALL, 0.001)).cursor
    for number in range(KEPT + 10):
        events.publish(event(number))
    heard = await events.after(start, ALL, 10)
    assert (len(heard.events), heard.missed) == (KEPT, 10)
    assert heard.events[0] == event(10)


async def test_a_cursor_of_an_earlier_supervisor_or_of_nobody_begins_with_what_this_one_knows() -> None:
    earlier = (await EventFeed().after(None, ALL, 0.001)).cursor
    events = EventFeed()
    events.publish(event(1))
    assert (await events.after(earlier, ALL, 10)).events == (event(1),)
    assert (await events.after("nonsense", ALL, 10)).events == (event(1),)


async def test_somebody_listens_while_an_ask_waits_and_for_a_while_after_it() -> None:
    events = EventFeed()
    assert not events.heard
    await events.after(None, ALL, 0.001)
    assert events.heard


def finding(code: str, severity: Severity) -> HealthFinding:
    return HealthFinding(code=code, category="machine", severity=severity, points=1, message=code)


def test_trouble_is_an_alert_when_it_begins_or_gets_worse_and_not_while_it_lasts() -> None:
    begins = new_alerts([finding("memory", "warning"), finding("no-spares", "info")], {})
    assert [one.code for one in begins] == ["memory"]
    assert new_alerts([finding("memory", "warning")], {"memory": 1}) == []
    assert new_alerts([finding("memory", "error")], {"memory": 1}) == [finding("memory", "error")]
    assert new_alerts([finding("memory", "warning")], {"memory": 2}) == []
