from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import InvalidRequestError
from actors.git.layout import find_place
from actors.git.model import Commit, CreateRef, GitRequest, Operation, ReadStatus
from actors.home import Home
from supervisor.git.queue import GitQueue
from supervisor.git.scheduling import AnswerCache
from supervisor.git.service import repository_check
from supervisor.metrics.metrics import Count, MetricsRecorder
from supervisor.spawning.admission import FairSemaphore, WorkDirPolicy
from tests.fakes.git import FakeGit, git_queue, git_request

WRITES = [Commit(message="m", files=(), everything=True), CreateRef(kind="branch", name="new", start=None)]


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    """The user keeps it in git; a project in it has a repository of its own."""
    for repository in ("user", "user/src/shop", "user/.phalanx/worktrees/a"):
        (tmp_path / repository / ".git").mkdir(parents=True)
        (tmp_path / repository / ".git/HEAD").write_text("ref: refs/heads/main\n")
    for directory in ("user/notes", "user/src/shop/below"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path / "user"


async def error_of(user_home: Path, operation: Operation, directory: str, *allowed: str) -> str | None:
    policy = WorkDirPolicy(Home(user_home / ".phalanx"), user_home, [user_home / each for each in allowed])
    queue = GitQueue(
        FakeGit(find_place), FairSemaphore(3), AnswerCache(10, 60.0), MetricsRecorder(), repository_check(policy)
    )
    (answer,) = await queue.run([GitRequest(directory=user_home / directory, operation=operation)])
    await queue.end()
    return answer.outcome.error["message"] if answer.outcome.error else None


@pytest.mark.parametrize("operation", WRITES)
async def test_nothing_is_written_in_a_repository_that_is_wider_than_what_may_be_worked_on(
    user_home: Path, operation: Operation
) -> None:
    assert "too wide" in str(await error_of(user_home, operation, "notes"))
    assert "too wide" in str(await error_of(user_home, operation, "notes", "notes"))
    assert "outside what is allowed" in str(
        await error_of(user_home, operation, "src/shop/below", "notes", "src/shop/below")
    )


@pytest.mark.parametrize("operation", WRITES)
async def test_projects_and_worktrees_of_the_team_are_written_in(user_home: Path, operation: Operation) -> None:
    assert await error_of(user_home, operation, "src/shop/below") is None
    assert await error_of(user_home, operation, "src/shop/below", "src") is None
    assert await error_of(user_home, operation, ".phalanx/worktrees/a", "src") is None


async def test_a_repository_that_is_wider_may_be_looked_at(user_home: Path) -> None:
    assert await error_of(user_home, ReadStatus(), "notes") is None


async def test_every_operation_that_was_answered_is_counted_and_of_those_the_refused() -> None:
    recorder = MetricsRecorder(clock=lambda: 0.0)
    await git_queue(FakeGit(), recorder=recorder).run(
        [git_request(ReadStatus()), git_request(ReadStatus()), InvalidRequestError("no")]
    )

    now = recorder.history.slot(0.0)
    assert (now.counted(Count.GIT_ANSWERED), now.counted(Count.GIT_FAILED)) == (3, 1)
