"""Retiring that is killed, hindered by a full disk or watched by somebody who writes: nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from actors.errors import WorkspaceError
from actors.worktrees import snapshot
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import Workspace
from tests.integration.worktrees.conftest import Place, photograph, photograph_of_blobs
from tests.processes import tell

REF = "refs/phalanx/saved/spec_1"
_ROOT = Path(__file__).parents[3]
_RETIRE = """
import json, sys
from pathlib import Path
from actors.worktrees.model import Workspace
from actors.worktrees.manager import WorktreeManager
root, environment, worktree, git_directory, base = sys.argv[1:]
workspaces = WorktreeManager(Path(root), json.loads(environment))
workspace = Workspace(mode="isolated", directory=Path(worktree), worktree=Path(worktree),
    git_directory=Path(git_directory), branch="phalanx/spec_1", base_commit=base)
sys.stdin.readline()
workspaces.retire(workspace)
"""


def _make_work(place: Place, tree: Path) -> None:
    (tree / "src/code.py").write_text("x = 2\n")
    place.git(tree, "add", "--all")
    (tree / "src/code.py").write_text("x = 3\n")
    for number in range(40):
        path = tree / f"d{number % 5}/file {number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number) * 50)


@contextmanager
def _a_retirement(place: Place, workspace: Workspace) -> Iterator[subprocess.Popen[bytes]]:
    """A process that retires the workspace as soon as it is sent a line."""
    words = [place.worktrees, json.dumps(place.environment), workspace.worktree, workspace.git_directory]
    command = [sys.executable, "-c", _RETIRE, *map(str, words), str(workspace.base_commit)]
    environment = {**place.environment, "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        if process.stdin is not None:
            process.stdin.close()


def _start(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()


def _kill_with_its_gits(process: subprocess.Popen[bytes]) -> None:
    family: list[psutil.Process] = []
    if process.poll() is None:
        process.send_signal(signal.SIGSTOP)  # or it would start another git after we looked
        family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    tell(family)
    process.wait(10)
    psutil.wait_procs(family, timeout=10)


@pytest.mark.parametrize("step", range(14))
def test_a_retirement_killed_at_any_moment_is_finished_by_the_next(
    place: Place, workspace: Workspace, step: int
) -> None:
    _make_work(place, workspace.directory)
    photo = photograph(workspace.directory)
    with _a_retirement(place, workspace) as process:
        _start(process)
        deadline_s = time.monotonic() + step * 0.05
        while time.monotonic() < deadline_s and process.poll() is None:
            time.sleep(0.005)
        _kill_with_its_gits(process)
    worktree_is_whole = workspace.directory.exists() and photograph(workspace.directory) == photo
    assert worktree_is_whole or photograph_of_blobs(place, REF) == photo
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.branch_deleted) == (True, True)
    assert photograph_of_blobs(place, removal.saved_ref or "") == photo
    locked = (place.repository / f".git/{REF}.lock").exists()  # a git that was killed while it wrote the ref
    assert place.saved() == {f"{REF}.2" if locked else REF}
    assert list(place.worktrees.iterdir()) == []
    assert place.branches() == {"main"}
    assert place.create("spec_1").branch == "phalanx/spec_1"


def test_retiring_while_the_repository_is_cleaned_up_loses_nothing(place: Place) -> None:
    for number in range(40):
        place.commit(place.repository, f"file{number}")
    team = [place.create(f"spec_{number}") for number in range(6)]
    for one in team:
        _make_work(place, one.directory)
    photos = [photograph(one.directory) for one in team]
    done = threading.Event()

    def clean_up() -> int:
        rounds = 0
        while not done.is_set():
            place.git(place.repository, "gc", "-q", check=False)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        cleaner = pool.submit(clean_up)
        try:
            retirements = list(pool.map(place.manager.retire, team))
        finally:
            done.set()
        assert cleaner.result(60) > 0
    for removal, photo in zip(retirements, photos, strict=True):
        assert removal.removed
        assert photograph_of_blobs(place, removal.saved_ref or "") == photo
    assert place.git(place.repository, "fsck", "--full", "--strict") == ""


def test_somebody_who_goes_on_writing_keeps_the_worktree(
    place: Place, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshot._walk

    def write_and_walk(worktree: Path) -> dict[str, list[str] | None]:
        with (worktree / "log").open("a") as log:
            log.write("and on\n")
        return taken(worktree)

    monkeypatch.setattr(snapshot, "_walk", write_and_walk)
    removal = place.manager.retire(workspace)
    assert not removal.removed
    assert "something still writes in it" in (removal.kept_reason or "")
    assert (workspace.directory / "log").exists()


def test_what_is_written_while_it_is_saved_is_saved_too(
    place: Place, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.directory / "log").write_text("one\n")
    looked = []
    taken = snapshot._walk

    def write_once_and_walk(worktree: Path) -> dict[str, list[str] | None]:
        looked.append(worktree)
        if len(looked) == 2:
            (worktree / "log").write_text("two\n")
        return taken(worktree)

    monkeypatch.setattr(snapshot, "_walk", write_once_and_walk)
    removal = place.manager.retire(workspace)
    assert removal.removed
    assert place.git(place.repository, "show", f"{removal.saved_ref}:log") == "two"


def _git_that(place: Place, script: str) -> WorktreeManager:
    """Workspaces whose git is a script of the test's own, with the real one as ``$GIT``."""
    directory = place.base / "bin"
    directory.mkdir()
    (directory / "git").write_text(f"#!/bin/bash\nGIT={shutil.which('git')}\n{script}\n")
    (directory / "git").chmod(0o755)
    return WorktreeManager(place.worktrees, {**place.environment, "PATH": f"{directory}:{os.environ['PATH']}"})


def test_a_disk_that_takes_no_more_keeps_the_worktree(place: Place, workspace: Workspace) -> None:
    (workspace.directory / "large").write_bytes(os.urandom(3_000_000))
    photo = photograph(workspace.directory)
    full = _git_that(place, 'ulimit -f 1000; exec "$GIT" "$@"')
    removal = full.retire(workspace)
    assert not removal.removed
    assert removal.saved_ref is None
    assert photograph(workspace.directory) == photo
    with pytest.raises(WorkspaceError, match="was not saved"):
        full.save(workspace)
    assert place.saved() == set()
    assert place.manager.retire(workspace).saved_ref == REF


@pytest.mark.parametrize("verb", ["write-tree", "hash-object", "update-index", "commit-tree", "update-ref", "rev-list"])
def test_a_git_that_fails_at_any_step_keeps_the_worktree(place: Place, workspace: Workspace, verb: str) -> None:
    _make_work(place, workspace.directory)
    photo = photograph(workspace.directory)
    failing = _git_that(
        place,
        f'for word; do [ "$word" = {verb} ] && {{ echo "fatal: No space left on device" >&2; exit 128; }}; done\n'
        'exec "$GIT" "$@"',
    )
    removal = failing.retire(workspace)
    assert not removal.removed
    assert "No space left" in (removal.kept_reason or "")
    assert photograph(workspace.directory) == photo
    assert place.manager.retire(workspace).saved_ref == REF
    assert photograph_of_blobs(place, REF) == photo


@pytest.mark.parametrize("verb", ["write-tree", "hash-object", "update-index", "commit-tree", "update-ref", "rev-list"])
def test_an_upkeep_that_takes_a_directory_from_under_git_costs_only_another_try(
    workspace: Workspace, place: Place, verb: str
) -> None:
    _make_work(place, workspace.directory)
    photo = photograph(workspace.directory)
    met = place.base / "met"
    words = "error: unable to create temporary file: No such file or directory"
    hindered = _git_that(
        place,
        f'for word; do [ "$word" = {verb} ] && mkdir {met} 2>&- && {{ echo "{words}" >&2; exit 128; }}; done\n'
        'exec "$GIT" "$@"',
    )
    removal = hindered.retire(workspace)
    assert met.exists()
    assert removal.removed
    assert photograph_of_blobs(place, REF) == photo


def test_a_git_that_stores_something_else_is_found_out(workspace: Workspace, place: Place) -> None:
    (workspace.directory / "a").write_text("one")
    (workspace.directory / "b").write_text("two")
    lying = _git_that(place, 'case " $* " in *" hash-object "*) "$GIT" "$@" | tac;; *) exec "$GIT" "$@";; esac')
    removal = lying.retire(workspace)
    assert not removal.removed
    assert "not what was saved" in (removal.kept_reason or "")
    assert place.saved() == set()


def test_a_lock_that_a_killed_git_has_left_on_the_ref_does_not_hinder_saving(
    place: Place, workspace: Workspace
) -> None:
    (workspace.directory / "notes").write_text("an idea")
    lock = place.repository / f".git/{REF}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert place.manager.retire(workspace).saved_ref == f"{REF}.2"
    assert place.git(place.repository, "show", f"{REF}.2:notes") == "an idea"


def test_a_registration_that_git_deletes_only_in_part_is_deleted_all_the_same(
    place: Place, workspace: Workspace
) -> None:
    registration = place.repository / ".git/worktrees/spec_1"
    hindered = _git_that(
        place,
        f'case " $* " in *" worktree remove "*) rm {registration}/gitdir {registration}/HEAD; touch {registration}/x;\n'
        "echo \"error: failed to delete '{registration}': Directory not empty\" >&2; exit 128;;\n"
        'esac; exec "$GIT" "$@"',
    )
    assert hindered.retire(workspace).branch_deleted
    assert not registration.exists()


def test_a_directory_that_may_not_be_written_in_goes_all_the_same(place: Place, workspace: Workspace) -> None:
    (workspace.directory / "src/locked").mkdir()
    (workspace.directory / "src/locked/file").write_text("x")
    (workspace.directory / "src/locked").chmod(0o555)
    assert place.manager.retire(workspace).removed
    assert not workspace.directory.exists()
