"""Random changes in a worktree, made with the real git."""

from __future__ import annotations

import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.worktrees.manager import WorktreeManager
from tests.integration.worktrees.conftest import Place, photograph, photograph_of_blobs

_NAMES = st.sampled_from(["a", "b", "src", "src/code.py", "src/new", "d/e", "d/e/f", ".env", "x.log", "out/y", "\n"])
_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "program", "link", "remove", "stage", "unstage", "commit"]),
        _NAMES,
        st.binary(max_size=30),
    ),
    max_size=12,
)


def _apply(place: Place, tree: Path, what: str, name: str, content: bytes) -> None:
    path = tree / name
    if what in {"write", "program", "link", "remove"}:
        for there in (*reversed(path.relative_to(tree).parents), path.relative_to(tree)):
            if there != Path() and ((tree / there).is_symlink() or (tree / there).is_file()):
                (tree / there).unlink()
        shutil.rmtree(path, ignore_errors=True)
    if what in {"write", "program"}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if what == "program" else 0o644)
    elif what == "link":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(content.hex() or "..")
    elif what == "stage":
        place.git(tree, "add", "--force", "--", name, check=False)
    elif what == "unstage":
        place.git(tree, "rm", "--cached", "-r", "-q", "--", name, check=False)
    elif what == "commit":
        place.git(tree, "commit", "-q", "--allow-empty", "-m", "work", check=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES)
def test_whatever_was_done_in_a_worktree_comes_back(
    workspaces: WorktreeManager, place: Place, changes: list[tuple[str, str, bytes]]
) -> None:
    (place.repository / ".git/info/exclude").write_text(".env\n*.log\nout/\n")
    workspace = workspaces.create("random", place.repository, "isolated")
    tree = workspace.directory
    for change in changes:
        _apply(place, tree, *change)
    photo, head = photograph(tree), place.git(tree, "rev-parse", "HEAD")
    staged = place.git(tree, "write-tree")
    removal = workspaces.retire(workspace)
    assert removal.removed
    held = removal.saved_ref or head
    assert photograph_of_blobs(place, held) == photo
    trees = place.git(place.repository, "log", "--format=%T", held).split()
    assert staged in trees
    assert head == place.git(place.repository, "merge-base", held, head)
    # The next example begins anew.
    place.git(place.repository, "branch", "-D", "phalanx/random", check=False)
