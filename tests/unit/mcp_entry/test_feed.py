"""The stream of the team for browsers, over a supervisor that is a fake: what each is sent, and how little is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, UnavailableError
from mcp_entry.web.feed import BEAT, MOST_CAUGHT_UP, MOST_WAITING_BYTES, TeamFeed
from supervisor.api import results
from supervisor.api.requests import ChangesRequest, EventsRequest
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import FakeClient, info


class Team:
    """Rows and events that a test changes, and the client over which the feed asks for them."""

    def __init__(self) -> None:
        self.client = FakeClient(changes=self._changes, events=self._events)
        self._answers: asyncio.Queue[results.ChangesResult] = asyncio.Queue()
        self._happened: list[results.TeamEvent] = []
        self._forgotten = 0
        self._news = ChangeNotifier()
        self.cursors: list[str | None] = []
        self.hangs = False

    def change(self, *rows: results.InstanceInfo, complete: bool = False, **fields: Any) -> None:
        self._answers.put_nowait(
            results.ChangesResult(
                cursor=str(len(self.cursors)), complete=complete, instances=list(rows), needs_attention=[], **fields
            )
        )

    def happen(self, *texts: str) -> None:
        for text in texts:
            number = len(self._happened) + 1
            event = results.TeamEvent(kind="became_idle", at="2026-11-01T10:00:01.000Z", text=text, number=number)
            self._happened.append(event)
        self._news.announce()

    def forget(self) -> None:
        """As a supervisor does with old events."""
        self._forgotten = len(self._happened)

    def restore(self) -> None:
        """An earlier state of the team, whose events have lower numbers."""
        self._happened.clear()
        self._news.announce()

    async def _changes(self, request: ChangesRequest, _progress: ProgressCallback) -> results.ChangesResult:
        self.cursors.append(request.cursor)
        if self.hangs:
            await asyncio.Event().wait()
        return await self._answers.get()

    async def _events(self, request: EventsRequest, _progress: ProgressCallback) -> results.EventsResult:
        since = len(self._happened) if request.cursor is None else int(request.cursor)
        await self._news.until(lambda: len(self._happened) != since, request.timeout_seconds)
        if since > len(self._happened):
            raise InvalidRequestError("The cursor is of another team.")
        missed = max(self._forgotten - since, 0)
        found = self._happened[since + missed :][:500]
        return results.EventsResult(events=found, cursor=str(since + missed + len(found)), missed=missed)


@asynccontextmanager
async def _browser(feed: TeamFeed, after: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
    async with aclosing(feed.frames(after)) as frames:
        yield frames


async def _next(frames: AsyncIterator[bytes]) -> list[tuple[str, Any]]:
    """The events of the next part that is no beat."""
    while not (found := await _next_or_beat(frames)):
        pass
    return found


async def _next_or_beat(frames: AsyncIterator[bytes]) -> list[tuple[str, Any]]:
    """Empty for a beat. What tells only the number of the last event is left out."""
    found: list[tuple[str, Any]] = []
    while not found and (part := await anext(frames)) != BEAT:
        for event in part.decode().strip().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.splitlines())
            data = json.loads(fields["data"])
            if fields["event"] != "happened" or data["events"] or data["missed"]:
                found.append((fields["event"], data))
    return found


async def _opening(frames: AsyncIterator[bytes]) -> Any:
    """The first that is told of events."""
    while b"event: happened\n" not in (part := await anext(frames)):
        pass
    return json.loads(part.partition(b"event: happened\ndata: ")[2].partition(b"\n")[0])


def _ids(data: Any) -> list[str]:
    return [row["instanceId"] for row in data["instances"]]


async def test_a_second_browser_gets_all_rows_at_once_without_a_call() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    async with _browser(feed) as first:
        team.change(info("a"), info("b"), complete=True)
        assert _ids((await _next(first))[0][1]) == ["a", "b"]
        team.change(info("c"), gone=["a"])
        await _next(first)
        async with _browser(feed) as second:
            ((name, rows),) = await _next(second)
            asked = len(team.cursors)
    assert name == "changes"
    assert rows["complete"]
    assert _ids(rows) == ["b", "c"]
    assert asked <= 3  # two answers, and the one that waits


async def test_answers_with_nothing_new_are_not_passed_on_and_a_beat_is() -> None:
    team = Team()
    async with _browser(TeamFeed(team.client)) as browser:
        team.change(info("a"), complete=True)
        await _next(browser)
        team.change()
        assert await _next_or_beat(browser) == []
        team.change(warnings=["Redis is away."])
        ((_, told),) = await _next(browser)
    assert told["warnings"] == ["Redis is away."]


async def test_a_browser_that_is_slow_gets_the_whole_state_and_hears_how_many_events_it_missed() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    async with _browser(feed) as slow, _browser(feed) as quick:
        team.change(info("a"), info("b"), complete=True)
        await _next(slow)
        await _next(quick)
        team.happen("one")
        await _next(quick)
        for number in range(20):
            team.change(info("a", unread=number, reason="x" * (MOST_WAITING_BYTES // 10)))
            await _next(quick)
        events = await _next(slow)
    assert [name for name, _ in events] == ["changes", "happened"]
    assert events[0][1]["complete"]
    assert {row["instanceId"]: row["unread"] for row in events[0][1]["instances"]} == {"a": 19, "b": 0}
    assert events[1][1] == {"events": [], "missed": 1, "last": 1}


async def test_a_row_larger_than_the_limit_still_arrives() -> None:
    team = Team()
    async with _browser(TeamFeed(team.client)) as browser:
        team.change(info("a", reason="x" * 2 * MOST_WAITING_BYTES), complete=True)
        ((_, rows),) = await _next(browser)
    assert _ids(rows) == ["a"]


async def test_a_lost_connection_is_told_at_once_and_its_return_with_all_rows() -> None:
    team = Team()
    async with _browser(TeamFeed(team.client)) as browser:
        team.change(info("a"), complete=True)
        await _next(browser)
        team.client.lose()
        ((name, told),) = await _next(browser)
        assert name == "away"
        assert "phalanx up" in told["words"]
        await team.client.open()
        team.change(info("b"), complete=True)
        events = await _next(browser)
    assert [name for name, _ in events] == ["back", "changes"]
    assert _ids(events[1][1]) == ["b"]
    assert team.cursors[:3] == [None, "0", None]


async def test_a_supervisor_that_hangs_is_told_to_be_away() -> None:
    team = Team()
    async with _browser(TeamFeed(team.client)) as browser:
        team.change(info("a"), complete=True)
        await _next(browser)
        team.hangs = True
        team.change()
        ((name, _),) = await _next(browser)
    assert name == "away"


async def test_a_supervisor_that_hangs_from_the_first_call_on_is_told_to_be_away_soon() -> None:
    team = Team()
    team.hangs = True
    began = asyncio.get_running_loop().time()
    async with _browser(TeamFeed(team.client)) as browser:
        ((name, _),) = await _next(browser)
    assert name == "away"
    assert asyncio.get_running_loop().time() - began < 15


async def test_while_the_team_refuses_it_is_asked_ever_more_rarely_and_told_away_once() -> None:
    team = Team()
    team.client.replies["changes"] = UnavailableError("The supervisor is only just starting.")
    async with _browser(TeamFeed(team.client)) as browser:
        assert await _next(browser) == [("away", {"words": "The supervisor is only just starting."})]
        for _ in range(4):
            assert await _next_or_beat(browser) == []
    assert 25 <= sum(verb == "changes" for verb, _ in team.client.asked) <= 45


async def _heard(frames: AsyncIterator[bytes], number: int) -> tuple[list[str], int]:
    """The texts of the next events, so many at least, and how many were missed."""
    texts: list[str] = []
    missed = 0
    async with asyncio.timeout(600):
        while len(texts) < number:
            for name, data in await _next(frames):
                if name == "happened":
                    texts += [each["text"] for each in data["events"]]
                    missed += data["missed"]
    return texts, missed


async def test_a_browser_that_comes_again_hears_what_has_happened_meanwhile_once_and_in_order() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    team.happen("before")
    async with _browser(feed) as browser:
        team.change(info("a"), complete=True)
        await _next(browser)
        team.happen("heard")
        assert await _heard(browser, 1) == (["heard"], 0)
    team.happen("meanwhile", "and this")
    async with _browser(feed, after=2) as browser:
        asked = asyncio.create_task(_heard(browser, 3))
        await asyncio.sleep(1)
        team.happen("now")
        assert await asked == (["meanwhile", "and this", "now"], 0)


async def test_what_happens_while_a_browser_catches_up_is_told_once_also_beside_another_browser() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    answer = team.client.replies["events"]
    late = asyncio.Event()

    async def events(request: EventsRequest, progress: ProgressCallback) -> results.EventsResult:
        assert callable(answer)
        found = await answer(request, progress)
        if request.cursor == "1":  # of who catches up
            await late.wait()
        assert isinstance(found, results.EventsResult)
        return found

    team.client.replies["events"] = events
    team.happen("one", "two")
    async with _browser(feed) as other, _browser(feed, after=1) as again:
        heard = asyncio.create_task(_heard(again, 3))
        heard_by_other = asyncio.create_task(_heard(other, 2))
        await asyncio.sleep(1)
        team.happen("three")
        await asyncio.sleep(1)
        late.set()
        await asyncio.sleep(1)
        team.happen("four")
        assert await heard_by_other == (["three", "four"], 0)
        assert await heard == (["two", "three", "four"], 0)


async def test_a_browser_is_told_at_once_from_which_event_on_it_asks_when_it_comes_again() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    team.happen("before", "and this")
    async with _browser(feed) as first:
        assert await _opening(first) == {"events": [], "missed": 0, "last": 2}
        async with _browser(feed) as second, _browser(feed, after=2) as again:
            asked = len(team.client.asked)
            for browser in (second, again):
                assert await _opening(browser) == {"events": [], "missed": 0, "last": 2}
            assert len(team.client.asked) == asked
    team.happen("meanwhile")
    async with _browser(feed, after=2) as back:
        assert await _heard(back, 1) == (["meanwhile"], 0)


async def test_after_the_state_of_the_team_was_restored_a_browser_knows_from_where_on_it_asks() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    team.happen("one", "two", "three")
    async with _browser(feed) as browser:
        assert (await _opening(browser))["last"] == 3
        team.restore()
        assert (await _opening(browser))["last"] == 0
    async with _browser(feed, after=3) as of_before:
        assert (await _opening(of_before))["last"] == 0


async def test_of_a_long_absence_the_last_events_are_told_and_the_others_counted() -> None:
    team = Team()
    team.happen(*map(str, range(MOST_CAUGHT_UP + 700)))
    async with _browser(TeamFeed(team.client), after=0) as browser:
        texts, missed = await _heard(browser, MOST_CAUGHT_UP)
    assert (texts[0], texts[-1], len(texts), missed) == ("700", "1699", MOST_CAUGHT_UP, 700)
    team.forget()
    team.happen("kept")
    async with _browser(TeamFeed(team.client), after=1690) as browser:
        assert await _heard(browser, 1) == (["kept"], 10)


async def test_events_go_on_when_the_state_of_the_team_was_restored() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    team.happen("one", "two", "three")
    async with _browser(feed, after=2) as browser, _browser(feed, after=9) as of_another_team:
        heard_by_other = asyncio.create_task(_heard(of_another_team, 1))
        assert await _heard(browser, 1) == (["three"], 0)
        await asyncio.sleep(1)
        team.restore()
        await asyncio.sleep(1)
        team.happen("anew")
        assert await _heard(browser, 1) == (["anew"], 0)
        assert await heard_by_other == (["anew"], 0)


async def test_without_a_browser_nothing_is_asked() -> None:
    team = Team()
    feed = TeamFeed(team.client)
    async with _browser(feed) as browser:
        team.change(info("a"), complete=True)
        await _next(browser)
    await asyncio.sleep(1)
    asked = len(team.client.asked)
    await asyncio.sleep(300)
    assert len(team.client.asked) == asked
    async with _browser(feed) as browser:
        team.change(info("b"), complete=True)
        ((_, rows),) = await _next(browser)
    assert _ids(rows) == ["b"]
