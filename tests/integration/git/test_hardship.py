"""Other gits at the same time, locks that are left behind, and a death in the middle."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from actors.git.values import Asked, Checkout, Commit, Merge, ReadStatus
from tests.integration.git.conftest import ALL, Project, branch, refusal, result

ROOT = Path(__file__).resolve().parents[3]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.01)


def locks(project: Project) -> list[Path]:
    return list((project.repository / ".git").rglob("*.lock"))


def test_a_lock_that_another_git_holds_is_waited_for(project: Project) -> None:
    (project.repository / "new").write_text("x")
    held = [project.repository / ".git" / name for name in ("index.lock", "refs/heads/later.lock")]
    for lock in held:
        lock.touch()
    release = threading.Timer(0.3, lambda: list(map(Path.unlink, held)))
    release.start()

    made = project.create(branch("later"))
    committed = project.write(ALL)
    release.join()

    assert result(made[0])["created"]
    assert result(committed)["commit"] == project.git("rev-parse", "HEAD")


def test_a_lock_that_a_dead_git_has_left_is_named_and_nothing_is_changed(project: Project) -> None:
    (project.repository / "new").write_text("x")
    before = project.git("status", "--porcelain=v2", "--branch")
    lock = project.repository / ".git/index.lock"
    lock.touch()

    told = refusal(project.write(ALL))

    assert str(lock) in told
    assert "left its lock behind" in told
    assert lock.exists()
    lock.unlink()
    assert project.git("status", "--porcelain=v2", "--branch") == before


def test_beside_others_that_commit_in_the_same_tree_no_write_fails_for_a_lock(project: Project) -> None:
    ending = threading.Event()

    def disturb() -> None:
        for number in itertools.takewhile(lambda _: not ending.is_set(), itertools.count()):
            (project.repository / "README.md").write_text(str(number))
            command = ["git", "-C", str(project.repository), "commit", "-q", "-m", "theirs", "--only", "README.md"]
            subprocess.run(command, check=False, capture_output=True)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for number in range(8):
            (project.repository / f"mine{number}").write_text("x")
            operation = Commit(message=f"Mine {number}", files=(f"mine{number}",), everything=False)
            outcome = project.write(operation)
            if outcome.error is not None:  # the branch moved while ours was being made, and git says so
                assert "lock ref" in refusal(outcome)
                assert "File exists" not in refusal(outcome)
            result(project.create(branch(f"b{number}"))[0])
    finally:
        ending.set()
        disturber.join()
    assert locks(project) == []


def test_when_the_hands_die_git_ends_what_it_began_and_leaves_no_lock(project: Project) -> None:
    signs = project.base / "signs"
    signs.mkdir()
    project.hook("pre-commit", f"touch {signs}/begun; while [ ! -e {signs}/go ]; do sleep 0.02; done")
    (project.repository / "new").write_text("x")
    command = [sys.executable, "-m", "tests.integration.git.doomed_hands"]
    with subprocess.Popen([*command, project.environment["HOME"], str(project.repository)], cwd=ROOT) as doomed:
        until((signs / "begun").exists, "the commit")
        doomed.kill()
    (signs / "go").touch()
    until(lambda: project.git("log", "-1", "--format=%s") == "All of it", "the end of the commit")
    until(lambda: not locks(project), "the end of git")

    assert result(project.read(ReadStatus()))["clean"]


def test_writes_that_come_after_a_slow_one_are_handed_back_and_not_begun(project: Project) -> None:
    project.hook("pre-commit", "sleep 0.6")
    for tree in (project.repository, project.tree):
        (tree / "new").write_text("x")
    asked = [Asked(directory=tree, operation=ALL) for tree in (project.repository, project.tree)]

    first, second = project.hands.write([*asked])

    assert first is not None
    assert result(first)["commit"]
    assert second is None
    assert project.git("status", "--porcelain", at=project.tree) == "?? new"


def test_a_repository_of_hostile_names_is_only_ever_data(project: Project) -> None:
    names = ["$(touch owned)", "`touch owned`", "; touch owned", "--exec=touch owned", "a\nb", "ünï"]
    for name in names:
        (project.repository / name).write_text("x")

    committed = project.write(Commit(message="--amend $(touch owned)", files=tuple(names), everything=False))

    assert result(committed)["commit"]
    assert project.git("log", "-1", "--format=%s") == "--amend $(touch owned)"
    assert not list(project.base.rglob("owned"))
    assert refusal(project.write(Checkout(branch="--orphan", create=False, start=None)))
    assert refusal(project.write(Merge(branch="--abort", message=None)))
