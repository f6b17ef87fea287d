"""The way of its own that git has between the supervisor and the host of its machine."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError
from actors.git import model
from actors.git.local import (
    GitCallNotSentError,
    GitClient,
    GitServer,
    plain_request,
    plain_response,
    request_of,
    response_of,
)
from actors.git.model import Fingerprint, GitRequest, GitResponse

PROOF = Fingerprint(digest=b"\0\xff", watched=frozenset({"head"}), ignored=frozenset({"a\udcff/"}), guard=3)
OPERATIONS: Sequence[model.Operation] = [
    model.ReadStatus(),
    model.ListRefs(kind="tag"),
    model.ReadLog(revision=None, limit=3, files=("a", "b\udcff")),
    model.ReadDiff(base="a", head=None, staged=True, files=()),
    model.ListWorktrees(),
    model.PredictMerge(branch="b"),
    model.CreateRef(kind="branch", name="n", start="s"),
    model.DeleteBranch(name="n"),
    model.Checkout(branch="n", create=True, start=None),
    model.Commit(message="m", files=("a",), everything=False),
    model.Merge(branch="b", message=None),
]
OUTCOMES = [
    GitResponse(
        result={"paths": ["a"], "clean": True, "ahead": None}, fingerprint=PROOF, ignored=frozenset({"x"}), took_s=0.5
    ),
    GitResponse(error={"code": "git", "message": "no"}, result={"conflicts": ["f"]}, retries=2),
    GitResponse(unchanged=True),
    None,
]


@asynccontextmanager
async def door(socket: Path, **answers: Any) -> AsyncIterator[GitServer]:
    made = GitServer(socket, answers)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def way_to(socket: Path) -> AsyncIterator[GitClient]:
    made = GitClient(socket)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)  # a transport ends in the loop's next turn


async def echo(given: Any) -> Any:
    return given


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: type(each).__name__)
async def test_every_operation_arrives_as_it_was_sent(short_tmp: Path, operation: model.Operation) -> None:
    asked = GitRequest(directory=Path("/srv/a\udcff"), operation=operation, known=PROOF, guard=7)
    async with door(short_tmp / "s", echo=echo), way_to(short_tmp / "s") as way:
        assert request_of(await way.call("echo", plain_request(asked))) == asked
        assert request_of(await way.call("echo", plain_request(replace(asked, known=None)))) == replace(
            asked, known=None
        )


def test_no_operation_is_left_out() -> None:
    assert {type(each) for each in OPERATIONS} == {*model.Read.__args__, *model.Write.__args__}


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_every_outcome_arrives_as_it_was_sent(short_tmp: Path, outcome: GitResponse | None) -> None:
    async with door(short_tmp / "s", echo=echo), way_to(short_tmp / "s") as way:
        assert response_of(await way.call("echo", plain_response(outcome))) == outcome


async def test_nobody_but_the_user_can_use_it_and_nothing_is_left_of_it(short_tmp: Path) -> None:
    async with door(short_tmp / "s"):
        assert stat.S_IMODE((short_tmp / "s").stat().st_mode) == 0o600
    assert list(short_tmp.iterdir()) == []


async def test_calls_run_side_by_side_and_each_gets_its_own_answer(short_tmp: Path) -> None:
    all_there = asyncio.Barrier(20)

    async def wait(given: int) -> int:
        await all_there.wait()
        return given

    async with door(short_tmp / "s", wait=wait), asyncio.timeout(10), way_to(short_tmp / "s") as way:
        for _ in range(3):
            assert await asyncio.gather(*(way.call("wait", each) for each in range(20))) == list(range(20))


async def test_a_large_answer_arrives_whole(short_tmp: Path) -> None:
    async with door(short_tmp / "s", echo=echo), way_to(short_tmp / "s") as way:
        assert await way.call("echo", ["x" * 5_000_000] * 3) == ["x" * 5_000_000] * 3


async def test_what_fails_there_is_raised_here_and_the_next_call_is_answered(short_tmp: Path) -> None:
    async def refuse(given: Any) -> Any:
        raise InvalidRequestError("correct it")

    async with door(short_tmp / "s", refuse=refuse, echo=echo), way_to(short_tmp / "s") as way:
        with pytest.raises(InvalidRequestError, match="correct it"):
            await way.call("refuse", None)
        with pytest.raises(Exception, match="An error in Phalanx"):
            await way.call("unknown", None)
        assert await way.call("echo", 1) == 1


async def test_where_nobody_listens_nothing_is_sent(short_tmp: Path) -> None:
    async with way_to(short_tmp / "s") as way:
        with pytest.raises(GitCallNotSentError):
            await way.call("echo", 1)
        async with door(short_tmp / "s", echo=echo):
            await way.call("echo", 1)
        with pytest.raises(GitCallNotSentError):
            await way.call("echo", 1)


async def test_who_listens_anew_is_found_although_connections_to_the_one_before_were_kept(short_tmp: Path) -> None:
    async with way_to(short_tmp / "s") as way:
        for _ in range(3):
            async with door(short_tmp / "s", echo=echo):
                assert await asyncio.gather(*(way.call("echo", each) for each in range(5))) == list(range(5))


async def test_who_stops_late_does_not_take_a_successors_place_away(short_tmp: Path) -> None:
    async with door(short_tmp / "s") as before, door(short_tmp / "s", echo=echo), way_to(short_tmp / "s") as way:
        await before.stop()

        assert await way.call("echo", 1) == 1


async def test_an_end_that_dies_in_the_middle_of_a_call_is_told_at_once(short_tmp: Path) -> None:
    begun = asyncio.Event()

    async def hang(given: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    async with door(short_tmp / "s", hang=hang) as made, asyncio.timeout(10):
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

    async with door(short_tmp / "s", slow=slow, echo=echo), asyncio.timeout(10), way_to(short_tmp / "s") as way:
        call = asyncio.create_task(way.call("slow", 1))
        await begun.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        go_on.set()

        assert await way.call("echo", 2) == 2
        await done.wait()
