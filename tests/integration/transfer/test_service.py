"""Work that travels between hosts: bundles, mirrors, spares, and copies of files."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.layout import find_place
from actors.git.process import GitRunner
from actors.starts import Starts
from actors.transfer.bundles import PIECE_BYTES, BundleStore, StartPoint
from actors.transfer.service import TransferService
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import Workspace
from tests.integration.transfer.conftest import ENVIRONMENT, Hosts, commit
from tests.projects import git


async def test_an_instance_works_on_a_host_without_the_repository_as_on_the_one_that_has_it(hosts: Hosts) -> None:
    hosts.commit("src/a.txt", b"a\n")

    origin, workspace = await hosts.start("spec_0_0_1", hosts.repository / "src")

    assert workspace.directory == hosts.root / "worker" / "worktrees" / "spec_0_0_1" / "src"
    assert (workspace.directory / "a.txt").read_text() == "a\n"
    assert workspace.branch == origin.branch == "phalanx/spec_0_0_1"
    assert git(hosts.repository, "rev-parse", "phalanx/spec_0_0_1") == git(hosts.repository, "rev-parse", "main")
    assert git(workspace.directory, "config", "user.name") == "Tester"
    assert hosts.left_in_transit() == []


async def test_work_comes_home_on_its_branch_and_can_be_merged_there(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    tip = commit(workspace, "new.txt")

    arrival = await hosts.carry(origin, workspace)

    assert arrival.note == ""
    assert git(hosts.repository, "rev-parse", "phalanx/spec_0_0_1") == tip
    assert git(hosts.repository, "rev-parse", "refs/phalanx/instances/spec_0_0_1") == tip
    git(hosts.repository, "merge", "-q", "phalanx/spec_0_0_1")
    assert (hosts.repository / "new.txt").exists()
    git(hosts.repository, "fsck", "--strict")
    assert hosts.left_in_transit() == []


async def test_what_was_carried_once_is_not_carried_again(hosts: Hosts) -> None:
    hosts.commit("large.bin", os.urandom(3_000_000))
    await hosts.start("spec_0_0_1")
    first = sum(hosts.to_worker.pieces)

    await hosts.start("spec_0_0_2")
    assert sum(hosts.to_worker.pieces) == first

    hosts.commit("small.txt", b"small\n")
    origin, workspace = await hosts.start("spec_0_0_3")

    assert first > 3_000_000
    assert sum(hosts.to_worker.pieces) - first < 2000
    commit(workspace, "new.txt")
    await hosts.carry(origin, workspace)
    assert sum(hosts.to_head.pieces) < 2000
    await hosts.carry(origin, workspace)
    assert hosts.to_head.bundles[-1].size == 0


async def test_many_at_once_make_one_transfer(hosts: Hosts) -> None:
    hosts.commit("large.bin", os.urandom(500_000))

    made = await asyncio.gather(*(hosts.start(f"spec_0_0_{number}") for number in range(1, 9)))

    assert len({workspace.directory for _, workspace in made}) == 8
    assert len([bundle for bundle in hosts.to_worker.bundles if bundle.size]) == 1


async def test_a_large_repository_travels_in_pieces(hosts: Hosts) -> None:
    hosts.commit("large.bin", os.urandom(PIECE_BYTES * 2 + 1000))

    _, workspace = await hosts.start("spec_0_0_1")

    assert len(hosts.to_worker.pieces) == 3
    assert max(hosts.to_worker.pieces) == PIECE_BYTES
    assert (workspace.directory / "large.bin").read_bytes() == (hosts.repository / "large.bin").read_bytes()


async def test_a_transfer_that_breaks_off_leaves_nothing_and_can_be_made_again(hosts: Hosts) -> None:
    hosts.commit("large.bin", os.urandom(PIECE_BYTES + 1000))
    origin = await hosts.head.origin("spec_0_0_1", hosts.repository)

    hosts.to_worker.break_after = 1
    with pytest.raises(ConnectionResetError):
        await hosts.worker.settle(origin, hosts.to_worker)

    assert hosts.left_in_transit() == []
    hosts.to_worker.break_after = -1
    workspace = await hosts.worker.settle(origin, hosts.to_worker)
    assert (workspace.directory / "large.bin").exists()


async def test_a_host_that_does_not_answer_holds_up_nobody_else_s_work(hosts: Hosts) -> None:
    stuck_origin, stuck = await hosts.start("spec_0_0_1")
    origin, workspace = await hosts.start("spec_0_0_2")
    commit(stuck, "stuck.txt")
    tip = commit(workspace, "done.txt")
    hosts.to_head.silent = asyncio.Event()
    waiting = asyncio.create_task(hosts.carry(stuck_origin, stuck))
    await asyncio.wait_for(hosts.to_head.silent.wait(), 10)
    hosts.to_head.silent = None

    await asyncio.wait_for(hosts.carry(origin, workspace), 10)

    assert git(hosts.repository, "rev-parse", "phalanx/spec_0_0_2") == tip
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_uncommitted_work_is_saved_and_each_save_takes_the_place_of_the_last(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    tip = commit(workspace, "done.txt")
    (workspace.directory / "draft.txt").write_text("one\n")
    await hosts.carry(origin, workspace, uncommitted=True)
    (workspace.directory / "draft.txt").write_text("two\n")

    await hosts.carry(origin, workspace, uncommitted=True)

    saved = "refs/phalanx/saved/spec_0_0_1.latest"
    assert git(hosts.repository, "show", f"{saved}:draft.txt") == "two"
    assert git(hosts.repository, "rev-parse", f"{saved}^1") == tip
    refs = git(hosts.repository, "for-each-ref", "--format=%(refname)", "refs/phalanx/saved").split()
    assert refs == [saved]
    assert git(workspace.directory, "status", "--porcelain") == "?? draft.txt"


async def test_what_terminating_saves_on_the_worker_comes_home_under_its_own_ref(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    commit(workspace, "done.txt")
    (workspace.directory / "draft.txt").write_text("mine\n")
    removal = hosts.workspaces.retire(workspace)

    await hosts.carry(origin, workspace)

    assert removal.removed
    assert removal.saved_ref is not None
    assert git(hosts.repository, "show", f"{removal.saved_ref}:draft.txt") == "mine"
    assert git(hosts.repository, "show", "phalanx/spec_0_0_1:done.txt") == "x"


async def test_a_rewritten_branch_follows_while_nobody_else_has_moved_it(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    commit(workspace, "a.txt")
    await hosts.carry(origin, workspace)
    git(workspace.directory, "commit", "-q", "--amend", "-m", "Better words")

    arrival = await hosts.carry(origin, workspace)

    assert arrival.note == ""
    assert git(hosts.repository, "log", "-1", "--format=%s", "phalanx/spec_0_0_1") == "Better words"


async def test_a_branch_that_somebody_works_on_at_home_is_left_alone(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    git(hosts.repository, "checkout", "-q", "phalanx/spec_0_0_1")
    tip = commit(workspace, "a.txt")

    arrival = await hosts.carry(origin, workspace)
    assert "checked out" in arrival.note
    assert git(hosts.repository, "status", "--porcelain") == ""

    git(hosts.repository, "commit", "-q", "--allow-empty", "-m", "Mine")
    mine = git(hosts.repository, "rev-parse", "HEAD")
    git(hosts.repository, "checkout", "-q", "main")
    arrival = await hosts.carry(origin, workspace)

    assert "Somebody else has moved" in arrival.note
    assert git(hosts.repository, "rev-parse", "phalanx/spec_0_0_1") == mine
    assert git(hosts.repository, "rev-parse", "refs/phalanx/instances/spec_0_0_1") == tip


async def test_a_name_that_is_taken_at_home_gets_a_number_on_both_sides(hosts: Hosts) -> None:
    git(hosts.repository, "branch", "phalanx/spec_0_0_1")

    origin, workspace = await hosts.start("spec_0_0_1")

    assert origin.branch == workspace.branch == "phalanx/spec_0_0_1-2"


async def test_a_spawn_that_is_given_up_leaves_no_branch(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")

    hosts.workspaces.undo(workspace)
    await hosts.head.drop_branch(origin.git_directory, origin.branch, origin.commit)

    assert git(hosts.repository, "for-each-ref", "refs/heads/phalanx", "refs/phalanx") == ""
    again, _ = await hosts.start("spec_0_0_1")
    assert again.branch == "phalanx/spec_0_0_1"


async def test_a_shallow_clone_is_refused_in_words(hosts: Hosts) -> None:
    git(hosts.repository, "commit", "-q", "--allow-empty", "-m", "Two")
    clone = hosts.root / "clone"
    git(hosts.root, "clone", "-q", "--depth", "1", f"file://{hosts.repository}", str(clone))

    with pytest.raises(WorkspaceError, match="unshallow"):
        await hosts.start("spec_0_0_1", clone)


async def test_two_repositories_of_one_name_do_not_share_a_mirror(hosts: Hosts) -> None:
    other = hosts.root / "elsewhere" / "project"
    git(hosts.root, "clone", "-q", str(hosts.repository), str(other))
    git(
        other, "-c", "user.name=O", "-c", "user.email=o@example.invalid", "commit", "-q", "--allow-empty", "-m", "Other"
    )

    one, _ = await hosts.start("spec_0_0_1")
    two, workspace = await hosts.start("spec_0_0_2", other)

    assert one.key != two.key
    assert git(Path(workspace.directory), "log", "-1", "--format=%s") == "Other"


async def test_a_worktree_lies_where_its_workspace_says_also_in_a_home_behind_a_link(hosts: Hosts) -> None:
    behind = hosts.root / "behind"
    behind.mkdir()
    (hosts.root / "home").symlink_to(behind)
    workspaces = WorktreeManager(hosts.root / "home" / "worktrees", ENVIRONMENT)
    worker = TransferService(hosts.root / "home" / "travel", workspaces, Starts(), ENVIRONMENT)
    origin = await hosts.head.origin("spec_0_0_1", hosts.repository)

    workspace = await worker.settle(origin, hosts.to_worker)

    assert workspace.place is not None
    assert find_place(workspace.directory) == workspace.place


async def again(hosts: Hosts, origin: StartPoint) -> Workspace:
    """As if the worker had been lost: a third host goes on."""
    workspaces = WorktreeManager(hosts.root / "third" / "worktrees", ENVIRONMENT)
    third = TransferService(hosts.root / "third" / "travel", workspaces, Starts(), ENVIRONMENT)
    carried_on = await hosts.head.origin_again(origin.git_directory, origin.branch, PurePath())
    return await third.settle(carried_on, hosts.to_worker)


async def test_another_host_goes_on_with_what_came_home_committed_or_not(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    tip = commit(workspace, "done.txt")
    (workspace.directory / "draft.txt").write_text("draft\n")
    (workspace.directory / "README.md").unlink()
    await hosts.carry(origin, workspace, uncommitted=True)

    other = await again(hosts, origin)

    assert other.notes == ()
    assert other.branch == workspace.branch
    assert git(other.directory, "rev-parse", "HEAD") == tip
    assert (other.directory / "draft.txt").read_text() == "draft\n"
    assert git(other.directory, "status", "--porcelain") == "D README.md\n?? draft.txt"
    assert other.notes == ()
    commit(other, "more.txt")


async def test_what_was_saved_before_the_last_commit_takes_nothing_of_that_back(hosts: Hosts) -> None:
    origin, workspace = await hosts.start("spec_0_0_1")
    (workspace.directory / "draft.txt").write_text("draft\n")
    await hosts.carry(origin, workspace, uncommitted=True)
    commit(workspace, "draft.txt", "finished\n")
    await hosts.carry(origin, workspace)

    other = await again(hosts, origin)

    assert (other.directory / "draft.txt").read_text() == "finished\n"
    assert git(other.directory, "status", "--porcelain") == ""
    assert "saved before the last commit" in other.notes[-1]


async def spare_of(hosts: Hosts) -> Workspace:
    origin = await hosts.head.origin_of_spare("spare_7", hosts.repository)
    return await hosts.worker.settle_spare("spare_7", origin, hosts.to_worker)


async def test_a_spare_on_another_host_claims_nothing_and_once_bound_is_as_if_settled_for_the_instance(
    hosts: Hosts,
) -> None:
    hosts.commit("large.bin", os.urandom(1_000_000))
    spare = await spare_of(hosts)
    before = sum(hosts.to_worker.pieces)
    assert before > 1_000_000
    assert git(hosts.repository, "branch", "--list", "phalanx/*") == ""
    assert await hosts.worker.bound(spare) == ""
    hosts.commit("small.txt", b"small\n")

    origin = await hosts.head.origin("spec_0_0_1", hosts.repository)
    bound = await hosts.worker.bind_spare(spare, origin, hosts.to_worker)

    assert sum(hosts.to_worker.pieces) - before < 2000
    assert (bound.branch, bound.base_commit) == ("phalanx/spec_0_0_1", git(hosts.repository, "rev-parse", "main"))
    assert (bound.directory / "small.txt").read_text() == "small\n"
    assert await hosts.worker.bound(spare) == "phalanx/spec_0_0_1"
    tip = commit(bound, "new.txt")
    (bound.directory / "draft.txt").write_text("draft\n")
    assert (await hosts.carry(origin, bound, uncommitted=True)).note == ""
    assert git(hosts.repository, "rev-parse", "phalanx/spec_0_0_1") == tip
    assert "draft.txt" in git(hosts.repository, "ls-tree", "--name-only", "refs/phalanx/saved/spec_0_0_1.latest")


async def test_what_the_mirror_has_already_is_not_asked_for_when_a_spare_is_bound(hosts: Hosts) -> None:
    spare = await spare_of(hosts)
    asked = len(hosts.to_worker.bundles)
    origin = await hosts.head.origin("spec_0_0_1", hosts.repository)
    await hosts.worker.bind_spare(spare, origin, hosts.to_worker)
    assert len(hosts.to_worker.bundles) == asked


async def test_a_spare_is_bound_to_one_taker_only_and_to_none_once_it_was_touched(hosts: Hosts) -> None:
    spare = await spare_of(hosts)
    first, second = [await hosts.head.origin(f"spec_0_0_{number}", hosts.repository) for number in (1, 2)]
    takers = (hosts.worker.bind_spare(spare, origin, hosts.to_worker) for origin in (first, second))
    got = await asyncio.gather(*takers, return_exceptions=True)
    assert sorted(type(each).__name__ for each in got) == ["Workspace", "WorkspaceError"]

    origin = await hosts.head.origin_of_spare("spare_8", hosts.repository)
    touched = await hosts.worker.settle_spare("spare_8", origin, hosts.to_worker)
    (touched.directory / "stray.txt").write_text("stray\n")
    with pytest.raises(WorkspaceError, match="not as it was made"):
        await hosts.worker.bind_spare(touched, await hosts.head.origin("spec_0_0_3", hosts.repository), hosts.to_worker)


async def test_one_that_had_a_spare_goes_on_elsewhere_in_a_directory_of_the_same_name(hosts: Hosts) -> None:
    spare = await spare_of(hosts)
    origin = await hosts.head.origin("spec_0_0_1", hosts.repository)
    bound = await hosts.worker.bind_spare(spare, origin, hosts.to_worker)
    tip = commit(bound, "new.txt")
    await hosts.carry(origin, bound)
    hosts.workspaces.retire(bound)

    came = await hosts.head.origin_again(origin.git_directory, origin.branch, PurePath())
    made = await hosts.worker.settle(replace(came, directory="spare_7"), hosts.to_worker)

    assert (made.worktree, made.branch, made.base_commit) == (bound.worktree, "phalanx/spec_0_0_1", tip)
    (made.directory / "draft.txt").write_text("draft\n")
    assert hosts.workspaces.retire(made).saved_ref == "refs/phalanx/saved/spec_0_0_1.2"
    assert made.worktree is not None
    assert not made.worktree.exists()


async def test_what_an_earlier_copy_had_not_brought_home_comes_with_the_work_of_the_one_that_is_there_now(
    hosts: Hosts,
) -> None:
    origin, stale = await hosts.start("spec_0_0_1")
    await hosts.carry(origin, stale)
    commit(stale, "stale.txt")
    (stale.directory / "draft.txt").write_text("draft\n")

    assert hosts.workspaces.retire(stale).saved_ref == "refs/phalanx/saved/spec_0_0_1"
    came = await hosts.head.origin_again(origin.git_directory, origin.branch, PurePath())
    made = await hosts.worker.settle(replace(came, directory="spec_0_0_1"), hosts.to_worker)
    tip = commit(made, "new.txt")
    await hosts.carry(origin, made)

    assert git(hosts.repository, "rev-parse", "phalanx/spec_0_0_1") == tip
    saved = git(hosts.repository, "ls-tree", "--name-only", "refs/phalanx/saved/spec_0_0_1").split()
    assert {"stale.txt", "draft.txt"} <= set(saved)
    assert not (made.directory / "stale.txt").exists()


async def test_a_file_that_grows_is_copied_from_where_the_copy_ends(hosts: Hosts) -> None:
    original, copy = hosts.root / "talk.jsonl", hosts.root / "kept" / "talk.jsonl"
    original.write_text("one\n")
    await hosts.head.copy_file(copy, hosts.worker, original)
    with original.open("a") as file:
        file.write("two\n")

    await hosts.head.copy_file(copy, hosts.worker, original)

    assert copy.read_text() == "one\ntwo\n"
    assert copy.stat().st_mode & 0o777 == 0o600
    await hosts.head.copy_file(copy, hosts.worker, hosts.root / "nothing")
    assert copy.read_text() == "one\ntwo\n"


async def test_a_file_that_is_brought_anew_has_nothing_of_what_was_there(hosts: Hosts) -> None:
    original, stale = hosts.root / "talk.jsonl", hosts.root / "there" / "talk.jsonl"
    original.write_text("one\ntwo\n")
    stale.parent.mkdir()
    stale.write_text("one\nwhat nobody knows of any more\n")

    await hosts.head.copy_file(stale, hosts.worker, original, anew=True)

    assert stale.read_text() == "one\ntwo\n"


def test_a_bundle_that_another_call_deletes_while_it_is_asked_for_is_to_be_packed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)

    with pytest.raises(InvalidRequestError, match="pack it again"):
        BundleStore(tmp_path, GitRunner({})).piece("0" * 32, 0)
