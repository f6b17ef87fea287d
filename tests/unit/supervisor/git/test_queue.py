"""The queue of git: order, questions that are shared, answers that are kept, writes that go together, and turns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, PhalanxError
from actors.git.model import (
    Checkout,
    DeleteBranch,
    GitRequest,
    GitResponse,
    ListRefs,
    Merge,
    Operation,
    ReadDiff,
    ReadLog,
    ReadStatus,
    RepositoryPaths,
)
from supervisor.git.queue import MOST_OTHERS, MOST_TOGETHER, AnswerCache, GitQueue, dependencies
from supervisor.metrics.metrics import Count, MetricsRecorder, Timing
from tests.fakes.clock import turns
from tests.fakes.git import COMMIT, STATUS, FakeGit, git_queue, git_request, new_branch, were_cached


def place(name: str = "a", repository: str = "r") -> RepositoryPaths:
    return RepositoryPaths(
        top=Path(f"/{name}"), git_directory=Path(f"/{name}/.git"), common_directory=Path(f"/{repository}/.git")
    )


LIST = ListRefs(kind="branch")
LOG, LOG_OF_MAIN = ReadLog(revision=None, limit=1), ReadLog(revision="main", limit=1)
MERGE = Merge(branch="x", message=None)
CHECKOUT, DELETE = Checkout(branch="x", create=False, start=None), DeleteBranch(name="x")
DIFF = ReadDiff(base=None, head=None, staged=False)
NEW = new_branch("x")


def waits(first: Operation, second: Operation, *, other_tree: bool = False) -> bool:
    """Whether the second, in the same or another working tree of the repository, waits for the first."""
    _, found = dependencies([(first, place()), (second, place("b") if other_tree else place())])
    return bool(found)


@pytest.mark.parametrize(
    ("first", "second"), [(STATUS, STATUS), (STATUS, LOG), (NEW, new_branch("y")), (STATUS, NEW), (LOG, NEW)]
)
def test_what_does_not_disturb_each_other_does_not_wait(first: Operation, second: Operation) -> None:
    assert not waits(first, second)
    assert not waits(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *((COMMIT, STATUS), (COMMIT, LOG), (COMMIT, COMMIT), (COMMIT, NEW), (CHECKOUT, COMMIT), (MERGE, DIFF)),
        *((NEW, CHECKOUT), (NEW, MERGE), (NEW, LIST), (NEW, NEW), (DELETE, LIST)),
        *((NEW, new_branch("y", "x~1")), (NEW, DELETE), (MERGE, LOG_OF_MAIN)),
    ],
)
def test_what_touches_the_same_is_done_in_the_order_given(first: Operation, second: Operation) -> None:
    assert waits(first, second)
    assert waits(second, first)


@pytest.mark.parametrize(("first", "second"), [(COMMIT, STATUS), (COMMIT, COMMIT), (COMMIT, NEW), (MERGE, DIFF)])
def test_another_working_tree_goes_its_own_way(first: Operation, second: Operation) -> None:
    assert not waits(first, second, other_tree=True)


@pytest.mark.parametrize(
    ("first", "second"), [(COMMIT, MERGE), (COMMIT, LOG_OF_MAIN), (MERGE, new_branch("y", "main"))]
)
def test_what_another_working_tree_does_to_branches_is_waited_for_by_who_looks_at_them(
    first: Operation, second: Operation
) -> None:
    assert waits(first, second, other_tree=True)


def test_another_repository_is_not_waited_for() -> None:
    assert dependencies([(MERGE, place()), (LIST, place("b", "q"))]) == [frozenset(), frozenset()]


def test_many_new_branches_wait_for_the_list_before_and_are_waited_for_by_the_list_after() -> None:
    batch: list[tuple[Operation, RepositoryPaths] | None] = [
        (LIST, place()),
        *((new_branch(str(number)), place()) for number in range(3)),
        (LIST, place()),
    ]

    assert dependencies(batch) == [frozenset(), {0}, {0}, {0}, {1, 2, 3}]


def test_what_is_not_run_is_not_waited_for() -> None:
    assert dependencies([None, (STATUS, place()), None]) == [frozenset()] * 3


@pytest.fixture
def host() -> FakeGit:
    return FakeGit()


@pytest.fixture
def queue(host: FakeGit) -> GitQueue:
    return git_queue(host)


async def test_the_same_question_of_many_is_put_once(host: FakeGit, queue: GitQueue) -> None:
    answers = await queue.run([git_request(STATUS)] * 20)

    assert [len(asked) for asked in host.reads] == [1]
    assert [answer.result for answer in answers] == [{"read": 1}] * 20
    assert not any(were_cached(answers))


async def test_a_question_that_is_under_way_is_not_shared_with_who_comes_later(host: FakeGit, queue: GitQueue) -> None:
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


async def test_an_answer_that_does_not_hold_any_more_is_not_given(host: FakeGit, queue: GitQueue) -> None:
    await queue.run([git_request(STATUS)])
    host.unchanged = False

    (answer,) = await queue.run([git_request(STATUS)])

    assert answer.result == {"read": 2}
    assert not answer.unchanged


async def test_an_answer_without_proof_is_not_kept(host: FakeGit, queue: GitQueue) -> None:
    host.proves = False
    await queue.run([git_request(STATUS)])
    await queue.run([git_request(STATUS)])

    assert [asked[0].known for asked in host.reads] == [None, None]


async def test_many_reads_are_shared_out_evenly_under_the_cap(host: FakeGit) -> None:
    answers = await git_queue(host).run([git_request(STATUS, f"/r/{number}") for number in range(20)])

    assert [len(asked) for asked in host.reads] == [7, 7, 6]
    assert host.most_at_once == 3
    assert all(answer.error is None for answer in answers)


async def test_very_many_reads_leave_turns_to_others_in_between(host: FakeGit) -> None:
    await git_queue(host).run([git_request(STATUS, f"/r/{number}") for number in range(100)])

    assert max(len(asked) for asked in host.reads) == MOST_TOGETHER
    assert sum(len(asked) for asked in host.reads) == 100


async def test_who_asks_little_does_not_wait_for_all_of_who_asks_much(host: FakeGit) -> None:
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


async def test_the_cap_holds_while_it_is_changed(host: FakeGit) -> None:
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


async def test_results_come_in_the_order_asked_and_what_fails_fails_alone(host: FakeGit) -> None:
    jobs: list[GitRequest | PhalanxError] = [
        git_request(STATUS),
        InvalidRequestError("no"),
        git_request(STATUS, "/nowhere/a"),
        git_request(COMMIT),
        git_request(new_branch("x")),
    ]
    done: list[int] = []

    answers = await git_queue(host).run(jobs, done.append)

    assert [answer.error is None for answer in answers] == [True, False, False, True, True]
    assert "no git repository" in str(answers[2].error)
    assert sorted(done) == [0, 1, 2, 3, 4]


async def test_how_long_an_operation_waited_for_its_turn_is_told() -> None:
    host, recorder = FakeGit(), MetricsRecorder(clock=lambda: 0.0)
    queue = git_queue(host, at_once=1, recorder=recorder)
    host.gate.clear()
    running = asyncio.create_task(queue.run([git_request(COMMIT), git_request(STATUS, "/q/a")]))
    await asyncio.sleep(0.02)
    host.gate.set()
    await running

    waited = recorder.history.slot(0.0).timed(Timing.GIT_WAIT)
    assert (waited.count, waited.average_s > 0.01) == (2, True)


async def test_a_read_after_a_write_in_the_same_batch_looks_after_it(host: FakeGit, queue: GitQueue) -> None:
    host.gate.clear()
    running = asyncio.create_task(queue.run([git_request(COMMIT), git_request(STATUS)]))
    await turns()
    assert host.writes
    assert not host.reads
    host.gate.set()
    await running
    assert host.reads


async def test_a_host_that_does_not_answer_fails_those_who_asked_and_the_next_is_answered(host: FakeGit) -> None:
    queue = git_queue(host, at_once=1)
    host.is_away = True
    answers = await queue.run(
        [git_request(STATUS), git_request(new_branch("x")), git_request(new_branch("y")), git_request(COMMIT)]
    )
    assert [(answer.error or {}).get("code") for answer in answers] == ["unavailable"] * 4
    assert ["not known" in str(answer.error) for answer in answers] == [False, True, True, True]
    host.is_away = False

    (answer,) = await queue.run([git_request(ReadLog(revision=None, limit=1))])

    assert answer.error is None
    assert queue.permits.held == 0
    assert queue.waiting == 0


async def test_many_new_branches_go_in_one_transaction(host: FakeGit, queue: GitQueue) -> None:
    await queue.run([git_request(new_branch(str(number))) for number in range(50)])

    assert host.transactions == [[str(number) for number in range(50)]]


async def test_new_branches_of_many_callers_gather_while_the_repository_is_written(
    host: FakeGit, queue: GitQueue
) -> None:
    host.gate.clear()
    commit = asyncio.create_task(queue.run([git_request(COMMIT)]))
    await turns()
    callers = [
        asyncio.create_task(queue.run([git_request(new_branch(str(number)), f"/r/{number}")])) for number in range(5)
    ]
    await turns()
    assert queue.waiting == 5
    host.gate.set()
    await asyncio.gather(commit, *callers)

    assert host.transactions == [["0", "1", "2", "3", "4"]]
    assert queue.waiting == 0


async def test_in_one_transaction_no_name_comes_twice(host: FakeGit, queue: GitQueue) -> None:
    await asyncio.gather(*(queue.run([git_request(new_branch("same"), f"/r/{number}")]) for number in range(3)))

    assert host.transactions == [["same"]] * 3


async def test_one_writes_in_a_repository_at_a_time_and_repositories_do_not_wait_for_each_other(host: FakeGit) -> None:
    await git_queue(host, at_once=4).run(
        [git_request(COMMIT, f"/{repository}/{tree}") for repository in "pq" for tree in range(4)]
    )

    assert host.most_writers == 1
    assert host.most_at_once == 2


async def test_what_waits_for_a_write_does_not_wait_for_the_next_one() -> None:
    host, trees = FakeGit(), ("/a/1", "/a/2", "/a/3")
    await git_queue(host).run([git_request(COMMIT, tree) for tree in trees])
    together = host.write_calls
    host.write_calls = []
    await git_queue(host).run(
        [each for tree in trees for each in (git_request(COMMIT, tree), git_request(STATUS, tree))]
    )

    assert (together, host.write_calls) == ([3], [1, 1, 1])


async def test_writes_that_a_call_has_left_over_come_next_and_in_their_order(host: FakeGit) -> None:
    host.quick = 2
    jobs = [git_request(COMMIT, f"/r/{tree}") for tree in range(2 * MOST_OTHERS)]

    answers = await git_queue(host).run([*jobs, git_request(new_branch("x"))])

    assert [asked.directory.name for asked in host.writes] == [str(tree) for tree in range(2 * MOST_OTHERS)]
    assert all(answer.error is None for answer in answers)


async def test_a_write_that_has_not_begun_is_not_done_for_a_caller_who_has_gone_away(
    host: FakeGit, queue: GitQueue
) -> None:
    host.gate.clear()
    first = asyncio.create_task(queue.run([git_request(COMMIT)]))
    await turns()
    gone = asyncio.create_task(queue.run([git_request(COMMIT, "/r/b"), git_request(new_branch("x"), "/r/b")]))
    await turns()
    gone.cancel()
    await asyncio.wait([gone])
    host.gate.set()
    await first
    await queue.run([git_request(COMMIT, "/r/c")])

    assert [asked.directory.name for asked in host.writes] == ["a", "c"]
    assert host.transactions == []


async def test_the_writes_of_callers_take_turns(host: FakeGit, queue: GitQueue) -> None:
    host.gate.clear()
    many = asyncio.create_task(queue.run([git_request(COMMIT, f"/r/{tree}") for tree in range(30)]))
    await turns()
    one = asyncio.create_task(queue.run([git_request(COMMIT, "/r/one")]))
    await turns()
    host.gate.set()
    await asyncio.gather(many, one)

    assert [asked.directory.name for asked in host.writes].index("one") < 2 * MOST_OTHERS


async def test_a_write_that_has_begun_keeps_its_turn_when_its_caller_goes_away(host: FakeGit, queue: GitQueue) -> None:
    host.gate.clear()
    gone = asyncio.create_task(queue.run([git_request(COMMIT)]))
    await turns()
    gone.cancel()
    await turns()
    other = asyncio.create_task(queue.run([git_request(COMMIT, "/r/b")]))
    await turns()
    assert len(host.writes) == 1
    assert queue.permits.held == 1
    host.gate.set()
    await other

    assert host.most_writers == 1
    assert queue.permits.held == 0


async def test_tries_for_which_another_git_was_in_the_way_are_counted(host: FakeGit) -> None:
    host.retries = 2
    recorder = MetricsRecorder()
    queue = git_queue(host, recorder=recorder)
    counted: list[float] = []
    recorder.watch(Count.GIT_RETRIES, counted.append)
    await queue.run([git_request(COMMIT)])
    await queue.end()

    assert counted == [2]


async def test_ending_lets_nobody_wait(host: FakeGit) -> None:
    queue = git_queue(host, at_once=1)
    host.gate.clear()
    running = asyncio.create_task(
        queue.run([git_request(COMMIT), git_request(STATUS, "/q/a"), git_request(new_branch("x"), "/r/c")])
    )
    await turns()
    await queue.end()
    await asyncio.wait([running])
    assert queue.permits.held == 0


def of(name: str) -> tuple[Path, ReadStatus]:
    return Path(name), ReadStatus()


def kept(cache: AnswerCache, *names: str) -> list[bool]:
    return [cache.get(of(name)) is not None for name in names]


def test_answers_that_have_to_go_for_another_are_counted() -> None:
    cache = AnswerCache(2, 60.0)
    assert [cache.put(of(name), GitResponse()) for name in "abcc"] == [0, 0, 1, 0]
    assert kept(cache, "a", "b", "c") == [False, True, True]
    assert len(cache) == 2


def test_an_answer_ends_with_its_time_and_using_it_does_not_prolong_it() -> None:
    now = [100.0]
    cache = AnswerCache(5, 10.0, lambda: now[0])
    cache.put(of("a"), GitResponse())
    now[0] += 9.9
    assert kept(cache, "a") == [True]
    now[0] += 0.1
    assert kept(cache, "a") == [False]


@pytest.mark.parametrize(("size", "ttl_s"), [(0, 60.0), (5, 0.0)])
def test_a_cache_without_room_or_without_time_keeps_nothing(size: int, ttl_s: float) -> None:
    cache = AnswerCache(size, ttl_s)
    cache.put(of("a"), GitResponse())
    assert kept(cache, "a") == [False]


def test_another_size_takes_effect_at_once_and_the_same_one_forgets_nothing() -> None:
    cache = AnswerCache(3, 60.0)
    for name in "abc":
        cache.put(of(name), GitResponse())
    cache.resize(3, 60.0)
    assert kept(cache, "a", "b", "c") == [True] * 3
    cache.resize(1, 60.0)
    for name in "ab":
        cache.put(of(name), GitResponse())
    assert kept(cache, "a", "b", "c") == [False, True, False]
