import asyncio
import gc
import logging
from collections.abc import Coroutine

import pytest

from actors.concurrency import TaskSet, beside, every
from actors.errors import FencedError, UnavailableError


async def _forever(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def _failing_block_beside(work: Coroutine[None, None, None]) -> None:
    async with beside(work):
        await asyncio.sleep(0)
        raise ValueError("block")


async def test_end_cancels_all_that_is_under_way_and_waits_for_it() -> None:
    ended: list[str] = []
    background = TaskSet("work")
    background.begin(_forever(ended))
    background.begin(_forever(ended))
    await asyncio.sleep(0)

    await background.end()

    assert ended == ["ended", "ended"]


async def test_end_without_work_returns() -> None:
    await TaskSet("work").end()


async def test_end_leaves_what_does_not_end_in_time() -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()

    background = TaskSet("work")
    background.begin(stubborn())
    await asyncio.sleep(0)

    await background.end(within_s=0.01)

    release.set()
    await background.done()


async def test_work_is_kept_though_nobody_else_refers_to_it() -> None:
    done: list[int] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    background = TaskSet("work")
    background.begin(work())
    gc.collect()
    await background.done()

    assert done == [1]


@pytest.mark.parametrize(
    ("error", "level"), [(UnavailableError("no host"), logging.WARNING), (ValueError("no host"), logging.ERROR)]
)
async def test_a_failure_is_told_with_the_name_of_the_work(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int
) -> None:
    async def fails() -> None:
        raise error

    background = TaskSet("a spare")
    background.begin(fails())
    await background.done()
    await asyncio.sleep(0)

    (record,) = caplog.records
    assert record.levelno == level
    assert "a spare" in record.getMessage()
    assert "no host" in caplog.text


async def test_what_was_cancelled_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    background = TaskSet("work")
    background.begin(_forever([]))

    await background.end()
    await asyncio.sleep(0)

    assert not caplog.records


async def test_beside_gives_the_result_of_its_work() -> None:
    async def work() -> int:
        return 7

    async with beside(work()) as coming:
        assert await coming == 7


async def test_beside_ends_its_work_when_the_block_fails() -> None:
    ended: list[str] = []

    with pytest.raises(ValueError, match="block"):
        await _failing_block_beside(_forever(ended))

    assert ended == ["ended"]


async def test_a_block_that_fails_hides_no_failure_of_its_own_behind_that_of_the_work() -> None:
    async def fails() -> None:
        raise UnavailableError("work")

    with pytest.raises(ValueError, match="block"):
        await _failing_block_beside(fails())


@pytest.mark.parametrize("at_once", [False, True])
async def test_what_is_done_again_and_again_outlives_its_failures_until_another_supervisor_has_the_team(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[float] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        began, errors = loop.time(), [UnavailableError("no answer"), ValueError("ours"), None, FencedError("gone")]

        async def work() -> None:
            done.append(loop.time() - began)
            if error := errors.pop(0):
                raise error

        await every(10.0, work, "the work cannot be done now", at_once=at_once)

    first = 0.0 if at_once else 10.0
    await play()
    assert done == [first, first + 10, first + 20, first + 30]
    assert caplog.messages == [
        "the work cannot be done now: no answer",
        "the work cannot be done now",
        "the work cannot be done now: another supervisor has the state",
    ]
