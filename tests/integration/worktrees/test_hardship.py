"""Hooks that hang, creators that are killed, many at once, and an environment that should not leak."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from actors.errors import WorkspaceError
from actors.worktrees import create
from actors.worktrees.manager import WorktreeManager
from tests.integration.worktrees.conftest import Place
from tests.processes import ends, runs, tell

_ROOT = Path(__file__).parents[3]
_CREATE = """
import json, sys
from pathlib import Path
from actors.worktrees.manager import WorktreeManager
WorktreeManager(Path(sys.argv[1]), json.loads(sys.argv[3])).create("a", Path(sys.argv[2]), "isolated")
"""


def _wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def creator(place: Place) -> Path:
    """A file filter that stops the first checkout in the middle, until the file ``go`` is there."""
    script = place.base / "filter"
    script.write_text(
        f"#!/bin/sh\nmkdir {place.base}/started 2>/dev/null || exec cat\n"
        f"while [ ! -e {place.base}/go ]; do sleep 0.02; done\nexec cat\n"
    )
    script.chmod(0o755)
    place.commit(place.repository, ".gitattributes", "slow.txt filter=slow\n")
    place.commit(place.repository, "slow.txt")
    place.git(place.repository, "config", "filter.slow.smudge", str(script))
    return place.base / "go"


@contextmanager
def _a_creation_stopped_in_the_middle(place: Place) -> Iterator[tuple[subprocess.Popen[bytes], list[psutil.Process]]]:
    """The process that creates the workspace of ``a``, and those that it started."""
    arguments = [str(place.worktrees), str(place.repository), repr(place.environment).replace("'", '"')]
    environment = {**place.environment, "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen([sys.executable, "-c", _CREATE, *arguments], env=environment)
    try:
        _wait_for((place.base / "started").exists)
        yield process, psutil.Process(process.pid).children(recursive=True)
    finally:
        (place.base / "go").touch()
        process.kill()
        process.wait(10)


def test_a_creation_killed_with_its_git_is_made_anew_under_the_same_name(place: Place, creator: Path) -> None:
    before = place.snapshot()
    with _a_creation_stopped_in_the_middle(place) as (process, family):
        process.kill()
        tell(family)
        process.wait(10)
        psutil.wait_procs(family, timeout=10)
    assert (place.worktrees / "a/.git").exists()
    workspace = place.create("a")
    assert workspace.branch == "phalanx/a"
    assert place.git(workspace.directory, "status", "--porcelain") == ""
    assert place.manager.retire(workspace).kept_reason is None
    assert place.snapshot() == before


def test_a_git_that_outlives_its_creator_is_left_alone_until_it_has_ended(place: Place, creator: Path) -> None:
    with _a_creation_stopped_in_the_middle(place) as (process, family):
        process.kill()
        process.wait(10)
        assert place.create("a").branch == "phalanx/a-2"
    psutil.wait_procs(family, timeout=10)
    assert place.git(place.worktrees / "a", "status", "--porcelain") == ""
    assert place.create("a").branch == "phalanx/a"


def test_a_finished_worktree_is_never_taken_for_an_unfinished_one(place: Place) -> None:
    first = place.create("a")
    second = place.create("a")
    assert (first.branch, second.branch) == ("phalanx/a", "phalanx/a-2")
    assert place.git(first.directory, "status", "--porcelain") == ""


def test_a_hook_that_hangs_is_ended_and_nothing_is_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.hook(f"trap '' TERM; echo $$ > {place.base}/pid; sleep 600")
    before = place.snapshot()
    monkeypatch.setattr(create, "CHECKOUT_TIMEOUT_S", 1.0)
    with pytest.raises(WorkspaceError, match="not done after 1 s"):
        place.create("a")
    assert place.snapshot() == before
    assert ends(int((place.base / "pid").read_text()))


def test_a_checkout_that_hangs_is_ended_and_nothing_is_left(
    place: Place, creator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = place.snapshot()
    monkeypatch.setattr(create, "CHECKOUT_TIMEOUT_S", 1.0)
    with pytest.raises(WorkspaceError, match="not done after 1 s"):
        place.create("a")
    creator.touch()
    assert place.snapshot() == before


def test_a_hook_that_fails_is_a_note(place: Place) -> None:
    place.hook("echo 'no \033[31mlinter' >&2; exit 3")
    workspace = place.create("a")
    assert workspace.notes == ("The repository's post-checkout hook failed: no  [31mlinter",)
    assert place.git(workspace.directory, "status", "--porcelain") == ""
    assert place.manager.retire(workspace).removed


def test_a_checkout_that_fails_leaves_nothing_and_tells_why(place: Place) -> None:
    place.commit(place.repository, ".gitattributes", "big.bin filter=gone\n")
    place.commit(place.repository, "big.bin")
    place.git(place.repository, "config", "filter.gone.smudge", "no-such-program")
    place.git(place.repository, "config", "filter.gone.required", "true")
    before = place.snapshot()
    with pytest.raises(WorkspaceError, match="no-such-program"):
        place.create("a")
    assert place.snapshot() == before


def test_a_child_that_a_hook_leaves_behind_does_not_hold_up_the_creation(place: Place) -> None:
    place.hook(f"sleep 60 & echo $! > {place.base}/pid")
    begin = time.monotonic()
    place.create("a")
    assert time.monotonic() - begin < 10
    daemon = int((place.base / "pid").read_text())
    assert runs(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_neither_git_variables_nor_secrets_reach_git_and_hooks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.hook(f"env > {place.base}/seen; readlink /proc/self/fd/0 >> {place.base}/seen")
    secrets = {"ANTHROPIC_API_KEY": "sk-ant-1", "RAY_AUTH_TOKEN": "t", "GIT_ASKPASS": "/bin/true"}
    traps = {
        name: str(place.base / "trap") for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
    }
    for name, value in {**secrets, **traps}.items():
        monkeypatch.setenv(name, value)
    workspaces = WorktreeManager(place.worktrees, {**place.environment, **secrets, **traps})
    workspace = workspaces.create("a", place.repository, "isolated")
    seen = (place.base / "seen").read_text()
    assert not [name for name in [*secrets, *traps] if f"{name}=" in seen]
    assert "sk-ant-1" not in seen
    assert "GIT_TERMINAL_PROMPT=0" in seen
    assert "/dev/null" in seen
    assert workspaces.retire(workspace).removed


def test_one_id_asked_for_many_times_at_once_gives_as_many_worktrees(place: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: place.create("a"), range(8)))
    assert len({workspace.worktree for workspace in made}) == 8
    assert len({workspace.branch for workspace in made}) == 8
    for workspace in made:
        assert place.git(workspace.directory, "symbolic-ref", "--short", "HEAD") == workspace.branch
        assert place.git(workspace.directory, "status", "--porcelain") == ""


def test_two_homes_asking_for_the_same_id_in_one_repository_never_meet(place: Place) -> None:
    homes = [WorktreeManager(place.base / name, place.environment) for name in ("one", "two")]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(home.create, f"i{n}", place.repository, "isolated") for n in range(8) for home in homes]
        made = [job.result() for job in jobs]
    assert len({workspace.branch for workspace in made}) == 16
    for workspace in made:
        assert place.git(workspace.directory, "symbolic-ref", "--short", "HEAD") == workspace.branch


def test_what_another_home_is_just_making_is_not_taken_for_left_over(place: Place) -> None:
    one, two = (WorktreeManager(place.base / name, place.environment) for name in ("one", "two"))
    half_made = one.create("a", place.repository, "isolated")
    # As git has it for a moment: registered and locked, and its HEAD not yet on the branch.
    place.git(half_made.directory, "checkout", "-q", "--detach")
    place.git(place.repository, "worktree", "lock", "--reason", create._UNFINISHED, str(half_made.directory))
    assert two.create("a", place.repository, "isolated").branch == "phalanx/a-2"
    assert "phalanx/a" in place.branches()


def test_making_and_retiring_at_once_do_not_disturb_each_other(place: Place) -> None:
    before = place.snapshot()

    def come_and_go(number: int) -> None:
        for turn in range(6):
            workspace = place.create(f"i{number}_{turn}")
            assert place.manager.retire(workspace).kept_reason is None

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(come_and_go, range(6)))
    assert place.snapshot() == before


def test_a_worktree_that_another_git_is_half_through_making_is_waited_for(place: Place) -> None:
    place.create("other")
    common_directory_file = place.repository / ".git/worktrees/other/commondir"
    content = common_directory_file.read_text()
    common_directory_file.write_text("")
    with ThreadPoolExecutor(1) as pool:
        creation = pool.submit(place.manager.create, "a", place.repository, "isolated")
        # Made for the first try; the directory is gone again after it.
        _wait_for(lambda: creation.done() or (place.repository / ".git/refs/heads/phalanx/a").exists())
        _wait_for(lambda: creation.done() or not (place.worktrees / "a").exists())
        common_directory_file.write_text(content)
        workspace = creation.result(20)
    assert workspace.branch == "phalanx/a"


def test_a_lock_held_by_another_git_is_waited_for(place: Place) -> None:
    workspace = place.create("a")
    lock = place.repository / ".git/packed-refs.lock"
    lock.touch()
    with ThreadPoolExecutor(1) as pool:
        removal = pool.submit(place.manager.retire, workspace)
        _wait_for(lambda: not workspace.directory.exists())
        lock.unlink()
        assert removal.result(20).branch_deleted
