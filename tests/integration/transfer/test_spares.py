"""A worktree on a host without the repository that was made before: spares, and what an earlier copy has left."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import PurePath

import pytest

from actors.errors import WorkspaceError
from actors.worktrees.model import Workspace
from tests.integration.transfer.conftest import Hosts, commit
from tests.projects import git


async def spare_of(hosts: Hosts) -> Workspace:
    origin = await hosts.head.origin_of_spare("spare_7", hosts.repository)
    return await hosts.worker.settle_spare("spare_7", origin, hosts.to_worker)


async def test_a_spare_on_another_host_claims_nothing_and_once_bound_is_as_if_settled_for_the_instance(
    hosts: Hosts,
) -> None:
    (hosts.repository / "large.bin").write_bytes(os.urandom(1_000_000))
    git(hosts.repository, "add", ".")
    git(hosts.repository, "commit", "-q", "-m", "Large")
    spare = await spare_of(hosts)
    before = sum(hosts.to_worker.pieces)
    assert before > 1_000_000
    assert git(hosts.repository, "branch", "--list", "phalanx/*") == ""
    assert await hosts.worker.bound(spare) == ""
    (hosts.repository / "small.txt").write_text("small\n")
    git(hosts.repository, "add", ".")
    git(hosts.repository, "commit", "-q", "-m", "Small")

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
    asked = len(hosts.to_worker.parcels)
    origin = await hosts.head.origin("spec_0_0_1", hosts.repository)
    await hosts.worker.bind_spare(spare, origin, hosts.to_worker)
    assert len(hosts.to_worker.parcels) == asked


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
