"""What is saved comes back byte for byte, whatever it is and however the repository is set up."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.workspace.values import Workspace
from actors.workspace.workspaces import Workspaces
from tests.integration.workspace.conftest import Place, photograph

REF = "refs/phalanx/saved/spec_1"


def _modify(place: Place, tree: Path) -> None:
    (tree / "src/code.py").write_text("x = 2\n")


def _stage(place: Place, tree: Path) -> None:
    _modify(place, tree)
    (tree / "staged only here").write_text("new\n")
    place.git(tree, "add", "--all")


def _stage_and_modify_again(place: Place, tree: Path) -> None:
    _stage(place, tree)
    (tree / "src/code.py").write_text("x = 3\n")


def _stage_and_take_back(place: Place, tree: Path) -> None:
    _stage(place, tree)
    (tree / "src/code.py").write_text("x = 1\n")
    (tree / "staged only here").unlink()


def _announce_a_file(place: Place, tree: Path) -> None:
    (tree / "soon").write_text("not staged yet\n")
    place.git(tree, "add", "--intent-to-add", "soon")


def _leave_untracked(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "status.showUntrackedFiles", "no")
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/notes.txt").write_text("an idea")
    (tree / "empty file").touch()
    (tree / "empty directory").mkdir()


def _leave_ignored(place: Place, tree: Path) -> None:
    (place.repository / ".git/info/exclude").write_text(".env\nbuild/\n*.log\n")
    (tree / ".env").write_text("KEY=1")
    (tree / "src/run.log").write_text("it ran")
    (tree / "build/deep/down").mkdir(parents=True)
    (tree / "build/deep/down/result").write_bytes(bytes(range(256)))
    (tree / "build/link").symlink_to("deep")


def _delete(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()


def _rename(place: Place, tree: Path) -> None:
    place.git(tree, "mv", "src/code.py", "src/program.py")


def _make_executable(place: Place, tree: Path) -> None:
    (tree / "src/code.py").chmod(0o755)
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o700)


def _make_links(place: Place, tree: Path) -> None:
    (tree / "dangling").symlink_to("/nowhere/at all")
    (tree / "to directory").symlink_to("src", target_is_directory=True)
    (tree / "odd target").symlink_to(os.fsdecode(b"odd\n\xff target"))
    (tree / "src/code.py").unlink()
    (tree / "src/code.py").symlink_to("../dangling")


def _make_a_directory_of_a_file(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()
    (tree / "src/code.py").mkdir()
    (tree / "src/code.py/part").write_text("1")


def _make_a_file_of_a_directory(place: Place, tree: Path) -> None:
    (tree / "src/code.py").unlink()
    (tree / "src").rmdir()
    (tree / "src").write_text("1")


def _make_a_link_of_a_directory(place: Place, tree: Path) -> None:
    outside = place.base / "outside"
    outside.mkdir()
    (outside / "code.py").write_text("somebody else's")
    (tree / "src/code.py").unlink()
    (tree / "src").rmdir()
    (tree / "src").symlink_to(outside)


def _use_odd_names(place: Place, tree: Path) -> None:
    for name in (
        b"new\nline",
        b"\xff\xfe",
        b'quo"te',
        b"-rf",
        b" ",
        b"tab\t",
        b"back\\slash",
        b":(top)*",
        b"\x1b[0m",
        b"#",
    ):
        (Path(os.fsdecode(os.fsencode(tree) + b"/" + name))).write_bytes(name)
    (tree / "\u00fc").write_text("composed")
    (tree / "u\u0308").write_text("decomposed")


def _hide_from_status(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--assume-unchanged", "src/code.py")
    _modify(place, tree)


def _skip_in_status(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--skip-worktree", "src/code.py")
    _modify(place, tree)


def _keep_the_time_of_a_file(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.trustctime", "false")
    place.git(place.repository, "config", "core.checkStat", "minimal")
    path = tree / "src/code.py"
    os.utime(path, (1, 1))
    place.git(tree, "update-index", "--refresh")
    _wait_for_the_next_second()
    path.write_text("y = 1\n")
    os.utime(path, (1, 1))
    assert place.git(tree, "status", "--porcelain") == ""


def _wait_for_the_next_second() -> None:
    """Git notes times in seconds."""
    second = int(time.time())
    while int(time.time()) == second:
        time.sleep(0.01)


def _end_lines_in_two_ways(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "core.autocrlf", "true")
    (tree / "src/code.py").write_bytes(b"a\r\nb\nc\r")
    (tree / "new").write_bytes(b"a\r\nb\n")


def _convert_with_a_filter(place: Place, tree: Path) -> None:
    place.git(place.repository, "config", "filter.lossy.clean", "echo nothing left")
    (tree / ".gitattributes").write_text("*.txt filter=lossy\nutf ident working-tree-encoding=UTF-16\n")
    (tree / "a.txt").write_text("all of it")
    (tree / "utf").write_text("$Id: mine $")


def _split_the_index(place: Place, tree: Path) -> None:
    place.git(tree, "update-index", "--split-index")
    _stage_and_modify_again(place, tree)


def _lose_the_index(place: Place, tree: Path) -> None:
    (place.repository / ".git/worktrees/spec_1/index").unlink()


def _leave_a_lock(place: Place, tree: Path) -> None:
    (place.repository / ".git/worktrees/spec_1/index.lock").touch()
    _modify(place, tree)


def _hinder_every_commit(place: Place, tree: Path) -> None:
    for name in ("pre-commit", "commit-msg", "reference-transaction", "post-index-change", "post-checkout"):
        hook = place.repository / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {place.base}/hook-ran\nexit 1\n")
        hook.chmod(0o755)
    for key, value in {"commit.gpgSign": "true", "gpg.program": "false", "user.useConfigOnly": "true"}.items():
        place.git(place.base, "config", "--global", key, value)
    place.git(place.base, "config", "--global", "--unset", "user.email")
    _modify(place, tree)


def _commit_on_the_branch(place: Place, tree: Path) -> None:
    place.commit(tree, "new.py")


def _commit_detached(place: Place, tree: Path) -> None:
    place.git(tree, "checkout", "-q", "--detach")
    place.commit(tree, "new.py")


def _commit_and_modify(place: Place, tree: Path) -> None:
    _commit_on_the_branch(place, tree)
    _modify(place, tree)


STATES = [
    _modify,
    _stage,
    _stage_and_modify_again,
    _stage_and_take_back,
    _announce_a_file,
    _leave_untracked,
    _leave_ignored,
    _delete,
    _rename,
    _make_executable,
    _make_links,
    _make_a_directory_of_a_file,
    _make_a_file_of_a_directory,
    _make_a_link_of_a_directory,
    _use_odd_names,
    _hide_from_status,
    _skip_in_status,
    _keep_the_time_of_a_file,
    _end_lines_in_two_ways,
    _convert_with_a_filter,
    _split_the_index,
    _leave_a_lock,
    _commit_on_the_branch,
    _commit_detached,
    _commit_and_modify,
]


@pytest.mark.parametrize("do", STATES)
def test_every_state_comes_back_as_it_was(
    workspaces: Workspaces, workspace: Workspace, place: Place, do: Callable[[Place, Path], None]
) -> None:
    do(place, workspace.directory)
    photo = photograph(workspace.directory)
    head = place.git(workspace.directory, "rev-parse", "HEAD")
    retirement = workspaces.retire(workspace)
    assert (retirement.removed, retirement.saved_ref) == (True, REF)
    assert REF in (retirement.kept_reason or "")
    assert list(place.worktrees.iterdir()) == []
    assert photograph_of_blobs(place, REF) == photo
    saved = place.git(place.repository, "rev-parse", REF)
    assert head in {saved, place.git(place.repository, "rev-parse", f"{REF}^")}
    assert workspaces.retire(workspace).saved_ref == REF


def photograph_of_blobs(place: Place, ref: str) -> dict[bytes, tuple[str, bytes]]:
    """The tree of ``ref`` as git stores it, without any conversion."""
    kinds = {b"120000": "link", b"100755": "program", b"100644": "file"}
    photo = {}
    for entry in place.git_bytes("ls-tree", "-r", "-z", ref).split(b"\0")[:-1]:
        about, path = entry.split(b"\t", 1)
        mode, _, blob = about.split(b" ")
        photo[path] = (kinds[mode], place.git_bytes("cat-file", "blob", blob.decode()))
    return photo


@pytest.mark.parametrize(
    "do", [_stage_and_modify_again, _leave_ignored, _make_executable, _make_links, _use_odd_names, _commit_and_modify]
)
def test_a_fresh_worktree_of_what_was_saved_is_the_one_that_was_there(
    workspaces: Workspaces, workspace: Workspace, place: Place, do: Callable[[Place, Path], None]
) -> None:
    do(place, workspace.directory)
    photo = photograph(workspace.directory)
    ref = workspaces.retire(workspace).saved_ref
    assert ref is not None
    assert photograph(place.restore(ref)) == photo


@pytest.mark.parametrize("do", [_stage_and_modify_again, _stage_and_take_back])
def test_what_was_staged_comes_back_staged(
    workspaces: Workspaces, workspace: Workspace, place: Place, do: Callable[[Place, Path], None]
) -> None:
    do(place, workspace.directory)
    before = place.git(workspace.directory, "status", "--porcelain")
    staged = place.git(workspace.directory, "diff", "--cached")
    workspaces.retire(workspace)
    again = workspaces.create("spec_2", place.repository, "isolated")
    place.git(again.directory, "stash", "apply", "--index", REF)
    assert place.git(again.directory, "diff", "--cached") == staged
    assert place.git(again.directory, "status", "--porcelain") == before


def test_the_message_tells_what_it_is_and_how_to_get_it_back(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    _stage_and_modify_again(place, workspace.directory)
    _leave_ignored(place, workspace.directory)
    (workspace.directory / "empty").mkdir()
    workspaces.retire(workspace)
    message = place.git(place.repository, "log", "-1", "--format=%an <%ae>%n%B", REF)
    for words in ("Phalanx <", "spec_1", "phalanx/spec_1", "'src/code.py'", "'.env'", "second parent", "'empty'"):
        assert words in message
    command = next(line.strip() for line in message.splitlines() if "git checkout -b" in line)
    place.git(place.repository, *command.split()[1:])
    assert (place.repository / "build/deep/down/result").read_bytes() == bytes(range(256))


def test_a_clean_and_merged_worktree_saves_nothing(workspaces: Workspaces, workspace: Workspace, place: Place) -> None:
    place.git(workspace.directory, "update-index", "--skip-worktree", "src/code.py")
    assert workspaces.save(workspace) is None
    assert workspaces.retire(workspace).saved_ref is None
    assert place.saved() == set()


def test_commits_that_nobody_has_are_held_without_a_further_commit(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    commit = place.commit(workspace.directory, "new.py")
    retirement = workspaces.retire(workspace)
    assert place.git(place.repository, "rev-parse", REF) == commit
    assert not retirement.branch_deleted
    assert place.git(place.repository, "rev-parse", "phalanx/spec_1") == commit


def test_neither_hooks_nor_signing_nor_a_missing_identity_hinder_saving(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    _hinder_every_commit(place, workspace.directory)
    assert workspaces.save(workspace) == REF
    assert not (place.base / "hook-ran").exists()


def test_saving_leaves_files_and_index_as_they_are(workspaces: Workspaces, workspace: Workspace, place: Place) -> None:
    _stage_and_modify_again(place, workspace.directory)
    index = place.repository / ".git/worktrees/spec_1/index"
    os.utime(index, (1, 1))
    state, listing = index.stat(), sorted(index.parent.iterdir())
    photo = photograph(workspace.directory)
    assert workspaces.save(workspace) == REF
    assert photograph(workspace.directory) == photo
    assert (index.stat().st_mtime_ns, index.stat().st_ino) == (state.st_mtime_ns, state.st_ino)
    assert sorted(index.parent.iterdir()) == listing


def test_the_same_state_is_saved_once_and_another_beside_it(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    _stage_and_modify_again(place, workspace.directory)
    first = photograph(workspace.directory)
    assert [workspaces.save(workspace), workspaces.save(workspace)] == [REF, REF]
    (workspace.directory / "more").write_text("more")
    assert [workspaces.save(workspace), workspaces.save(workspace)] == [f"{REF}.2", f"{REF}.2"]
    (workspace.directory / "more").unlink()
    assert workspaces.retire(workspace).saved_ref == REF
    assert place.saved() == {REF, f"{REF}.2"}
    assert photograph_of_blobs(place, REF) == first


def test_a_later_instance_of_the_same_name_does_not_touch_what_was_saved(workspaces: Workspaces, place: Place) -> None:
    refs = []
    for number in range(11):
        workspace = workspaces.create("spec_1", place.repository, "isolated")
        (workspace.directory / "notes").write_text(str(number))
        refs.append(workspaces.retire(workspace).saved_ref)
    assert refs == [REF, *(f"{REF}.{number}" for number in range(2, 12))]
    assert [place.git(place.repository, "show", f"{ref}:notes") for ref in refs] == [str(n) for n in range(11)]


def test_a_worktree_named_like_a_number_does_not_mix_with_another(workspaces: Workspaces, place: Place) -> None:
    pair = [workspaces.create("spec_1", place.repository, "isolated") for _ in range(2)]
    for one in pair:
        (one.directory / "notes").write_text(str(one.branch))
    assert [workspaces.retire(one).saved_ref for one in pair] == [REF, f"{REF}-2"]


def test_what_was_saved_outlives_the_clean_up_of_the_repository(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    _stage_and_take_back(place, workspace.directory)
    workspaces.retire(workspace)
    place.git(place.repository, "reflog", "expire", "--expire=now", "--all")
    place.git(place.repository, "gc", "-q", "--prune=now")
    assert place.git(place.repository, "fsck", "--full", "--strict") == ""
    assert place.git(place.repository, "show", f"{REF}^2:staged only here") == "new"


def test_an_index_that_is_gone_is_taken_for_empty(workspaces: Workspaces, workspace: Workspace, place: Place) -> None:
    _lose_the_index(place, workspace.directory)
    photo = photograph(workspace.directory)
    assert workspaces.retire(workspace).saved_ref == REF
    assert photograph_of_blobs(place, REF) == photo


def test_a_repository_with_longer_hashes_is_saved_too(workspaces: Workspaces, place: Place) -> None:
    shutil.rmtree(place.repository)
    place.git(place.base, "init", "-q", "--object-format=sha256", str(place.repository))
    place.commit(place.repository, "src/code.py")
    workspace = workspaces.create("spec_1", place.repository, "isolated")
    _stage_and_modify_again(place, workspace.directory)
    _make_links(place, workspace.directory)
    photo = photograph(workspace.directory)
    assert workspaces.retire(workspace).saved_ref == REF
    assert photograph_of_blobs(place, REF) == photo


def test_files_outside_a_sparse_checkout_are_not_taken_for_deleted(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    place.commit(workspace.directory, "far/away.txt")
    place.git(workspace.directory, "sparse-checkout", "set", "--sparse-index", "src")
    assert not (workspace.directory / "far").exists()
    _stage_and_modify_again(place, workspace.directory)
    photo = photograph(workspace.directory)
    workspaces.retire(workspace)
    assert photograph_of_blobs(place, REF) == {**photo, b"far/away.txt": ("file", b"text\n")}


def test_many_worktrees_of_one_repository_are_retired_at_once(workspaces: Workspaces, place: Place) -> None:
    team = [workspaces.create(f"spec_{number}", place.repository, "isolated") for number in range(10)]
    for number, one in enumerate(team):
        (one.directory / "notes").write_text(str(number))
    with ThreadPoolExecutor(10) as pool:
        retirements = list(pool.map(workspaces.retire, team))
    refs = [f"refs/phalanx/saved/spec_{number}" for number in range(10)]
    assert [one.saved_ref for one in retirements] == refs
    assert all(one.removed and one.branch_deleted for one in retirements)
    assert [place.git(place.repository, "show", f"{ref}:notes") for ref in refs] == [str(n) for n in range(10)]


def test_two_who_retire_the_same_save_it_once_and_agree(
    workspaces: Workspaces, workspace: Workspace, place: Place
) -> None:
    _stage_and_modify_again(place, workspace.directory)
    with ThreadPoolExecutor(4) as pool:
        retirements = list(pool.map(workspaces.retire, [workspace] * 4))
    assert {(one.removed, one.branch_deleted, one.saved_ref) for one in retirements} == {(True, True, REF)}
    assert place.saved() == {REF}
