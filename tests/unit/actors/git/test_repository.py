"""How long a lock of another git is waited for, in a time of the test's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from actors.git.model import RepositoryPaths
from actors.git.process import GitOutput, GitRunner
from actors.git.repository import OTHERS_AT_WORK_S, SAME_LOCK_S, LockWait, Repository, lock_in

MOST = 10_000
OK = GitOutput(status=0, output="", error="")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def told(lock: Path) -> str:
    return f"fatal: Unable to create '{lock}': File exists.\n\nAnother git process seems to be running"


def test_a_lock_that_stays_the_same_is_given_up_soon(clock: list[float], tmp_path: Path) -> None:
    lock = tmp_path / "index.lock"
    lock.touch()
    waiting = LockWait()

    tries = next(number for number in range(MOST) if not waiting.goes_on(told(lock)))

    assert SAME_LOCK_S < clock[0] < SAME_LOCK_S + 0.5
    assert 10 < tries < 200


def test_locks_that_change_hands_are_waited_for_much_longer_but_not_for_ever(
    clock: list[float], tmp_path: Path
) -> None:
    lock = tmp_path / "index.lock"
    waiting = LockWait()
    for number in range(MOST):
        new = tmp_path / f"{number}"  # beside the old one, so that the file system cannot give it the same number
        new.touch()
        new.replace(lock)
        if not waiting.goes_on(told(lock)):
            break

    assert OTHERS_AT_WORK_S < clock[0] < OTHERS_AT_WORK_S + 0.5


def test_what_names_no_lock_is_given_up_soon(clock: list[float]) -> None:
    waiting = LockWait()

    assert waiting.goes_on("error: could not lock config file")
    assert any(not waiting.goes_on("error: could not lock config file") for _ in range(MOST))

    assert clock[0] < SAME_LOCK_S + 0.5
    assert lock_in("error: could not lock config file") is None


class SlowGit(GitRunner):
    """Its hooks take longer than one lock is waited for; the first run then meets a lock."""

    def __init__(self) -> None:
        super().__init__({})
        self.runs = 0

    def run_once(self, directory: Path, *arguments: str, **options: Any) -> GitOutput:
        self.runs += 1
        time.sleep(SAME_LOCK_S + 1)
        return GitOutput(status=1, output="", error=told(directory / "HEAD.lock")) if self.runs == 1 else OK


@pytest.mark.usefixtures("clock")
def test_a_write_whose_hook_takes_long_is_tried_again_after_a_lock(tmp_path: Path) -> None:
    place = RepositoryPaths(top=tmp_path, git_directory=tmp_path, common_directory=tmp_path)
    repository = Repository(SlowGit(), place, tmp_path, {})

    assert repository.write(tmp_path, "commit").ok
    assert repository.retries == 1


class ReftableGit(GitRunner):
    """Has a tag with the name of the branch, so a short name is not the branch's alone."""

    def run(self, directory: Path, *arguments: str, **options: Any) -> GitOutput:
        name = "heads/v1" if "--short" in arguments else "refs/heads/v1"
        return GitOutput(status=0, output=f"{name}\n", error="")


def test_a_branch_with_the_name_of_a_tag_is_told_by_its_name_where_only_git_knows_it(tmp_path: Path) -> None:
    (tmp_path / "HEAD").write_text("ref: refs/heads/.invalid\n")
    place = RepositoryPaths(top=tmp_path, git_directory=tmp_path, common_directory=tmp_path)

    assert Repository(ReftableGit({}), place, tmp_path, {}).branch() == "v1"
