"""Writes in the queue: what goes together, one at a time in a repository, and in whose turn."""

from __future__ import annotations

import asyncio

from supervisor.git.scheduling import MOST_OTHERS
from supervisor.metrics.metrics import Count, MetricsRecorder
from tests.fakes.clock import turns
from tests.fakes.git import COMMIT, STATUS, FakeGit, git_queue, git_request, new_branch


async def test_many_new_branches_go_in_one_transaction() -> None:
    host = FakeGit()
    queue = git_queue(host)

    await queue.run([git_request(new_branch(str(number))) for number in range(50)])

    assert host.transactions == [[str(number) for number in range(50)]]


async def test_new_branches_of_many_callers_gather_while_the_repository_is_written() -> None:
    host = FakeGit()
    queue = git_queue(host)
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


async def test_in_one_transaction_no_name_comes_twice() -> None:
    host = FakeGit()
    queue = git_queue(host)

    await asyncio.gather(*(queue.run([git_request(new_branch("same"), f"/r/{number}")]) for number in range(3)))

    assert host.transactions == [["same"]] * 3


async def test_one_writes_in_a_repository_at_a_time_and_repositories_do_not_wait_for_each_other() -> None:
    host = FakeGit()

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


async def test_writes_that_a_call_has_left_over_come_next_and_in_their_order() -> None:
    host = FakeGit()
    host.quick = 2
    jobs = [git_request(COMMIT, f"/r/{tree}") for tree in range(2 * MOST_OTHERS)]

    answers = await git_queue(host).run([*jobs, git_request(new_branch("x"))])

    assert [asked.directory.name for asked in host.writes] == [str(tree) for tree in range(2 * MOST_OTHERS)]
    assert all(answer.outcome.error is None for answer in answers)


async def test_a_write_that_has_not_begun_is_not_done_for_a_caller_who_has_gone_away() -> None:
    host = FakeGit()
    queue = git_queue(host)
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


async def test_the_writes_of_callers_take_turns() -> None:
    host = FakeGit()
    queue = git_queue(host)
    host.gate.clear()
    many = asyncio.create_task(queue.run([git_request(COMMIT, f"/r/{tree}") for tree in range(30)]))
    await turns()
    one = asyncio.create_task(queue.run([git_request(COMMIT, "/r/one")]))
    await turns()
    host.gate.set()
    await asyncio.gather(many, one)

    assert [asked.directory.name for asked in host.writes].index("one") < 2 * MOST_OTHERS


async def test_a_write_that_has_begun_keeps_its_turn_when_its_caller_goes_away() -> None:
    host = FakeGit()
    queue = git_queue(host)
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


async def test_tries_for_which_another_git_was_in_the_way_are_counted() -> None:
    host = FakeGit()
    host.retries = 2
    recorder = MetricsRecorder()
    queue = git_queue(host, recorder=recorder)
    counted: list[float] = []
    recorder.watch(Count.GIT_RETRIES, counted.append)
    await queue.run([git_request(COMMIT)])
    await queue.end()

    assert counted == [2]


async def test_ending_lets_nobody_wait() -> None:
    host = FakeGit()
    queue = git_queue(host, at_once=1)
    host.gate.clear()
    running = asyncio.create_task(
        queue.run([git_request(COMMIT), git_request(STATUS, "/q/a"), git_request(new_branch("x"), "/r/c")])
    )
    await turns()
    await queue.end()
    await asyncio.wait([running])
    assert queue.permits.held == 0
