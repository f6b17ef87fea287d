"""States of a worktree that cannot be saved whole: it is kept as it is, and the reason told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.worktrees import snapshot
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import RemovalResult, Workspace
from actors.worktrees.snapshot import MOST_FILE_BYTES
from tests.integration.worktrees.conftest import Place, photograph

MOST_FILES = 500
"""In place of twenty thousand, which take their time to write."""


def _nest_a_repository(place: Place, tree: Path) -> None:
    place.git(tree, "init", "-q", "nested")
    place.commit(tree / "nested", "file")


def _nest_a_repository_among_packages(place: Place, tree: Path) -> None:
    (place.repository / ".git/info/exclude").write_text("node_modules\n")
    place.git(tree, "init", "-q", "node_modules/fork")


def _start_a_merge(place: Place, tree: Path) -> None:
    place.git(place.repository, "checkout", "-q", "-b", "side")
    place.commit(place.repository, "side.py")
    place.git(tree, "merge", "--no-ff", "--no-commit", "side")
    place.git(tree, "reset", "-q", "--hard", "ORIG_HEAD", check=False)
    place.git(tree, "merge", "--no-ff", "--no-commit", "--strategy=ours", "side", check=False)


def _start_a_rebase(place: Place, tree: Path) -> None:
    place.git(tree, "-c", "sequence.editor=sed -i 1ibreak", "rebase", "-q", "-i", "--root")


def _start_a_bisect(place: Place, tree: Path) -> None:
    place.git(tree, "bisect", "start")


def _keep_a_private_ref(place: Place, tree: Path) -> None:
    place.commit(tree, "new.py")
    place.git(tree, "update-ref", "refs/worktree/try", "HEAD")
    place.git(tree, "reset", "-q", "--hard", "HEAD~1")


def _lock(place: Place, tree: Path) -> None:
    place.git(place.repository, "worktree", "lock", str(tree))


def _lose_the_git_file(place: Place, tree: Path) -> None:
    place.git(place.base, "init", "-q")
    (place.base / ".gitignore").write_text("*")
    (tree / ".git").unlink()


def _point_the_git_file_elsewhere(place: Place, tree: Path) -> None:
    place.git(place.base, "clone", "-q", str(place.repository), "clone")
    place.git(place.base / "clone", "worktree", "add", "--quiet", str(place.base / "elsewhere"))
    (place.base / "elsewhere/.git").rename(tree / ".git")


def _begin_another_repository(place: Place, tree: Path) -> None:
    (tree / ".git").unlink()
    place.git(tree, "init", "-q")
    place.commit(tree, "src/code.py")


def _change_a_submodule(place: Place, tree: Path) -> None:
    place.git(place.base, "clone", "-q", str(place.repository), str(place.base / "other"))
    place.git(tree, "submodule", "--quiet", "add", str(place.base / "other"), "lib")
    place.git(tree, "config", "-f", ".gitmodules", "submodule.lib.ignore", "all")
    place.git(tree, "add", "--all")
    place.git(tree, "commit", "-q", "-m", "Add lib")
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")
    place.commit(tree / "lib", "precious.py")


def _write_where_a_submodule_belongs(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},lib")
    (tree / "lib").mkdir()
    place.git(tree, "commit", "-q", "-m", "Add lib")
    place.git(place.repository, "merge", "-q", "phalanx/spec_1")
    (tree / "lib/notes.txt").write_text("an idea")
    assert place.git(tree, "status", "--porcelain", "--ignored") == ""


def _leave_a_conflict(place: Place, tree: Path) -> None:
    (tree / "src/code.py").write_text("x = 2\n")
    place.git(tree, "stash")
    place.commit(tree, "src/code.py", "x = 3\n")
    place.git(tree, "stash", "apply", check=False)


def _put_a_pipe_in_place_of_a_file(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()
    os.mkfifo(tree / "src/code.py")


def _use_a_name_that_git_refuses(place: Place, tree: Path) -> None:
    (tree / "git~1").write_text("on some file systems this is .git")


def _write_a_large_file(place: Place, tree: Path) -> None:
    os.truncate(_touch(tree / "large"), MOST_FILE_BYTES + 1)


def _write_much(place: Place, tree: Path) -> None:
    for number in range(6):
        os.truncate(_touch(tree / f"large{number}"), MOST_FILE_BYTES)


def _write_many_files(place: Place, tree: Path) -> None:
    (tree / "many").mkdir()
    for number in range(MOST_FILES + 1):
        _touch(tree / f"many/{number}")


def _touch(path: Path) -> Path:
    path.touch()
    return path


@pytest.mark.parametrize(
    ("do", "reason"),
    [
        (_nest_a_repository, "'nested/'"),
        (_nest_a_repository_among_packages, "'node_modules/fork/'"),
        (_start_a_merge, "a merge is under way"),
        (_start_a_rebase, "a rebase is under way"),
        (_start_a_bisect, "a bisect is under way"),
        (_keep_a_private_ref, "refs that belong to it alone"),
        (_lock, "locked"),
        (_lose_the_git_file, "no longer the worktree"),
        (_point_the_git_file_elsewhere, "no longer the worktree"),
        (_begin_another_repository, "no longer the worktree"),
        (_change_a_submodule, "'lib/'"),
        (_write_where_a_submodule_belongs, "'lib/notes.txt'"),
        (_leave_a_conflict, "conflicts are not resolved"),
        (_put_a_pipe_in_place_of_a_file, "no plain file"),
        (_use_a_name_that_git_refuses, "git refuses the names.*git~1"),
        (_write_a_large_file, "larger than 100 MB"),
        (_write_much, "larger than 500 MB together"),
        (_write_many_files, f"{MOST_FILES} are the most"),
    ],
)
@pytest.mark.parametrize("end", [WorktreeManager.retire, WorktreeManager.undo])
def test_work_is_kept_and_the_reason_told(
    workspaces: WorktreeManager,
    workspace: Workspace,
    place: Place,
    do: Callable[[Place, Path], None],
    reason: str,
    end: Callable[[WorktreeManager, Workspace], RemovalResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot, "MOST_FILES", MOST_FILES)
    do(place, workspace.directory)
    before, index = photograph(place.base), (place.repository / ".git/worktrees/spec_1/index").read_bytes()
    removal = end(workspaces, workspace)
    assert not removal.removed
    assert not removal.branch_deleted
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(removal.kept_reason)
    assert str(workspace.worktree) in (removal.kept_reason or "")
    assert (place.repository / ".git/worktrees/spec_1/index").read_bytes() == index
    assert {path for path in photograph(place.base) if b"/objects/" not in path} == {
        path for path in before if b"/objects/" not in path
    }
    assert place.saved() == set()
