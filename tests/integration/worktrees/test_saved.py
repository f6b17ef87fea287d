"""What is saved comes back byte for byte, whatever it is and however the repository is set up."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.worktrees.model import Workspace
from tests.integration.worktrees.conftest import Place, photograph, photograph_of_blobs
from tests.integration.worktrees.states import COMMITS_HINDERED, CONVERTED_BACK, NOTEBOOK, STATES

REF = "refs/phalanx/saved/spec_1"
STAGED_TWICE = "staged, then modified again"


@pytest.mark.parametrize("state", STATES)
def test_every_state_comes_back_as_it_was(place: Place, workspace: Workspace, state: str) -> None:
    place.leave(workspace.directory, STATES[state])
    photo = photograph(workspace.directory)
    head = place.git(workspace.directory, "rev-parse", "HEAD")
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.saved_ref) == (True, REF)
    assert "What was only in its worktree was saved first" in (removal.kept_reason or "")
    assert list(place.worktrees.iterdir()) == []
    assert photograph_of_blobs(place, REF) == photo
    saved = place.git(place.repository, "rev-parse", REF)
    assert head in {saved, place.git(place.repository, "rev-parse", f"{REF}^")}
    assert place.manager.retire(workspace).saved_ref == REF


@pytest.mark.parametrize(
    "state", [STAGED_TWICE, "ignored", "executable", "links", "odd names", "committed and modified"]
)
def test_a_fresh_worktree_of_what_was_saved_is_the_one_that_was_there(
    place: Place, workspace: Workspace, state: str
) -> None:
    place.leave(workspace.directory, STATES[state])
    photo = photograph(workspace.directory)
    ref = place.manager.retire(workspace).saved_ref
    assert ref is not None
    assert photograph(place.restore(ref)) == photo


@pytest.mark.parametrize("state", [STAGED_TWICE, "staged, then taken back"])
def test_what_was_staged_comes_back_staged(place: Place, workspace: Workspace, state: str) -> None:
    place.leave(workspace.directory, STATES[state])
    before = place.git(workspace.directory, "status", "--porcelain")
    staged = place.git(workspace.directory, "diff", "--cached")
    place.manager.retire(workspace)
    again = place.create("spec_2")
    place.git(again.directory, "stash", "apply", "--index", REF)
    assert place.git(again.directory, "diff", "--cached") == staged
    assert place.git(again.directory, "status", "--porcelain") == before


def test_the_message_tells_what_it_is_and_how_to_get_it_back(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, STATES[STAGED_TWICE])
    place.leave(workspace.directory, STATES["ignored"])
    (workspace.directory / "empty").mkdir()
    place.manager.retire(workspace)
    message = place.git(place.repository, "log", "-1", "--format=%an <%ae>%n%B", REF)
    for words in ("Phalanx <", "spec_1", "phalanx/spec_1", "'src/code.py'", "'.env'", "second parent", "'empty'"):
        assert words in message
    command = next(line.strip() for line in message.splitlines() if "git checkout -b" in line)
    place.git(place.repository, *command.split()[1:])
    assert (place.repository / "build/deep/down/result").read_bytes() == bytes(range(256))


def test_a_clean_and_merged_worktree_saves_nothing(place: Place, workspace: Workspace) -> None:
    place.git(workspace.directory, "update-index", "--skip-worktree", "src/code.py")
    assert place.manager.save(workspace) is None
    assert place.manager.retire(workspace).saved_ref is None
    assert place.saved() == set()


def test_what_git_converts_back_as_it_was_is_not_saved_once_more(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, CONVERTED_BACK)
    photo = photograph(workspace.directory)
    removal = place.manager.retire(workspace)
    assert (removal.removed, removal.saved_ref) == (True, None)
    assert photograph(place.restore("main")) == photo


def test_the_message_tells_how_to_get_back_what_a_filter_would_strip(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, STATES["a notebook that was run after it was committed"])
    removal = place.manager.retire(workspace)
    assert "git's filters do not keep all of some files in it ('a.ipynb')" in (removal.kept_reason or "")
    message = place.git(place.repository, "log", "-1", "--format=%B", REF)
    command = next(line for line in message.splitlines() if "git cat-file blob" in line).split(": ", 1)[1]
    words = command.replace("PATH", "a.ipynb").split(" > ")[0].split()
    assert place.git_bytes(*words[1:]) == NOTEBOOK


def test_commits_that_nobody_has_are_held_without_a_further_commit(place: Place, workspace: Workspace) -> None:
    commit = place.commit(workspace.directory, "new.py")
    removal = place.manager.retire(workspace)
    assert place.git(place.repository, "rev-parse", REF) == commit
    assert not removal.branch_deleted
    assert place.git(place.repository, "rev-parse", "phalanx/spec_1") == commit


def test_neither_hooks_nor_signing_nor_a_missing_identity_hinder_saving(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, COMMITS_HINDERED)
    assert place.manager.save(workspace) == REF
    assert not (place.base / "hook-ran").exists()


def test_saving_leaves_files_and_index_as_they_are(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, STATES[STAGED_TWICE])
    index = place.repository / ".git/worktrees/spec_1/index"
    os.utime(index, (1, 1))
    state, listing = index.stat(), sorted(index.parent.iterdir())
    photo = photograph(workspace.directory)
    assert place.manager.save(workspace) == REF
    assert photograph(workspace.directory) == photo
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == (state.st_mtime_ns, state.st_ino)
    assert sorted(index.parent.iterdir()) == listing


def test_the_same_state_is_saved_once_and_another_beside_it(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, STATES[STAGED_TWICE])
    first = photograph(workspace.directory)
    assert [place.manager.save(workspace), place.manager.save(workspace)] == [REF, REF]
    (workspace.directory / "more").write_text("more")
    assert [place.manager.save(workspace), place.manager.save(workspace)] == [f"{REF}.2", f"{REF}.2"]
    (workspace.directory / "more").unlink()
    assert place.manager.retire(workspace).saved_ref == REF
    assert place.saved() == {REF, f"{REF}.2"}
    assert photograph_of_blobs(place, REF) == first


def test_a_later_instance_of_the_same_name_does_not_touch_what_was_saved(place: Place) -> None:
    refs = []
    for number in range(11):
        workspace = place.create("spec_1")
        (workspace.directory / "notes").write_text(str(number))
        refs.append(place.manager.retire(workspace).saved_ref)
    assert refs == [REF, *(f"{REF}.{number}" for number in range(2, 12))]
    assert [place.git(place.repository, "show", f"{ref}:notes") for ref in refs] == [str(n) for n in range(11)]


def test_a_worktree_named_like_a_number_does_not_mix_with_another(place: Place) -> None:
    pair = [place.create("spec_1") for _ in range(2)]
    for one in pair:
        (one.directory / "notes").write_text(str(one.branch))
    assert [place.manager.retire(one).saved_ref for one in pair] == [REF, f"{REF}-2"]


def test_what_was_saved_outlives_the_clean_up_of_the_repository(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, STATES["staged, then taken back"])
    place.manager.retire(workspace)
    place.git(place.repository, "reflog", "expire", "--expire=now", "--all")
    place.git(place.repository, "gc", "-q", "--prune=now")
    assert place.git(place.repository, "fsck", "--full", "--strict") == ""
    assert place.git(place.repository, "show", f"{REF}^2:staged only here") == "new"


def test_an_index_that_is_gone_is_taken_for_empty(place: Place, workspace: Workspace) -> None:
    (place.repository / ".git/worktrees/spec_1/index").unlink()
    photo = photograph(workspace.directory)
    assert place.manager.retire(workspace).saved_ref == REF
    assert photograph_of_blobs(place, REF) == photo


def test_a_repository_with_longer_hashes_is_saved_too(place: Place) -> None:
    shutil.rmtree(place.repository)
    place.git(place.base, "init", "-q", "--object-format=sha256", str(place.repository))
    place.commit(place.repository, "src/code.py")
    workspace = place.create("spec_1")
    place.leave(workspace.directory, STATES[STAGED_TWICE])
    place.leave(workspace.directory, STATES["links"])
    photo = photograph(workspace.directory)
    assert place.manager.retire(workspace).saved_ref == REF
    assert photograph_of_blobs(place, REF) == photo


def test_files_outside_a_sparse_checkout_are_not_taken_for_deleted(place: Place, workspace: Workspace) -> None:
    place.commit(workspace.directory, "far/away.txt")
    place.git(workspace.directory, "sparse-checkout", "set", "--sparse-index", "src")
    assert not (workspace.directory / "far").exists()
    place.leave(workspace.directory, STATES[STAGED_TWICE])
    photo = photograph(workspace.directory)
    place.manager.retire(workspace)
    assert photograph_of_blobs(place, REF) == {**photo, b"far/away.txt": ("file", b"text\n")}


def test_many_worktrees_of_one_repository_are_retired_at_once(place: Place) -> None:
    team = [place.create(f"spec_{number}") for number in range(10)]
    for number, one in enumerate(team):
        (one.directory / "notes").write_text(str(number))
    with ThreadPoolExecutor(10) as pool:
        retirements = list(pool.map(place.manager.retire, team))
    refs = [f"refs/phalanx/saved/spec_{number}" for number in range(10)]
    assert [one.saved_ref for one in retirements] == refs
    assert all(one.removed and one.branch_deleted for one in retirements)
    assert [place.git(place.repository, "show", f"{ref}:notes") for ref in refs] == [str(n) for n in range(10)]


def test_two_who_retire_the_same_save_it_once_and_agree(place: Place, workspace: Workspace) -> None:
    place.leave(workspace.directory, STATES[STAGED_TWICE])
    with ThreadPoolExecutor(4) as pool:
        retirements = list(pool.map(place.manager.retire, [workspace] * 4))
    assert {(one.removed, one.branch_deleted, one.saved_ref) for one in retirements} == {(True, True, REF)}
    assert place.saved() == {REF}


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
def test_whatever_was_done_in_a_worktree_comes_back(place: Place, changes: list[tuple[str, str, bytes]]) -> None:
    (place.repository / ".git/info/exclude").write_text(".env\n*.log\nout/\n")
    workspace = place.create("random")
    tree = workspace.directory
    for change in changes:
        _apply(place, tree, *change)
    photo, head = photograph(tree), place.git(tree, "rev-parse", "HEAD")
    staged = place.git(tree, "write-tree")
    removal = place.manager.retire(workspace)
    assert removal.removed
    held = removal.saved_ref or head
    assert photograph_of_blobs(place, held) == photo
    trees = place.git(place.repository, "log", "--format=%T", held).split()
    assert staged in trees
    assert head == place.git(place.repository, "merge-base", held, head)
    # The next example begins anew.
    place.git(place.repository, "branch", "-D", "phalanx/random", check=False)
