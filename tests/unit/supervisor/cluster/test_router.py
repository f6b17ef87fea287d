from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actors.errors import PhalanxError, UnavailableError
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.cluster.machines import HERE, THERE, Scene, workspace


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_each_call_goes_to_the_host_of_the_instance_that_it_is_about(scene: Scene) -> None:
    await scene.many.end_agent(HERE, HERE, 1.0)
    await scene.many.end_agent(THERE, THERE, 1.0)
    await scene.many.end_agent("spec_0_0_9", "spec_0_0_9", 1.0)
    assert scene.deeds == [f"head: end {HERE}", f"worker: end {THERE}", "head: end spec_0_0_9"]


async def test_all_agents_are_seen_and_a_copy_where_it_does_not_belong_any_more_is_ended(scene: Scene) -> None:
    scene.hosts["head"].sessions = [HERE]
    scene.hosts["worker"].sessions = [THERE, HERE]
    assert sorted(agent.session_name for agent in await scene.many.agents()) == [HERE, THERE]
    assert scene.deeds == [f"worker: end {HERE}"]
    assert scene.scheduler.away == set()


async def test_a_host_that_does_not_answer_is_away_with_its_instances_and_hides_nobody_else(scene: Scene) -> None:
    scene.hosts["head"].sessions = [HERE]
    scene.hosts["worker"].silent = True
    assert [agent.session_name for agent in await scene.many.agents()] == [HERE]
    assert scene.scheduler.instances_away == [THERE]


async def test_code_goes_to_another_host_before_its_worktree_is_made_there(scene: Scene) -> None:
    made = await scene.many.create_workspace(THERE, Path("/project"), "isolated")
    assert scene.deeds == [f"head: origin {THERE}", "worker: settle from head"]
    assert made.home == Path("/repository/.git")
    scene.deeds.clear()
    await scene.many.create_workspace(HERE, Path("/project"), "isolated")
    await scene.many.create_workspace(THERE, Path("/srv"), "shared")
    assert scene.deeds == ["head: create isolated", "worker: create shared"]


async def test_a_branch_whose_worktree_could_not_be_made_elsewhere_is_dropped_again(scene: Scene) -> None:
    scene.hosts["worker"].silent = True
    with pytest.raises(UnavailableError):
        await scene.many.create_workspace(THERE, Path("/project"), "isolated")
    assert scene.deeds == [f"head: origin {THERE}", f"head: drop {THERE}"]


async def test_work_comes_home_before_and_after_the_worktree_goes(scene: Scene) -> None:
    removal = await scene.many.retire_workspace(workspace())
    carried = ["worker: commits", "head: come home from worker"]
    assert scene.deeds == [*carried, "worker: retire", *carried, f"head: drop phalanx/{THERE}"]
    assert removal.branch_deleted
    scene.hosts["head"].branch_stays = "It is not merged."
    kept = await scene.many.retire_workspace(workspace())
    assert (kept.removed, kept.kept_reason, kept.branch_deleted) == (True, "It is not merged.", False)


async def test_what_cannot_be_carried_home_keeps_the_worktree(scene: Scene) -> None:
    scene.hosts["head"].silent = True
    with pytest.raises(UnavailableError):
        await scene.many.retire_workspace(workspace())
    assert scene.deeds == ["worker: commits"]


async def test_one_that_was_moved_to_this_machine_can_go_on_elsewhere_again(scene: Scene) -> None:
    scene.scheduler.places[THERE] = "head"
    await scene.many.sync_transcript(THERE, "/t/talk.jsonl")
    await scene.many.remove_left_behind("head", THERE, workspace())
    await scene.many.remove_left_behind("worker", THERE, workspace())
    copied = f"head: copy /no-such-directory/{THERE}/talk.jsonl from head"
    assert scene.deeds == [copied, "head: retire", "worker: retire", f"worker: forget {THERE}"]


async def test_an_instance_settles_again_with_worktree_launch_and_conversation(scene: Scene) -> None:
    scene.scheduler.places[THERE] = "other"
    made = await scene.many.prepare_on_new_host(THERE, workspace(), "/t/talk.jsonl")
    assert scene.deeds == [
        f"head: origin again phalanx/{THERE}",
        f"other: end {THERE}",
        "other: retire",
        f"other: settle in {THERE} from head",
        f"other: forget {THERE}",
        f"other: keep launch of {THERE}",
        "other: copy /t/talk.jsonl from head anew",
    ]
    assert (made.home, made.base_commit) == (Path("/repository/.git"), "c")


async def test_leftovers_of_all_hosts_are_seen_and_collected_where_they_are(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    scene.hosts["head"].left, scene.hosts["worker"].left = ["exec_7"], ["exec_8"]
    found = await scene.many.orphans(())
    assert [(each.host, each.path.name) for each in found] == [("", "exec_7"), ("worker", "exec_8")]
    for each in found:
        await scene.many.remove_orphan(each)
    assert scene.deeds == ["head: collect exec_7", "worker: collect exec_8"]


async def test_a_plan_of_removals_is_made_by_each_host_for_what_is_on_it(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    scene.hosts["head"].left, scene.hosts["worker"].left = ["exec_7"], ["exec_8"]
    ours, theirs = await scene.many.orphans(())
    planned = await scene.many.plan_removals([workspace(), ours, theirs, replace(theirs, host="gone")])
    name = workspace().directory.name
    assert [getattr(each, "kept_reason", None) for each in planned] == [name, "exec_7", "exec_8", None]
    assert isinstance(planned[3], PhalanxError)
    assert scene.deeds == [f"worker: plan {name} exec_8", "head: plan exec_7"]


def test_a_host_that_hangs_does_not_keep_what_is_left_on_the_others_from_being_seen() -> None:
    async def play() -> None:
        scene = Scene()
        await scene.scheduler.link("worker")
        scene.hosts["head"].left = ["exec_7"]
        scene.hosts["worker"].silent = True
        assert [each.path.name for each in await scene.many.orphans(())] == ["exec_7"]

    virtual_time.run(play)


async def test_all_that_is_kept_of_an_instance_goes_with_it_here_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    (tmp_path / THERE).mkdir()
    (tmp_path / THERE / "talk.jsonl").write_text("{}")
    await scene.many.forget_instance(THERE)
    assert scene.deeds == [f"worker: forget {THERE}", f"head: forget {THERE}"]
    assert not (tmp_path / THERE).exists()


async def test_directories_of_nobody_are_found_on_every_host_and_go_on_every_host(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    scene.hosts["head"].directories, scene.hosts["worker"].directories = ["exec_7"], ["exec_7", "exec_8"]
    assert await scene.many.instance_directories() == ("exec_7", "exec_8")
    scene.deeds.clear()
    await scene.many.forget_instance("exec_8")
    assert sorted(set(scene.deeds)) == ["head: forget exec_8", "worker: forget exec_8"]
