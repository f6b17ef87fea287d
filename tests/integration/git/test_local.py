"""The socket for git between the supervisor and the host of its machine."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError
from actors.git.local import GitCallNotSentError, GitClient, GitServer
from actors.git.model import Fingerprint, GitRequest, GitResponse, ReadLog

ASKED = GitRequest(
    directory=Path("/srv/a\udcff"),
    operation=ReadLog(revision=None, limit=3, files=("a", "b\udcff")),
    known=Fingerprint(digest=b"\0\xff", watched=frozenset({"head"}), ignored=frozenset({"a\udcff/"})),
)
ANSWERED = (GitResponse(result={"paths": ["a"], "ahead": None}, fingerprint=ASKED.known, took_s=0.5), None)


@asynccontextmanager
async def server(socket: Path, **answers: Any) -> AsyncIterator[GitServer]:
    made = GitServer(socket, answers)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def client_of(socket: Path) -> AsyncIterator[GitClient]:
    made = GitClient(socket)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)  # a transport ends in the loop's next turn


async def echo(given: Any) -> Any:
    return given


async def test_requests_and_responses_arrive_as_they_were_sent(short_tmp: Path) -> None:
    async with server(short_tmp / "s", echo=echo), client_of(short_tmp / "s") as client:
        assert await client.call("echo", ASKED) == ASKED
        assert await client.call("echo", ANSWERED) == ANSWERED


async def test_nobody_but_the_user_can_use_it_and_nothing_is_left_of_it(short_tmp: Path) -> None:
    async with server(short_tmp / "s"):
        assert stat.S_IMODE((short_tmp / "s").stat().st_mode) == 0o600
    assert list(short_tmp.iterdir()) == []


async def test_calls_run_side_by_side_and_each_gets_its_own_answer(short_tmp: Path) -> None:
    all_there = asyncio.Barrier(20)

    async def wait(given: int) -> int:
        await all_there.wait()
        return given

    async with server(short_tmp / "s", wait=wait), asyncio.timeout(10), client_of(short_tmp / "s") as client:
        for _ in range(3):
            assert await asyncio.gather(*(client.call("wait", each) for each in range(20))) == list(range(20))


async def test_a_large_answer_arrives_whole(short_tmp: Path) -> None:
    async with server(short_tmp / "s", echo=echo), client_of(short_tmp / "s") as client:
        assert await client.call("echo", ["x" * 5_000_000] * 3) == ["x" * 5_000_000] * 3


async def test_what_fails_there_is_raised_here_and_the_next_call_is_answered(short_tmp: Path) -> None:
    async def refuse(given: Any) -> Any:
        raise InvalidRequestError("correct it")

    async with server(short_tmp / "s", refuse=refuse, echo=echo), client_of(short_tmp / "s") as client:
        with pytest.raises(InvalidRequestError, match="correct it"):
            await client.call("refuse", None)
        with pytest.raises(Exception, match="An error in Phalanx"):
            await client.call("unknown", None)
        assert await client.call("echo", 1) == 1


async def test_where_nobody_listens_nothing_is_sent(short_tmp: Path) -> None:
    async with client_of(short_tmp / "s") as client:
        with pytest.raises(GitCallNotSentError):
            await client.call("echo", 1)
        async with server(short_tmp / "s", echo=echo):
            await client.call("echo", 1)
        with pytest.raises(GitCallNotSentError):
            await client.call("echo", 1)


async def test_who_listens_anew_is_found_although_connections_to_the_one_before_were_kept(short_tmp: Path) -> None:
    async with client_of(short_tmp / "s") as client:
        for _ in range(3):
            async with server(short_tmp / "s", echo=echo):
                assert await asyncio.gather(*(client.call("echo", each) for each in range(5))) == list(range(5))


async def test_who_stops_late_does_not_take_a_successors_place_away(short_tmp: Path) -> None:
    socket = short_tmp / "s"
    async with server(socket) as before, server(socket, echo=echo), client_of(socket) as client:
        await before.stop()

        assert await client.call("echo", 1) == 1


async def test_an_end_that_dies_in_the_middle_of_a_call_is_told_at_once(short_tmp: Path) -> None:
    begun = asyncio.Event()

    async def hang(given: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with server(short_tmp / "s", hang=hang) as made, asyncio.timeout(10):
        call = asyncio.create_task(GitClient(short_tmp / "s").call("hang", 1))
        await begun.wait()
        await made.stop()
        with pytest.raises(ConnectionError):
            await call


async def test_a_call_that_is_cut_off_is_done_and_its_answer_is_nobody_elses(short_tmp: Path) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(given: Any) -> Any:
        begun.set()
        await go_on.wait()
        done.set()
        return "slow"

    async with server(short_tmp / "s", slow=slow, echo=echo), asyncio.timeout(10), client_of(short_tmp / "s") as client:
        call = asyncio.create_task(client.call("slow", 1))
        await begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        go_on.set()

        assert await client.call("echo", 2) == 2
        await done.wait()
