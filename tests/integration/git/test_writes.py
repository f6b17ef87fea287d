"""Other gits at the same time, locks that are left behind, failures and a death in the middle."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from actors.git import reads
from actors.git.executor import GitExecutor
from actors.git.layout import find_place
from actors.git.model import Checkout, Commit, GitRequest, Merge, ReadDiff, ReadLog, ReadStatus
from actors.git.process import GitOutput, GitRunner
from actors.git.repository import Repository
from tests.integration.git.conftest import ALL, ROOT, Project, branch, refusal, result, until


def locks(project: Project) -> list[Path]:
    return list((project.repository / ".git").rglob("*.lock"))


@pytest.mark.parametrize("lock", ["index.lock", "refs/heads/later.lock"])
def test_a_lock_that_another_git_holds_is_waited_for_and_told(project: Project, lock: str) -> None:
    (project.repository / "new").write_text("x")
    held = project.repository / ".git" / lock
    held.touch()
    release = threading.Timer(0.3, held.unlink)
    release.start()

    if lock == "index.lock":
        committed = project.write(ALL)
        assert result(committed)["commit"] == project.git("rev-parse", "HEAD")
        assert committed.retries > 0
    else:
        assert result(project.create(branch("later"))[0])["created"]  # git itself waits for the lock of a ref
    release.join()


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


def test_beside_others_that_commit_in_the_same_tree_no_write_fails(project: Project) -> None:
    ending = threading.Event()

    def disturb() -> None:
        for number in itertools.takewhile(lambda _: not ending.is_set(), itertools.count()):
            (project.repository / "README.md").write_text(str(number))
            # Without the upkeep that git begins in the background, which may hold a lock of its own at the end.
            their_git = ["git", "-C", str(project.repository), "-c", "maintenance.auto=false"]
            command = [*their_git, "commit", "-q", "-m", "theirs", "--only", "README.md"]
            subprocess.run(command, check=False, capture_output=True)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for number in range(8):
            (project.repository / f"mine{number}").write_text("x")
            operation = Commit(message=f"Mine {number}", files=(f"mine{number}",), everything=False)
            outcome = project.write(operation)
            assert project.git("show", "--format=", "--name-only", str(result(outcome)["commit"])) == f"mine{number}"
            result(project.create(branch(f"b{number}"))[0])
    finally:
        ending.set()
        disturber.join()
    assert locks(project) == []


MOVE_THE_BRANCH = "git update-ref HEAD $(git commit-tree -p HEAD -m theirs HEAD^{tree})"


@pytest.mark.parametrize(
    ("hook", "subjects"),
    [("pre-commit", ["All of it", "theirs", "Start"]), ("post-commit", ["theirs", "All of it", "Start"])],
)
def test_a_commit_beside_which_another_git_moves_the_branch_is_made_and_told_by_its_own_name(
    project: Project, hook: str, subjects: list[str]
) -> None:
    project.hook(hook, f"mkdir {project.base}/met 2>&- && {MOVE_THE_BRANCH}; true")
    (project.repository / "new").write_text("x")

    commit = str(result(project.write(ALL))["commit"])

    assert project.git("log", "--format=%s").splitlines() == subjects
    assert project.git("show", "--no-patch", "--format=%s", commit) == "All of it"
    assert project.git("show", "--format=", "--name-only", commit) == "new"


def test_a_commit_whose_staged_files_another_git_forgets_stages_them_again(project: Project) -> None:
    """As one does that has read the index before and writes it after ours."""
    programs = project.base / "programs"
    programs.mkdir()
    real = shutil.which("git")
    forget = (
        f'case " $* " in *" commit "*) mkdir {project.base}/met 2>&- && {real} -C {project.repository} reset -q;; esac'
    )
    (programs / "git").write_text(f'#!/bin/bash\n{forget}\nexec {real} "$@"\n')
    (programs / "git").chmod(0o755)
    (project.repository / "mine").write_text("x")
    executor = GitExecutor({**project.environment, "PATH": f"{programs}:{os.environ['PATH']}"})
    mine = Commit(message="Mine", files=("mine",), everything=False)

    (committed,) = executor.write([GitRequest(directory=project.repository, operation=mine)])

    assert (project.base / "met").exists()
    assert committed is not None
    assert result(committed)["commit"] == project.git("rev-parse", "HEAD")
    assert project.git("show", "--format=", "--name-only") == "mine"


def test_when_the_executor_dies_git_ends_what_it_began_and_leaves_no_lock(project: Project) -> None:
    signs = project.base / "signs"
    signs.mkdir()
    project.hook("pre-commit", f"touch {signs}/begun; while [ ! -e {signs}/go ]; do sleep 0.02; done")
    (project.repository / "new").write_text("x")
    command = [sys.executable, "-m", "tests.integration.git.doomed_executor"]
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
    asked = [GitRequest(directory=tree, operation=ALL) for tree in (project.repository, project.tree)]

    first, second = project.executor.write([*asked])

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


def _unreadable_index(project: Project) -> None:
    index = project.repository / ".git/worktrees/tree/index"
    index.unlink()
    index.mkdir()


def test_a_write_that_the_file_system_refuses_fails_alone(project: Project) -> None:
    for tree in (project.repository, project.tree):
        (tree / "README.md").write_text("changed\n")
    _unreadable_index(project)
    (project.repository / "b").write_text("b")

    first, second, third = project.executor.write(
        [
            GitRequest(
                directory=project.repository, operation=Commit(message="1", files=("README.md",), everything=False)
            ),
            GitRequest(directory=project.tree, operation=ALL),
            GitRequest(directory=project.repository, operation=branch("new")),
        ]
    )

    assert first is not None
    assert second is not None
    assert third is not None
    assert result(first)["commit"] == project.git("rev-parse", "HEAD")
    assert "file system refused" in refusal(second)
    assert result(third)["created"]


def test_new_branches_where_the_file_system_refuses_fail_without_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(creations: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("actors.git.executor.create", broken)
    (project.repository / "README.md").write_text("changed\n")

    made, done = project.executor.write(
        [
            GitRequest(directory=project.repository, operation=branch("new")),
            GitRequest(directory=project.repository, operation=ALL),
        ]
    )

    assert made is not None
    assert "Permission denied" in refusal(made)
    assert done is None or result(done)["commit"]


@pytest.mark.parametrize("trouble", ["vanishes after it was listed", "vanishes before", "may not be read"])
def test_a_status_is_told_though_a_directory_cannot_be_looked_into(
    project: Project, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    below = project.repository / "below"
    below.mkdir()
    (below / "file").write_text("x")
    scandir = os.scandir

    def troubled(path: str) -> object:
        if path != str(below):
            return scandir(path)
        if trouble == "may not be read":
            raise PermissionError(13, "Permission denied", path)
        entries = list(scandir(path))
        shutil.rmtree(below)
        return nullcontext(entries) if trouble == "vanishes after it was listed" else scandir(path)

    monkeypatch.setattr("actors.git.fingerprint.os.scandir", troubled)

    outcome = project.read(ReadStatus())

    assert result(outcome)["untracked"] == ["below/file"]
    assert outcome.fingerprint is None


def test_names_and_contents_that_are_no_utf8_can_be_sent(project: Project) -> None:
    (project.repository / "README.md").write_bytes(b"caf\xe9\n")
    for tree in (project.repository, project.tree):
        Path(os.fsdecode(os.fsencode(tree) + b"/caf\xe9")).write_text(str(tree))
        project.git("add", "--all", at=tree)
        project.git("commit", "-q", "-m", "x", at=tree)
    Path(os.fsdecode(os.fsencode(project.repository) + b"/th\xe9")).write_text("x")
    (project.repository / "README.md").write_bytes(b"th\xe9\n")

    status = project.read(ReadStatus())
    diff = project.read(ReadDiff(base=None, head=None, staged=False))
    conflict = project.write(Merge(branch="member", message=None))

    assert result(status)["untracked"] == ["th\ufffd"]
    assert "+th\ufffd" in str(result(diff)["patch"])
    assert conflict.result == {"conflicts": ["caf\ufffd"]}
    for outcome in (status, diff, conflict):
        json.dumps([outcome.result, outcome.error], ensure_ascii=False).encode()


def test_a_start_with_an_odd_line_end_fails_alone(project: Project) -> None:
    made = project.create(branch("a", "x\u2028main\x85y"), branch("b", "main"), branch("c", "member"))

    assert "There is no commit" in refusal(made[0])
    assert [result(each)["created"] for each in made[1:]] == [True, True]


def test_of_a_huge_diff_only_the_beginning_is_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_MOST_DIFF_BYTES", 1_000)
    for name in ("a", "b"):
        (project.repository / name).write_text("line\n" * 100_000)
    project.git("add", "--all")

    cut = result(project.read(ReadDiff(base=None, head=None, staged=True)))
    monkeypatch.setattr(reads, "_MOST_DIFF_BYTES", 20)
    short = result(project.read(ReadDiff(base=None, head=None, staged=True)))

    assert cut["files"] == [{"path": name, "added": 100_000, "deleted": 0} for name in ("a", "b")]
    assert len(str(cut["patch"])) < 1_000
    assert (cut["truncated"], short["truncated"]) == (True, True)
    assert short["files"] == [{"path": "a", "added": 100_000, "deleted": 0}]


def test_where_refs_are_kept_in_tables_git_is_asked_for_the_branch(project: Project) -> None:
    """As git writes HEAD then; the table itself needs a newer git."""
    place = find_place(project.repository)
    assert place is not None
    repo = Repository(GitRunner(project.environment), place, project.repository, {})
    (project.repository / ".git/HEAD").write_text("ref: refs/heads/.invalid\n")
    asked = repo.read
    repo.read = lambda *words, **more: (  # type: ignore[method-assign]
        GitOutput(status=0, output="refs/heads/main\n", error="")
        if words[0] == "symbolic-ref"
        else asked(*words, **more)
    )

    assert repo.head().branch == "main"


def test_whoever_git_does_not_know_is_told_how_to_make_a_name_known(project: Project) -> None:
    project.git("config", "--remove-section", "user")
    project.git("config", "user.useConfigOnly", "true")
    (project.repository / "new").write_text("x")

    told = refusal(project.write(ALL))

    assert "Please tell me who you are" in told
    assert "git config --global user.email" in told
    assert "auto-detection is disabled" in told


def test_the_log_of_a_commit_that_cannot_be_read_fails_alone(project: Project) -> None:
    commit = project.commit("a", at=project.tree)
    (project.repository / ".git/objects" / commit[:2] / commit[2:]).unlink()
    log = ReadLog(revision=None, limit=3)
    trees = (project.repository, project.tree)
    here, there = project.executor.read([GitRequest(directory=each, operation=log) for each in trees])

    assert here.error is None
    assert there.error is not None
