"""``merge``, ``sync`` and the work that ``list`` tells, over the real host, real git and demo agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError, PhalanxError, RefusedError, WorkspaceError, WrongStateError
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.requests import ListRequest, MergeRequest, SyncRequest
from supervisor.api.verbs import Caller
from supervisor.team.access import new_token, token_hash
from tests.integration.supervisor.calls import is_killed, send, settle, spawn, terminate, texts, until
from tests.integration.supervisor.runs import RestartableTeam, SupervisorRun
from tests.projects import git

MOMENTS = 12
"""More than a merge makes calls."""


class Scene:
    """A run of a team, and what a lead asks of it."""

    def __init__(self, team: RestartableTeam, run: SupervisorRun) -> None:
        self.team = team
        self.run = run

    @property
    def repository(self) -> Path:
        return self.team.repository

    async def member(self, *commits: str, **more: object) -> str:
        """A specialist that has committed ``FILE TEXT`` each."""
        context = "\n".join(["hello", *(f"@@demo commit {each}" for each in commits)])
        instance_id = await spawn(self.run, self.team, context, **more)
        await settle(self.run, instance_id)
        return instance_id

    async def tell(self, instance_id: str, *lines: str) -> None:
        await send(self.run, instance_id, "\n".join(lines))
        await settle(self.run, instance_id)

    async def merge(self, *ids: str, caller: Caller | None = None, **more: Any) -> results.MergeResult:
        request = MergeRequest(instance_ids=list(ids), **more)
        return await self._call("merge", request, caller)  # type: ignore[no-any-return]

    async def sync(self, *ids: str, caller: Caller | None = None, **more: Any) -> results.SyncResult:
        request = SyncRequest.model_validate({"instanceIds": list(ids) or None, **more})
        return await self._call("sync", request, caller)  # type: ignore[no-any-return]

    async def _call(self, verb: str, request: requests.Request, caller: Caller | None) -> Any:
        return await self.run.supervisor.call(verb, request, caller or Caller(sender="lead"))

    async def work(self, *ids: str) -> results.ListResult:
        request = ListRequest(instance_ids=list(ids) or None, work=True)
        listed = await self._call("list", request, None)
        assert isinstance(listed, results.ListResult)
        return listed

    async def caller(self, instance_id: str) -> Caller:
        """Calls as this instance."""
        token = new_token()
        await self.run.team.save(instance_id, token_hash=token_hash(token))
        return Caller(sender="whoever", token=token)

    def tree(self, instance_id: str) -> Path:
        return self.run.team.registry.get(instance_id).record.directory

    def main(self) -> str:
        return git(self.repository, "rev-parse", "main")

    def refs(self) -> str:
        return git(self.repository, "for-each-ref", "--format=%(refname) %(objectname)")

    async def merged_events(self) -> list[str]:
        """Of whose work the team's events say that it was merged, by all supervisors so far."""
        heard = await self.run.team.events.after("0", lambda event: event.kind == "merged", 0.0)
        return sorted(event.instance_id or "" for event in heard.events)

    def leftovers(self) -> list[str]:
        return [path.name for path in self.team.home.worktrees.iterdir() if path.name.startswith("merging")]


@pytest.fixture
async def scene(team: RestartableTeam) -> Scene:
    return Scene(team, await team.start_compared())


def states(result: results.MergeResult | results.SyncResult) -> dict[str, str]:
    return {each.instance_id: each.state for each in result.instances}


async def test_work_is_listed_merged_and_listed_as_merged(scene: Scene) -> None:
    one, two = await asyncio.gather(scene.member("a.txt one"), scene.member("b.txt two", "c.txt two"))
    before = await scene.work()

    merged = await scene.merge(one, two)

    ahead = {each.instance_id: each.work and (each.work.base, each.work.ahead) for each in before.instances}
    assert ahead == {one: ("main", 1), two: ("main", 2)}
    assert (merged.success, merged.moved, merged.into, merged.commit) == (True, True, "main", scene.main())
    assert {(scene.repository / name).exists() for name in ("a.txt", "b.txt", "c.txt")} == {True}
    after = await scene.work(one)
    assert after.instances[0].work is not None
    assert (after.instances[0].work.ahead, after.instances[0].work.uncommitted_files) == (0, 0)
    assert states(await scene.merge(one, two)) == {one: "already_merged", two: "already_merged"}
    assert scene.leftovers() == []


async def test_a_link_in_place_of_a_worktree_leads_nobody_s_call_into_other_work(scene: Scene) -> None:
    lead = await scene.member(role="manager")
    one = await scene.member("a.txt one", parentId=lead)
    own = scene.tree(one)
    (scene.repository / "of-the-user.txt").write_text("not finished")
    before, status = scene.refs(), git(scene.repository, "status", "--porcelain")
    own.rename(own.with_name("away"))
    own.symlink_to(scene.repository)
    by_lead = await scene.caller(lead)

    merged = await scene.merge(one, commit_message="m", into="main")
    synced = await scene.sync(one)
    listed = await scene.work(one)
    with pytest.raises(RefusedError, match="not into main"):
        await scene.merge(lead, caller=by_lead, into="main")

    assert states(merged) == {one: "failed"}
    assert "made there" in (merged.instances[0].reason or "")
    assert states(synced) == {one: "failed"}
    assert "made there" in (synced.instances[0].reason or "")
    assert listed.instances[0].work is None
    assert scene.refs() == before
    assert git(scene.repository, "status", "--porcelain") == status
    own.unlink()
    own.with_name("away").rename(own)
    assert states(await scene.merge(one)) == {one: "merged"}


async def test_of_a_conflict_the_owner_is_told_once_resolves_it_and_the_merge_goes_through(scene: Scene) -> None:
    one, two = await scene.member("same.txt one"), await scene.member("same.txt two")
    before = scene.refs()

    refused = await scene.merge(one, two)
    again = await scene.merge(one, two)
    await settle(scene.run, one, two)

    assert [conflict.model_dump() for conflict in refused.conflicts] == [{"between": [one, two], "files": ["same.txt"]}]
    assert {each.instance_id: each.told for each in refused.instances} == {one: False, two: True}
    assert scene.refs() == before
    assert again.conflicts == refused.conflicts
    told = [line for line in texts(scene.team, two) if line.startswith("git merge")]
    assert told == [f"git merge phalanx/{one}   # conflicts in 'same.txt'"]
    listed = await scene.work()
    assert listed.conflicts == refused.conflicts

    await scene.tell(two, "@@demo commit same.txt one")
    merged = await scene.merge(one, two)

    assert (merged.success, merged.moved) == (True, True)
    assert (scene.repository / "same.txt").read_text().strip() == "one"


async def test_a_conflict_with_the_target_is_told_as_what_to_merge(scene: Scene) -> None:
    one = await scene.member("README.md one")
    (scene.repository / "README.md").write_text("main\n")
    git(scene.repository, "commit", "-qam", "Main")

    refused = await scene.merge(one)
    await settle(scene.run, one)

    assert refused.conflicts[0].between == ["main", one]
    assert "git merge main   # conflicts in 'README.md'" in texts(scene.team, one)


async def test_what_is_not_committed_is_told_and_committed_only_when_asked_and_between_turns(scene: Scene) -> None:
    one, two = await scene.member("a.txt one"), await scene.member("b.txt two")
    (scene.tree(one) / "draft.txt").write_text("x")
    main = scene.main()

    refused = await scene.merge(one, two)
    assert states(refused) == {one: "failed", two: "not_merged"}
    assert refused.instances[0].files == ["draft.txt"]
    assert "commitMessage" in (refused.instances[0].reason or "")

    await send(scene.run, one, "@@demo never-answer")
    await until(scene.run, one, Status.BUSY)
    busy = await scene.merge(one, two, commit_message="Draft")
    assert "It is at work" in (busy.instances[0].reason or "")
    assert (scene.main(), git(scene.tree(one), "status", "--porcelain")) == (main, "?? draft.txt")

    await scene.run.call("interrupt", requests.InterruptRequest(instance_id=one))
    merged = await scene.merge(one, two, commit_message="Draft")
    assert merged.moved
    assert [each.committed for each in merged.instances] == [True, False]
    assert (scene.repository / "draft.txt").exists()
    assert "Draft" in git(scene.repository, "log", "--format=%s")


async def test_a_call_repeated_with_its_request_id_gets_the_first_outcome(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    first = await scene.merge(one, request_id="r1")

    again, other = await scene.merge(one, request_id="r1"), await scene.merge(one, request_id="r2")

    assert (again, states(other)) == (first, {one: "already_merged"})
    with pytest.raises(InvalidRequestError, match="another call"):
        await scene.merge(one, into="main", request_id="r1")


async def test_two_merges_at_once_queue(scene: Scene) -> None:
    one, two = await scene.member("a.txt one"), await scene.member("b.txt two")

    first, second = await asyncio.gather(scene.merge(one), scene.merge(two))

    assert (first.moved, second.moved) == (True, True)
    assert {(scene.repository / name).exists() for name in ("a.txt", "b.txt")} == {True}


async def test_only_checks_of_the_configuration_run_and_decide(team: RestartableTeam) -> None:
    (team.home.root / "config.toml").write_text('merge_checks = ["test -e ok.txt", "sh -c \'exit 0\'"]\n')
    scene = Scene(team, await team.start_compared())
    one = await scene.member("a.txt one")
    main = scene.main()

    with pytest.raises(RefusedError, match=r"'test -e ok\.txt', \"sh -c 'exit 0'\""):
        await scene.merge(one, check="rm -rf /")
    failed = await scene.merge(one, check="test -e ok.txt")
    assert "exit status 1" in (failed.instances[0].reason or "")
    assert (scene.main(), scene.leftovers()) == (main, [])
    assert (await scene.merge(one, check="sh -c 'exit 0'")).moved


async def test_of_an_instance_that_has_ended_the_branch_is_merged(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    await terminate(scene.run, one)

    assert (await scene.merge(one)).moved
    assert (scene.repository / "a.txt").exists()


async def test_who_has_no_branch_of_its_own_is_refused_in_words(scene: Scene) -> None:
    shared = await scene.member(workspaceMode="shared")

    with pytest.raises(InvalidRequestError, match="no branch of its own"):
        await scene.merge(shared)


async def test_the_tree_that_has_the_target_checked_out_is_not_changed_under_the_hands_of_one_at_work(
    scene: Scene,
) -> None:
    shared, one = await scene.member(workspaceMode="shared"), await scene.member("a.txt one")
    await send(scene.run, shared, "@@demo never-answer")
    await until(scene.run, shared, Status.BUSY)

    with pytest.raises(WrongStateError, match=f"{shared} is at work in"):
        await scene.merge(one)


async def test_a_dirty_target_is_told_and_left_alone(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    (scene.repository / "a.txt").write_text("mine")

    with pytest.raises(WorkspaceError, match=r"'a\.txt'"):
        await scene.merge(one)

    assert (scene.repository / "a.txt").read_text() == "mine"


async def test_a_manager_merges_what_those_below_it_have_done_into_its_own_branch_only(scene: Scene) -> None:
    executive = await scene.member(role="executive")
    manager = await scene.member(role="manager", parentId=executive)
    below = await scene.member("a.txt one", parentId=manager)
    stranger = await scene.member("b.txt two", parentId=executive)
    me, main = await scene.caller(manager), scene.main()

    with pytest.raises(RefusedError, match=f"not {stranger}"):
        await scene.merge(stranger, caller=me)
    with pytest.raises(RefusedError, match="not into main"):
        await scene.merge(below, into="main", caller=me)
    with pytest.raises(RefusedError, match="may not call merge"):
        await scene.merge(below, caller=await scene.caller(below))
    merged = await scene.merge(below, caller=me)

    assert (merged.into, merged.moved, scene.main()) == (f"phalanx/{manager}", True, main)
    assert (scene.tree(manager) / "a.txt").exists()


async def test_a_branch_comes_into_those_of_all_when_their_turns_end(scene: Scene) -> None:
    idle, busy = await scene.member("a.txt one"), await scene.member("b.txt two")
    await send(scene.run, busy, "@@demo busy 2")
    await until(scene.run, busy, Status.BUSY)
    (scene.repository / "news").write_text("x")
    git(scene.repository, "add", ".")
    git(scene.repository, "commit", "-qm", "News")

    synced = await scene.sync(timeoutSeconds=30)

    assert synced.success
    assert states(synced) == {idle: "synced", busy: "synced"}
    assert {(scene.tree(each) / "news").exists() for each in (idle, busy)} == {True}
    assert states(await scene.sync(idle)) == {idle: "up_to_date"}


async def test_who_is_still_at_work_is_told_and_its_files_are_left_alone(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    await send(scene.run, one, "@@demo never-answer")
    await until(scene.run, one, Status.BUSY)
    git(scene.repository, "commit", "-q", "--allow-empty", "-m", "News")
    before = git(scene.tree(one), "rev-parse", "HEAD")

    synced = await scene.sync(one, timeoutSeconds=0.5)

    assert (synced.success, states(synced)) == (False, {one: "at_work"})
    assert git(scene.tree(one), "rev-parse", "HEAD") == before


async def test_a_sync_that_conflicts_leaves_the_tree_and_tells_the_instance(scene: Scene) -> None:
    one = await scene.member("README.md one")
    (scene.repository / "README.md").write_text("main\n")
    git(scene.repository, "commit", "-qam", "Main")

    synced = await scene.sync(one)
    await settle(scene.run, one)

    (outcome,) = synced.instances
    assert (outcome.state, outcome.files, outcome.told) == ("conflict", ["README.md"], True)
    assert git(scene.tree(one), "status", "--porcelain") == ""
    assert "git merge main   # conflicts in 'README.md'" in texts(scene.team, one)


async def test_a_sync_never_touches_what_is_not_committed(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    (scene.tree(one) / "README.md").write_text("draft\n")
    (scene.repository / "README.md").write_text("main\n")
    git(scene.repository, "commit", "-qam", "Main")

    synced = await scene.sync(one)

    assert states(synced) == {one: "failed"}
    assert (scene.tree(one) / "README.md").read_text() == "draft\n"


async def test_a_manager_brings_its_own_branch_to_those_below_it_and_to_no_others(scene: Scene) -> None:
    executive = await scene.member(role="executive")
    manager = await scene.member("plan.txt x", role="manager", parentId=executive)
    below = await scene.member(parentId=manager)
    stranger = await scene.member(parentId=executive)

    synced = await scene.sync(caller=await scene.caller(manager))

    assert states(synced) == {below: "synced"}
    assert (scene.tree(below) / "plan.txt").exists()
    assert not (scene.tree(stranger) / "plan.txt").exists()


async def test_a_supervisor_that_dies_at_any_moment_of_a_merge_leaves_the_target_moved_or_not(
    make_team: Callable[[], RestartableTeam],
) -> None:
    done = False
    for moment in range(1, MOMENTS):
        team = make_team()
        scene = Scene(team, await team.start_compared())
        one, two = await scene.member("a.txt one"), await scene.member("b.txt two")
        before = scene.main()
        scene.run.kill_switch.kill_at(moment)
        request = MergeRequest(instance_ids=[one, two], request_id="r1")
        done = not await is_killed(scene.run.call("merge", request))
        scene.run = await team.restart()

        again = await scene.merge(one, two, request_id="r1")

        assert again.success
        assert set(states(again).values()) in ({"merged"}, {"already_merged"})
        assert await scene.merged_events() == [one, two]
        assert git(team.repository, "rev-list", "--count", "--first-parent", f"{before}..main") == "2"
        assert {(team.repository / name).exists() for name in ("a.txt", "b.txt")} == {True}
        assert git(team.repository, "status", "--porcelain") == ""
        assert scene.leftovers() == []
        await team.end()
        if done:
            break
    assert done


async def test_a_merge_in_a_repository_with_commands_in_names_runs_none(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    git(scene.tree(one), "switch", "-q", "-c", "$(touch${IFS}owned)")
    git(scene.tree(one), "commit", "-q", "--allow-empty", "-m", "x")
    git(scene.repository, "commit", "-q", "--allow-empty", "-m", "Main")

    merged = await scene.merge(one)

    assert merged.moved
    assert merged.instances[0].branch == "$(touch${IFS}owned)"
    assert "$(touch${IFS}owned)" in git(scene.repository, "log", "-1", "--format=%s", "main")
    assert not list(scene.team.home.root.parent.rglob("owned"))


async def test_what_a_terminated_one_had_not_committed_is_told_until_it_is_merged_too(scene: Scene) -> None:
    one, two = await scene.member("a.txt one"), await scene.member("b.txt two")
    (scene.tree(one) / "unsaved.txt").write_text("not committed")
    ended = [await terminate(scene.run, each) for each in (one, two)]

    merged = {each.instance_id: each for each in (await scene.merge(one, two)).instances}

    assert [each.saved_ref for each in ended] == [f"refs/phalanx/saved/{each}" for each in (one, two)]
    assert {name: each.state for name, each in merged.items()} == {one: "merged", two: "merged"}
    assert merged[one].reason == (
        "What it had not committed when it was terminated is not in main: it is in "
        f"refs/phalanx/saved/{one}; `git merge refs/phalanx/saved/{one}` brings it in."
    )
    assert merged[two].reason is None
    git(scene.repository, "merge", "-q", "--no-edit", f"refs/phalanx/saved/{one}")
    assert (scene.repository / "unsaved.txt").read_text() == "not committed"
    assert (await scene.merge(one)).instances[0].reason is None


async def test_a_sync_leaves_a_branch_alone_that_is_not_the_instances_own(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    git(scene.repository, "branch", "of-the-user")
    git(scene.tree(one), "checkout", "-q", "of-the-user")
    git(scene.repository, "commit", "-q", "--allow-empty", "-m", "more")
    before = scene.refs()

    synced = await scene.sync(one, caller=None, **{"from": "main"})

    assert states(synced) == {one: "failed"}
    assert f"has of-the-user checked out and not its own branch phalanx/{one}" in (synced.instances[0].reason or "")
    assert scene.refs() == before
    git(scene.tree(one), "checkout", "-q", f"phalanx/{one}")
    assert states(await scene.sync(one, caller=None, **{"from": "main"})) == {one: "synced"}


async def test_by_a_link_in_place_of_its_own_worktree_a_lead_moves_no_branch_of_the_user(scene: Scene) -> None:
    lead = await scene.member(role="manager")
    one = await scene.member("a.txt one", parentId=lead)
    by_lead = await scene.caller(lead)
    own, before = scene.tree(lead), scene.refs()
    own.rename(own.with_name("away"))
    own.symlink_to(scene.repository)

    with pytest.raises(RefusedError, match="not into main"):
        await scene.merge(one, caller=by_lead, into="main")
    for into in (None, f"phalanx/{lead}"):
        with pytest.raises(PhalanxError):
            await scene.merge(one, caller=by_lead, into=into)

    assert scene.refs() == before
    assert not (scene.repository / "a.txt").exists()


async def test_no_agent_starts_in_a_tree_whose_files_a_merge_is_changing(scene: Scene) -> None:
    one = await scene.member("a.txt one")
    begun, goes_on = scene.team.home.root / "begun", scene.team.home.root / "goes-on"
    hook = scene.repository / ".git/hooks/post-merge"
    wait = f"touch {begun}; while ! [ -e {goes_on} ]; do sleep 0.05; done"
    hook.write_text(f"#!/bin/sh\nif [ $PWD = {scene.repository} ]; then {wait}; fi\n")  # not in the trial
    hook.chmod(0o755)
    merging = asyncio.create_task(scene.merge(one))
    async with asyncio.timeout(40):
        while not begun.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    starting = asyncio.create_task(scene.member(workspaceMode="shared"))
    await scene.member()  # a tree of its own does not move
    (shared,) = (each.record for each in scene.run.team.registry if each.record.work_dir == each.record.directory)
    assert (shared.workspace is not None, shared.pane_id) == (True, "")
    goes_on.touch()

    assert (await merging).moved
    assert (scene.tree(await starting) / "a.txt").exists()
