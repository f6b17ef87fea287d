from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from actors.errors import InvalidRequestError, PhalanxError
from actors.git.values import Commit, CreateRef, Operation, ReadLog, ReadStatus
from supervisor.git.answers import MOST_TOGETHER, Answer
from supervisor.git.cache import AnswerCache
from supervisor.git.queue import GitQueue, Job
from supervisor.git.writes import MOST_OTHERS
from supervisor.performance.meters import Meters
from supervisor.performance.names import Count
from supervisor.permits import Permits
from tests.unit.supervisor.git.host import StandInHost
from tests.unit.supervisor.stand_ins import turns

STATUS = ReadStatus()
COMMIT = Commit(message="m", files=(), everything=True)


def job(operation: Operation, directory: str = "/r/a") -> Job:
    return Job(directory=Path(directory), operation=operation)


def branch(name: str) -> CreateRef:
    return CreateRef(kind="branch", name=name, start=None)


def made(host: StandInHost, *, at_once: int = 3, size: int = 100) -> GitQueue:
    return GitQueue(host, Permits(at_once), AnswerCache(size, 60.0))


def cached(answers: Sequence[Answer]) -> list[bool]:
    return [answer.cached for answer in answers]


async def test_the_same_question_of_many_is_put_once() -> None:
    host = StandInHost()
    queue = made(host)

    answers = await queue.run([job(STATUS)] * 20)

    assert [len(asked) for asked in host.reads] == [1]
    assert [answer.result for answer in answers] == [{"read": 1}] * 20
    assert not any(cached(answers))
    assert queue.figures.shared == 19


async def test_a_question_that_is_under_way_is_not_shared_with_who_comes_later() -> None:
    host = StandInHost()
    queue = made(host)
    host.gate.clear()
    first = asyncio.create_task(queue.run([job(STATUS)]))
    await turns()
    second = asyncio.create_task(queue.run([job(STATUS)]))
    await turns()
    host.gate.set()
    await asyncio.gather(first, second)

    assert len(host.reads) == 2


async def test_an_answer_that_still_holds_is_given_again_and_said_to_be_cached() -> None:
    host = StandInHost()
    queue = made(host)

    first, second = await queue.run([job(STATUS)]), await queue.run([job(STATUS)])

    assert cached([*first, *second]) == [False, True]
    assert second[0].result == {"read": 1}
    assert (queue.figures.cache_hits, queue.figures.cache_misses) == (1, 1)


async def test_an_answer_that_does_not_hold_any_more_is_not_given() -> None:
    host = StandInHost()
    queue = made(host)
    await queue.run([job(STATUS)])
    host.unchanged = False

    (answer,) = await queue.run([job(STATUS)])

    assert answer.result == {"read": 2}
    assert not answer.cached


async def test_an_answer_without_proof_is_not_kept() -> None:
    host = StandInHost()
    queue = made(host)
    host.proves = False
    await queue.run([job(STATUS)])
    await queue.run([job(STATUS)])

    assert [asked[0].known for asked in host.reads] == [None, None]


async def test_many_reads_are_shared_out_evenly_under_the_cap() -> None:
    host = StandInHost()

    answers = await made(host).run([job(STATUS, f"/r/{number}") for number in range(20)])

    assert [len(asked) for asked in host.reads] == [7, 7, 6]
    assert host.most_at_once == 3
    assert all(answer.outcome.error is None for answer in answers)


async def test_very_many_reads_leave_turns_to_others_in_between() -> None:
    host = StandInHost()

    await made(host).run([job(STATUS, f"/r/{number}") for number in range(100)])

    assert max(len(asked) for asked in host.reads) == MOST_TOGETHER
    assert sum(len(asked) for asked in host.reads) == 100


async def test_many_new_branches_go_in_one_transaction() -> None:
    host = StandInHost()
    queue = made(host)

    await queue.run([job(branch(str(number))) for number in range(50)])

    assert host.transactions == [[str(number) for number in range(50)]]
    assert queue.figures.transactions == 1


async def test_new_branches_of_many_callers_gather_while_the_repository_is_written() -> None:
    host = StandInHost()
    queue = made(host)
    host.gate.clear()
    commit = asyncio.create_task(queue.run([job(COMMIT)]))
    await turns()
    callers = [asyncio.create_task(queue.run([job(branch(str(number)), f"/r/{number}")])) for number in range(5)]
    await turns()
    assert queue.waiting == 5
    host.gate.set()
    await asyncio.gather(commit, *callers)

    assert host.transactions == [["0", "1", "2", "3", "4"]]
    assert queue.waiting == 0


async def test_in_one_transaction_no_name_comes_twice() -> None:
    host = StandInHost()
    queue = made(host)

    await asyncio.gather(*(queue.run([job(branch("same"), f"/r/{number}")]) for number in range(3)))

    assert host.transactions == [["same"]] * 3


async def test_one_writes_in_a_repository_at_a_time_and_repositories_do_not_wait_for_each_other() -> None:
    host = StandInHost()

    await made(host, at_once=4).run([job(COMMIT, f"/{repository}/{tree}") for repository in "pq" for tree in range(4)])

    assert host.most_writers == 1
    assert host.most_at_once == 2


async def test_writes_that_a_call_has_left_over_come_next_and_in_their_order() -> None:
    host = StandInHost()
    host.quick = 2
    jobs = [job(COMMIT, f"/r/{tree}") for tree in range(2 * MOST_OTHERS)]

    answers = await made(host).run([*jobs, job(branch("x"))])

    assert [asked.directory.name for asked in host.writes] == [str(tree) for tree in range(2 * MOST_OTHERS)]
    assert all(answer.outcome.error is None for answer in answers)


async def test_a_write_that_has_not_begun_is_not_done_for_a_caller_who_has_gone_away() -> None:
    host = StandInHost()
    queue = made(host)
    host.gate.clear()
    first = asyncio.create_task(queue.run([job(COMMIT)]))
    await turns()
    gone = asyncio.create_task(queue.run([job(COMMIT, "/r/b"), job(branch("x"), "/r/b")]))
    await turns()
    gone.cancel()
    await asyncio.wait([gone])
    host.gate.set()
    await first
    await queue.run([job(COMMIT, "/r/c")])

    assert [asked.directory.name for asked in host.writes] == ["a", "c"]
    assert host.transactions == []


async def test_who_asks_little_does_not_wait_for_all_of_who_asks_much() -> None:
    host = StandInHost()
    queue = made(host, at_once=1)
    much = asyncio.create_task(queue.run([job(STATUS, f"/r/{number}") for number in range(200)]))
    await turns(3)
    little = asyncio.create_task(queue.run([job(ReadLog(revision=None, limit=1), "/q/a"), job(STATUS, "/r/199")]))
    await little

    assert not much.done()
    await much
    assert sum(len(asked) for asked in host.reads) == 201


async def test_the_writes_of_callers_take_turns() -> None:
    host = StandInHost()
    queue = made(host)
    host.gate.clear()
    many = asyncio.create_task(queue.run([job(COMMIT, f"/r/{tree}") for tree in range(30)]))
    await turns()
    one = asyncio.create_task(queue.run([job(COMMIT, "/r/one")]))
    await turns()
    host.gate.set()
    await asyncio.gather(many, one)

    assert [asked.directory.name for asked in host.writes].index("one") < 2 * MOST_OTHERS


async def test_the_cap_holds_while_it_is_changed() -> None:
    host = StandInHost()
    queue = made(host, at_once=2)
    host.gate.clear()
    running = asyncio.create_task(queue.run([job(COMMIT, f"/{number}/a") for number in range(10)]))
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
    host = StandInHost()
    jobs: list[Job | PhalanxError] = [
        job(STATUS),
        InvalidRequestError("no"),
        job(STATUS, "/nowhere/a"),
        job(COMMIT),
        job(branch("x")),
    ]
    done: list[int] = []

    answers = await made(host).run(jobs, done.append)

    assert [answer.outcome.error is None for answer in answers] == [True, False, False, True, True]
    assert "no git repository" in str(answers[2].outcome.error)
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_a_read_after_a_write_in_the_same_batch_looks_after_it() -> None:
    host = StandInHost()
    queue = made(host)
    host.gate.clear()
    running = asyncio.create_task(queue.run([job(COMMIT), job(STATUS)]))
    await turns()
    assert host.writes
    assert not host.reads
    host.gate.set()
    await running
    assert host.reads


async def test_a_host_that_does_not_answer_fails_those_who_asked_and_the_next_is_answered() -> None:
    host = StandInHost()
    queue = made(host, at_once=1)
    host.is_away = True
    answers = await queue.run([job(STATUS), job(branch("x")), job(branch("y")), job(COMMIT)])
    assert [(answer.outcome.error or {}).get("code") for answer in answers] == ["unavailable"] * 4
    assert ["not known" in str(answer.outcome.error) for answer in answers] == [False, True, True, True]
    host.is_away = False

    (answer,) = await queue.run([job(ReadLog(revision=None, limit=1))])

    assert answer.outcome.error is None
    assert queue.permits.held == 0
    assert queue.waiting == 0


async def test_a_write_that_has_begun_keeps_its_turn_when_its_caller_goes_away() -> None:
    host = StandInHost()
    queue = made(host)
    host.gate.clear()
    gone = asyncio.create_task(queue.run([job(COMMIT)]))
    await turns()
    gone.cancel()
    await turns()
    other = asyncio.create_task(queue.run([job(COMMIT, "/r/b")]))
    await turns()
    assert len(host.writes) == 1
    assert queue.permits.held == 1
    host.gate.set()
    await other

    assert host.most_writers == 1
    assert queue.permits.held == 0


async def test_tries_for_which_another_git_was_in_the_way_are_counted() -> None:
    host = StandInHost()
    host.retries = 2
    meters = Meters()
    queue = GitQueue(host, Permits(1), AnswerCache(10, 60.0), meters)
    counted: list[float] = []
    meters.watch(Count.GIT_RETRIES, counted.append)
    await queue.run([job(COMMIT)])
    await queue.end()

    assert counted == [2]


async def test_ending_lets_nobody_wait() -> None:
    host = StandInHost()
    queue = made(host, at_once=1)
    host.gate.clear()
    running = asyncio.create_task(queue.run([job(COMMIT), job(STATUS, "/q/a"), job(branch("x"), "/r/c")]))
    await turns()
    await queue.end()
    await asyncio.wait([running])
    assert queue.permits.held == 0
