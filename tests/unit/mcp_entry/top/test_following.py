"""The news of a team that goes away and comes back."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError
from mcp_entry.top import following
from mcp_entry.top.following import Away
from supervisor.api import requests
from supervisor.api.results import ChangesResult, Result, ScreenResult
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import FakeClient, info


def rows(cursor: str) -> ChangesResult:
    return ChangesResult(cursor=cursor, complete=cursor == "1", instances=[info()], needs_attention=[])


def screen(version: str) -> ScreenResult:
    return ScreenResult(instance_id="spec_1_1_1", version=version, columns=80, rows=24, lines=["hello"], title="")


class Answers:
    """Gives these one after the other, then waits for ever."""

    def __init__(self, *answers: Result | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[requests.Request] = []
        self._came = asyncio.Semaphore(0)

    async def has_come(self, count: int) -> None:
        """Returns when so many requests have come."""
        async with asyncio.timeout(10):
            for _ in range(count):
                await self._came.acquire()

    async def __call__(self, request: requests.Request, on_progress: ProgressCallback) -> Result:
        self.asked.append(request)
        self._came.release()
        if not self.answers:
            await asyncio.get_running_loop().create_future()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_each_answer_is_asked_for_after_the_one_before_and_waits_in_the_supervisor() -> None:
    answers = Answers(rows("1"), rows("2"), rows("3"))
    news = following.changes(FakeClient(changes=answers))
    assert [(await anext(news)) for _ in range(3)] == [rows("1"), rows("2"), rows("3")]
    asked = [(each.cursor, each.timeout_seconds) for each in answers.asked]  # type: ignore[attr-defined]
    assert asked == [(None, 0.0), ("1", following.POLL_S), ("2", following.POLL_S)]
    await news.aclose()


@pytest.mark.parametrize("error", [TeamNotRunningError("It is away."), UnavailableError("It is away.")])
async def test_a_team_that_does_not_answer_is_away_in_words_and_then_back_at_once(error: Exception) -> None:
    answers = Answers(rows("1"), error, rows("2"))
    news = following.changes(FakeClient(changes=answers))
    assert [(await anext(news)) for _ in range(3)] == [rows("1"), Away("It is away."), rows("2")]
    assert answers.asked[-1] == requests.ChangesRequest(cursor="1", timeout_seconds=0.0)
    await news.aclose()


async def test_a_connection_that_ends_is_told_at_once_though_the_call_would_be_repeated() -> None:
    answers = Answers(rows("1"))
    client = FakeClient(changes=answers)
    news = following.changes(client)
    await anext(news)
    waiting = asyncio.ensure_future(anext(news))
    await answers.has_come(2)
    client.lose()
    assert isinstance(await waiting, Away)
    await news.aclose()


async def test_what_the_team_refuses_is_raised() -> None:
    news = following.changes(FakeClient(changes=InvalidRequestError("There is no verb changes.")))
    with pytest.raises(InvalidRequestError):
        await anext(news)


async def test_a_screen_is_told_only_when_it_differs_and_again_after_the_team_was_away() -> None:
    answers = Answers(screen("a"), screen("a"), screen("b"), UnavailableError("Away."), screen("b"))
    news = following.screens(FakeClient(screen=answers), "spec_1_1_1")
    assert [await anext(news) for _ in range(4)] == [screen("a"), screen("b"), Away("Away."), screen("b")]
    assert [each.after for each in answers.asked] == [None, "a", "a", "b", None]  # type: ignore[attr-defined]
    await news.aclose()
