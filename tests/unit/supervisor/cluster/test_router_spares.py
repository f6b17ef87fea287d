from __future__ import annotations

from pathlib import Path

import pytest

from actors.agents.base import Handover
from actors.errors import WorkspaceError
from tests.unit.supervisor.cluster.machines import HERE, THERE, Scene, workspace
from tests.unit.supervisor.stand_ins import record


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_spare_is_made_and_bound_on_the_host_that_was_chosen_for_it(scene: Scene) -> None:
    scene.scheduler.places.update({"spare_1": "head", "spare_2": "worker"})
    here = await scene.many.create_spare("spare_1", Path("/project"))
    there = await scene.many.create_spare("spare_2", Path("/project"))
    assert (here.home, there.home) == (None, Path("/repository/.git"))
    assert await scene.many.is_spare(there)
    await scene.many.bind_spare(here, HERE, Path("/project"))
    bound = await scene.many.bind_spare(there, THERE, Path("/project"))
    assert (bound.branch, bound.home) == (f"phalanx/{THERE}", Path("/repository/.git"))
    assert scene.deeds == [
        "head: create spare_1",
        "head: look for spare_2",
        "worker: settle spare spare_2 from head",
        "worker: is it spare",
        f"head: bind to {HERE}",
        f"head: origin {THERE}",
        f"worker: bind to {THERE} from head",
    ]


async def test_a_spare_that_cannot_be_bound_leaves_no_branch(scene: Scene) -> None:
    scene.scheduler.places["spare_2"] = "worker"
    scene.hosts["worker"].touched = True
    with pytest.raises(WorkspaceError):
        await scene.many.bind_spare(workspace(name="spare_2"), THERE, Path("/project"))
    assert scene.deeds[-1] == f"head: drop {THERE}"


async def test_a_spare_that_nobody_had_goes_alone_and_one_that_was_being_given_takes_the_branch_along(
    scene: Scene,
) -> None:
    scene.scheduler.places["spare_2"] = "worker"
    await scene.many.undo_workspace(workspace(name="spare_2"))
    assert scene.deeds == ["worker: undo"]
    scene.deeds.clear()
    scene.hosts["worker"].bound = "phalanx/spec_0_0_9"
    await scene.many.undo_workspace(workspace(name="spare_2"))
    carried = ["worker: commits", "head: come home from worker"]
    assert scene.deeds == [*carried, "worker: undo", "head: drop phalanx/spec_0_0_9"]


async def test_one_whose_binding_failed_takes_no_branch_along_that_an_instance_may_have_got_since(scene: Scene) -> None:
    scene.scheduler.places.update({"spare_2": "worker", "spare_3": "worker"})
    scene.hosts["worker"].touched = True
    with pytest.raises(WorkspaceError):
        await scene.many.bind_spare(workspace(name="spare_2"), THERE, Path("/project"))
    scene.deeds.clear()
    scene.hosts["worker"].bound = f"phalanx/{THERE}"  # the host died in the middle of it
    await scene.many.undo_workspace(workspace(name="spare_2"))
    assert scene.deeds == ["worker: undo"]
    scene.deeds.clear()
    # And so did the supervisor that knew.
    scene.registry.restore(record(2, workspace=workspace(name=THERE)), now=1.0)
    await scene.many.undo_workspace(workspace(name="spare_3"))
    assert scene.deeds == ["worker: undo"]


async def test_how_a_spare_agent_that_was_given_is_started_again_is_kept_here_too(scene: Scene) -> None:
    scene.scheduler.places.update({"spare_1": "head", "spare_2": "worker"})
    for place, instance_id in (("spare_1", HERE), ("spare_2", THERE)):
        given = Handover(place=place, session_name=place, instance_id=instance_id, identity="who")
        await scene.many.hand_over(given)
    assert scene.deeds == [
        f"head: hand spare_1 over to {HERE}",
        f"worker: hand spare_2 over to {THERE}",
        "head: keep launch of spare_2",
    ]


async def test_a_stale_copy_of_one_that_was_made_of_a_spare_is_ended_by_the_directory_that_it_has(scene: Scene) -> None:
    scene.registry.restore(record(1, spare="spare_1"), now=1.0)
    scene.scheduler.places["spare_1"] = "head"
    scene.hosts["worker"].sessions = [HERE]
    await scene.many.agents()
    assert scene.deeds == [f"worker: end {HERE} in spare_1"]
