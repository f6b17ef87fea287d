"""The queue of git: questions that are shared, answers that are kept, and turns under the cap."""

from __future__ import annotations

import asyncio

from actors.errors import InvalidRequestError, PhalanxError
from actors.git.model import GitRequest, ReadLog
from supervisor.git.scheduling import MOST_TOGETHER
from supervisor.metrics.metrics import Count, MetricsRecorder
from tests.fakes.clock import turns
from tests.fakes.git import COMMIT, STATUS, FakeGit, git_queue, git_request, new_branch, were_cached


async def test_the_same_question_of_many_is_put_once() -> None:
    host = FakeGit()
    queue = git_queue(host)

    answers = await queue.run([git_request(STATUS)] * 20)

    assert [len(asked) for asked in host.reads] == [1]
    assert [answer.result for answer in answers] == [{"read": 1}] * 20
    assert not any(were_cached(answers))


async def test_a_question_that_is_under_way_is_not_shared_with_who_comes_later() -> None:
    host = FakeGit()
    queue = git_queue(host)
    host.gate.clear()
    first = asyncio.create_task(queue.run([git_request(STATUS)]))
    await turns()
    second = asyncio.create_task(queue.run([git_request(STATUS)]))
    await turns()
    host.gate.set()
    await asyncio.gather(first, second)

    assert len(host.reads) == 2


async def test_an_answer_that_still_holds_is_given_again_and_said_to_be_cached() -> None:
    recorder = MetricsRecorder(clock=lambda: 0.0)
    queue = git_queue(FakeGit(), recorder=recorder)

    first, second = await queue.run([git_request(STATUS)]), await queue.run([git_request(STATUS)])

    assert were_cached([*first, *second]) == [False, True]
    assert second[0].result == {"read": 1}
    slot = recorder.history.slot(0.0)
    assert (slot.counted(Count.CACHE_HITS), slot.counted(Count.CACHE_MISSES)) == (1, 1)


async def test_an_answer_that_does_not_hold_any_more_is_not_given() -> None:
    host = FakeGit()
    queue = git_queue(host)
    await queue.run([git_request(STATUS)])
    host.unchanged = False

    (answer,) = await queue.run([git_request(STATUS)])

    assert answer.result == {"read": 2}
    assert not answer.cached


async def test_an_answer_without_proof_is_not_kept() -> None:
    host = FakeGit()
    queue = git_queue(host)
    host.proves = False
    await queue.run([git_request(STATUS)])
    await queue.run([git_request(STATUS)])

    assert [asked[0].known for asked in host.reads] == [None, None]


async def test_many_reads_are_shared_out_evenly_under_the_cap() -> None:
    host = FakeGit()

    answers = await git_queue(host).run([git_request(STATUS, f"/r/{number}") for number in range(20)])

    assert [len(asked) for asked in host.reads] == [7, 7, 6]
    assert host.most_at_once == 3
    assert all(answer.outcome.error is None for answer in answers)


async def test_very_many_reads_leave_turns_to_others_in_between() -> None:
    host = FakeGit()

    await git_queue(host).run([git_request(STATUS, f"/r/{number}") for number in range(100)])

    assert max(len(asked) for asked in host.reads) == MOST_TOGETHER
    assert sum(len(asked) for asked in host.reads) == 100


async def test_who_asks_little_does_not_wait_for_all_of_who_asks_much() -> None:
    host = FakeGit()
    queue = git_queue(host, at_once=1)
    much = asyncio.create_task(queue.run([git_request(STATUS, f"/r/{number}") for number in range(200)]))
    await turns(3)
    little = asyncio.create_task(
        queue.run([git_request(ReadLog(revision=None, limit=1), "/q/a"), git_request(STATUS, "/r/199")])
    )
    await little

    assert not much.done()
    await much
    assert sum(len(asked) for asked in host.reads) == 201


async def test_the_cap_holds_while_it_is_changed() -> None:
    host = FakeGit()
    queue = git_queue(host, at_once=2)
    host.gate.clear()
    running = asyncio.create_task(queue.run([git_request(COMMIT, f"/{number}/a") for number in range(10)]))
    await turns()
    assert host.at_once == 2
    queue.permits.resize(5)
    await turns()
    assert host.at_once == 5
    queue.permits.resize(1)
    host.gate.set()
    await running

    assert host.most_at_once == 5
    assert len(host.writes) == 10


async def test_results_come_in_the_order_asked_and_what_fails_fails_alone() -> None:
    host = FakeGit()
    jobs: list[GitRequest | PhalanxError] = [
        git_request(STATUS),
        InvalidRequestError("no"),
        git_request(STATUS, "/nowhere/a"),
        git_request(COMMIT),
        git_request(new_branch("x")),
    ]
    done: list[int] = []

    answers = await git_queue(host).run(jobs, done.append)

    assert [answer.outcome.error is None for answer in answers] == [True, False, False, True, True]
    assert "no git repository" in str(answers[2].outcome.error)
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_a_read_after_a_write_in_the_same_batch_looks_after_it() -> None:
    host = FakeGit()
    queue = git_queue(host)
    host.gate.clear()
    running = asyncio.create_task(queue.run([git_request(COMMIT), git_request(STATUS)]))
    await turns()
    assert host.writes
    assert not host.reads
    host.gate.set()
    await running
    assert host.reads


async def test_a_host_that_does_not_answer_fails_those_who_asked_and_the_next_is_answered() -> None:
    host = FakeGit()
    queue = git_queue(host, at_once=1)
    host.is_away = True
    answers = await queue.run(
        [git_request(STATUS), git_request(new_branch("x")), git_request(new_branch("y")), git_request(COMMIT)]
    )
    assert [(answer.outcome.error or {}).get("code") for answer in answers] == ["unavailable"] * 4
    assert ["not known" in str(answer.outcome.error) for answer in answers] == [False, True, True, True]
    host.is_away = False

    (answer,) = await queue.run([git_request(ReadLog(revision=None, limit=1))])

    assert answer.outcome.error is None
    assert queue.permits.held == 0
    assert queue.waiting == 0
