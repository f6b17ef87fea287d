"""``merge`` through all processes: a conflict that its owner resolves, and the death of the host in the middle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from actors.errors import UnavailableError
from supervisor.api.requests import ListRequest, MergeRequest, ReadRequest, SendRequest, SyncRequest, WaitRequest
from supervisor.api.results import MergeResult
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.processes import called, of_ray, tell
from tests.projects import git

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    directory = make_short_tmp()
    (directory / "h").mkdir(mode=0o700)
    check = f"sh -c 'touch {directory}/begun; while [ ! -e {directory}/go ]; do sleep 0.05; done'"
    (directory / "h/config.toml").write_text(f'merge_checks = ["{check}", "test -e README.md"]\n')
    made = bring_up(directory, PHALANX_AGENT="demo", PHALANX_ALLOWED_WORK_DIRS=str(directory))
    yield made
    made.runtime.down(lambda step: None)


@pytest.fixture
async def lead(team: Team) -> AsyncIterator[SupervisorClient]:
    async with await team.connect() as client:
        yield client


async def work(lead: SupervisorClient, team: Team, file: str, text: str) -> str:
    """A member that has committed this file."""
    spawned = await lead.spawn(team.specialist(f"@@demo commit {file} {text}"))
    await settle(lead, spawned.instance_id)
    return spawned.instance_id


async def settle(lead: SupervisorClient, *ids: str) -> None:
    waited = await lead.wait(WaitRequest(instance_ids=list(ids), timeout_seconds=PATIENCE_S))
    assert waited.reached


async def merge(
    lead: SupervisorClient, *ids: str, request_id: str | None = None, check: str | None = None
) -> MergeResult:
    return await lead.merge(MergeRequest(instance_ids=list(ids), request_id=request_id, check=check))


async def test_two_branches_conflict_the_owner_is_told_and_resolves_and_the_merge_goes_through(
    lead: SupervisorClient, team: Team
) -> None:
    one, two = await asyncio.gather(work(lead, team, "shop.txt", "one"), work(lead, team, "shop.txt", "two"))
    before = git(team.repository, "rev-parse", "main")

    refused = await merge(lead, one, two, check="test -e README.md")
    listed = await lead.list(ListRequest(instance_ids=[one, two], work=True))

    assert (refused.moved, git(team.repository, "rev-parse", "main")) == (False, before)
    assert refused.conflicts[0].files == ["shop.txt"]
    assert {frozenset(conflict.between) for conflict in listed.conflicts} == {frozenset((one, two))}
    (owner,) = (each.instance_id for each in refused.instances if each.told)
    other = two if owner == one else one
    await settle(lead, owner)
    page = await lead.read(ReadRequest(instance_id=owner))
    questions = [entry.text for entry in page.entries if entry.kind == "question"]
    assert any(f"git merge phalanx/{other}   # conflicts in 'shop.txt'" in text for text in questions)

    text = "one" if other == one else "two"
    await lead.send(SendRequest(instance_id=owner, message=f"@@demo commit shop.txt {text}", wait=True))
    await settle(lead, owner)
    merged = await merge(lead, one, two, check="test -e README.md")

    assert (merged.success, merged.moved) == (True, True)
    assert (team.repository / "shop.txt").read_text().strip() == text
    synced = await lead.sync(SyncRequest(instance_ids=[one, two]))
    assert synced.success
    assert git(team.repository, "status", "--porcelain") == ""


async def test_a_merge_whose_host_is_killed_in_a_check_moves_nothing_and_is_done_when_repeated(
    lead: SupervisorClient, team: Team
) -> None:
    one = await work(lead, team, "late.txt", "x")
    directory = team.repository.parent
    before = git(team.repository, "rev-parse", "main")
    check = f"sh -c 'touch {directory}/begun; while [ ! -e {directory}/go ]; do sleep 0.05; done'"
    call = asyncio.create_task(merge(lead, one, request_id="r1", check=check))
    try:
        await _until((directory / "begun").exists)
        tell(called(of_ray(team.home), "ray::_HostServer"))
        with pytest.raises(UnavailableError):
            await call
    finally:
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    assert git(team.repository, "rev-parse", "main") == before
    (directory / "go").touch()

    merged = await merge(lead, one, request_id="r1", check=check)

    assert merged.moved
    assert (team.repository / "late.txt").exists()
    assert [path.name for path in team.home.worktrees.iterdir() if path.name.startswith("merging")] == []


async def test_a_supervisor_that_is_killed_in_a_merge_comes_back_and_tells_the_truth(
    lead: SupervisorClient, team: Team
) -> None:
    one = await work(lead, team, "truth.txt", "x")
    directory = team.repository.parent
    for sign in ("begun", "go"):
        (directory / sign).unlink(missing_ok=True)
    check = f"sh -c 'touch {directory}/begun; while [ ! -e {directory}/go ]; do sleep 0.05; done'"
    call = asyncio.create_task(merge(lead, one, check=check))
    await _until((directory / "begun").exists)
    tell(called(of_ray(team.home), "ray::_SupervisorServer"))
    (directory / "go").touch()

    merged = await call

    assert merged.success
    assert [each.state for each in merged.instances] in (["merged"], ["already_merged"])
    assert merged.commit == git(team.repository, "rev-parse", "main")
    assert (team.repository / "truth.txt").exists()


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
