"""Calls go to the host that each is about, and what came home of conversations on other hosts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from actors.agents.base import Handover
from actors.errors import PhalanxError, UnavailableError, WorkspaceError
from actors.nodes import Node
from supervisor.cluster.router import HostRouter, TranscriptCopies
from supervisor.cluster.scheduler import HostScheduler
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Registry
from tests.fakes.calls import CallLog
from tests.fakes.hosts import FakeCluster, FakeHost, workspace
from tests.fakes.team import FIRST, SECOND, record


class Scene:
    """Three hosts that share a log. ``FIRST`` is on this machine, ``SECOND`` on another one."""

    def __init__(self, conversations: Path = Path("/no-such-directory")) -> None:
        self.log = CallLog()
        self.hosts = {name: FakeHost(name, self.log, several=True) for name in ("head", "worker", "other")}
        nodes = (Node(name=name, address=name, slots=4) for name in self.hosts)
        self.registry = Registry()
        cluster = FakeCluster(*nodes, hosts=self.hosts)
        self.scheduler = HostScheduler("head", self.hosts["head"], cluster, self.registry, InstanceLinks())
        self.scheduler.places = {FIRST: "head", SECOND: "worker"}
        self.router = HostRouter(self.scheduler, self.registry, conversations)

    def add_agents(self, host: str, *names: str) -> None:
        for name in names:
            self.hosts[host].add_agent(name)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_each_call_goes_to_the_host_of_the_instance_that_it_is_about(scene: Scene) -> None:
    await scene.router.end_agent(FIRST, FIRST, 1.0)
    await scene.router.end_agent(SECOND, SECOND, 1.0)
    await scene.router.end_agent("spec_0_0_9", "spec_0_0_9", 1.0)
    assert scene.log.calls == [f"head: end {FIRST}", f"worker: end {SECOND}", "head: end spec_0_0_9"]


async def test_all_agents_are_seen_and_a_copy_where_it_does_not_belong_any_more_is_ended(scene: Scene) -> None:
    scene.add_agents("head", FIRST)
    scene.add_agents("worker", SECOND, FIRST)
    assert sorted(agent.session_name for agent in await scene.router.agents()) == [FIRST, SECOND]
    assert scene.log.calls == [f"worker: end {FIRST}"]
    assert scene.scheduler.away == set()


async def test_a_host_that_does_not_answer_is_away_with_its_instances_and_hides_nobody_else(scene: Scene) -> None:
    scene.add_agents("head", FIRST)
    scene.hosts["worker"].silent = True
    assert [agent.session_name for agent in await scene.router.agents()] == [FIRST]
    assert scene.scheduler.instances_away == [SECOND]


async def test_code_goes_to_another_host_before_its_worktree_is_made_there(scene: Scene) -> None:
    made = await scene.router.create_workspace(SECOND, Path("/project"), "isolated")
    assert scene.log.calls == [f"head: origin {SECOND}", "worker: settle from head"]
    assert made.home == Path("/repository/.git")
    scene.log.calls.clear()
    await scene.router.create_workspace(FIRST, Path("/project"), "isolated")
    await scene.router.create_workspace(SECOND, Path("/srv"), "shared")
    assert scene.log.calls == ["head: create isolated", "worker: create shared"]


async def test_a_branch_whose_worktree_could_not_be_made_elsewhere_is_dropped_again(scene: Scene) -> None:
    scene.hosts["worker"].silent = True
    with pytest.raises(UnavailableError):
        await scene.router.create_workspace(SECOND, Path("/project"), "isolated")
    assert scene.log.calls == [f"head: origin {SECOND}", f"head: drop {SECOND}"]


async def test_work_comes_home_before_and_after_the_worktree_goes(scene: Scene) -> None:
    removal = await scene.router.retire_workspace(workspace(SECOND))
    carried = ["worker: commits", "head: import from worker"]
    assert scene.log.calls == [*carried, "worker: retire", *carried, f"head: drop phalanx/{SECOND}"]
    assert removal.branch_deleted
    scene.hosts["head"].kept_branch = "It is not merged."
    kept = await scene.router.retire_workspace(workspace(SECOND))
    assert (kept.removed, kept.kept_reason, kept.branch_deleted) == (True, "It is not merged.", False)


async def test_what_cannot_be_carried_home_keeps_the_worktree(scene: Scene) -> None:
    scene.hosts["head"].silent = True
    with pytest.raises(UnavailableError):
        await scene.router.retire_workspace(workspace(SECOND))
    assert scene.log.calls == ["worker: commits"]


async def test_one_that_was_moved_to_this_machine_can_go_on_elsewhere_again(scene: Scene) -> None:
    scene.scheduler.places[SECOND] = "head"
    await scene.router.sync_transcript(SECOND, "/t/talk.jsonl")
    await scene.router.remove_left_behind("head", SECOND, workspace(SECOND))
    await scene.router.remove_left_behind("worker", SECOND, workspace(SECOND))
    copied = f"head: copy /no-such-directory/{SECOND}/talk.jsonl from head"
    assert scene.log.calls == [copied, "head: retire", "worker: retire", f"worker: forget {SECOND}"]


async def test_an_instance_settles_again_with_worktree_launch_and_conversation(scene: Scene) -> None:
    scene.scheduler.places[SECOND] = "other"
    made = await scene.router.prepare_on_new_host(SECOND, workspace(SECOND), "/t/talk.jsonl")
    assert scene.log.calls == [
        f"head: origin again phalanx/{SECOND}",
        f"other: end {SECOND}",
        "other: retire",
        f"other: settle in {SECOND} from head",
        f"other: forget {SECOND}",
        f"other: keep launch of {SECOND}",
        "other: copy /t/talk.jsonl from head anew",
    ]
    assert (made.home, made.base_commit) == (Path("/repository/.git"), "c")


async def test_leftovers_of_all_hosts_are_seen_and_collected_where_they_are(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    scene.hosts["head"].worktrees, scene.hosts["worker"].worktrees = ["exec_7"], ["exec_8"]
    found = await scene.router.orphans(())
    assert [(each.host, each.path.name) for each in found] == [("", "exec_7"), ("worker", "exec_8")]
    for each in found:
        await scene.router.remove_orphan(each)
    assert scene.log.calls == ["head: collect exec_7", "worker: collect exec_8"]


async def test_a_spawn_is_withdrawn_and_what_was_made_for_it_discarded_where_its_instance_is(scene: Scene) -> None:
    head, worker = scene.hosts["head"], scene.hosts["worker"]
    head.worktrees, worker.worktrees, worker.making = [SECOND], [SECOND, f"{SECOND}-2"], {SECOND}
    with pytest.raises(UnavailableError, match="still being made"):
        await scene.router.withdraw(SECOND)
    worker.making = set()
    await scene.router.withdraw(SECOND)
    await scene.router.discard_worktrees(SECOND, [])
    assert (head.worktrees, worker.worktrees) == ([SECOND], [])


async def test_a_plan_of_removals_is_made_by_each_host_for_what_is_on_it(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    scene.hosts["head"].worktrees, scene.hosts["worker"].worktrees = ["exec_7"], ["exec_8"]
    ours, theirs = await scene.router.orphans(())
    planned = await scene.router.plan_removals([workspace(SECOND), ours, theirs, replace(theirs, host="gone")])
    name = workspace(SECOND).directory.name
    assert [getattr(each, "kept_reason", None) for each in planned] == [name, "exec_7", "exec_8", None]
    assert isinstance(planned[3], PhalanxError)
    assert scene.log.calls == [f"worker: plan {name} exec_8", "head: plan exec_7"]


async def test_a_host_that_hangs_does_not_keep_what_is_left_on_the_others_from_being_seen() -> None:
    scene = Scene()
    await scene.scheduler.link("worker")
    scene.hosts["head"].worktrees = ["exec_7"]
    scene.hosts["worker"].silent = True
    assert [each.path.name for each in await scene.router.orphans(())] == ["exec_7"]


async def test_all_that_is_kept_of_an_instance_goes_with_it_here_too(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    (tmp_path / SECOND).mkdir()
    (tmp_path / SECOND / "talk.jsonl").write_text("{}")
    await scene.router.forget_instance(SECOND)
    assert scene.log.calls == [f"worker: forget {SECOND}", f"head: forget {SECOND}"]
    assert not (tmp_path / SECOND).exists()


async def test_directories_of_nobody_are_found_on_every_host_and_go_on_every_host(scene: Scene) -> None:
    await scene.scheduler.link("worker")
    scene.hosts["head"].directories, scene.hosts["worker"].directories = ["exec_7"], ["exec_7", "exec_8"]
    assert await scene.router.instance_directories() == ("exec_7", "exec_8")
    await scene.router.forget_instance("exec_8")
    assert sorted(set(scene.log.calls)) == ["head: forget exec_8", "worker: forget exec_8"]


async def test_a_spare_is_made_and_bound_on_the_host_that_was_chosen_for_it(scene: Scene) -> None:
    scene.scheduler.places.update({"spare_1": "head", "spare_2": "worker"})
    here = await scene.router.create_spare("spare_1", Path("/project"))
    there = await scene.router.create_spare("spare_2", Path("/project"))
    assert (here.home, there.home) == (None, Path("/repository/.git"))
    assert await scene.router.is_spare(there)
    await scene.router.bind_spare(here, FIRST, Path("/project"))
    bound = await scene.router.bind_spare(there, SECOND, Path("/project"))
    assert (bound.branch, bound.home) == (f"phalanx/{SECOND}", Path("/repository/.git"))
    assert scene.log.calls == [
        "head: create spare_1",
        "head: look for spare_2",
        "worker: settle spare spare_2 from head",
        "worker: is it spare",
        f"head: bind to {FIRST}",
        f"head: origin {SECOND}",
        f"worker: bind to {SECOND} from head",
    ]


async def test_a_spare_that_nobody_had_goes_alone_and_one_that_was_being_given_takes_the_branch_along(
    scene: Scene,
) -> None:
    scene.scheduler.places["spare_2"] = "worker"
    await scene.router.undo_workspace(workspace("spare_2"))
    assert scene.log.calls == ["worker: undo"]
    scene.log.calls.clear()
    scene.hosts["worker"].bound_branch = "phalanx/spec_0_0_9"
    await scene.router.undo_workspace(workspace("spare_2"))
    carried = ["worker: commits", "head: import from worker"]
    assert scene.log.calls == [*carried, "worker: undo", "head: drop phalanx/spec_0_0_9"]


async def test_a_spare_that_cannot_be_bound_leaves_no_branch_and_takes_none_that_an_instance_may_have_got_since(
    scene: Scene,
) -> None:
    scene.scheduler.places.update({"spare_2": "worker", "spare_3": "worker"})
    scene.hosts["worker"].spare_was_changed = True
    with pytest.raises(WorkspaceError):
        await scene.router.bind_spare(workspace("spare_2"), SECOND, Path("/project"))
    assert scene.log.calls[-1] == f"head: drop {SECOND}"
    scene.log.calls.clear()
    scene.hosts["worker"].bound_branch = f"phalanx/{SECOND}"  # the host died in the middle of it
    await scene.router.undo_workspace(workspace("spare_2"))
    assert scene.log.calls == ["worker: undo"]
    scene.log.calls.clear()
    # And so did the supervisor that knew.
    scene.registry.restore(record(2, workspace=workspace(SECOND)), now=1.0)
    await scene.router.undo_workspace(workspace("spare_3"))
    assert scene.log.calls == ["worker: undo"]


async def test_how_a_spare_agent_that_was_given_is_started_again_is_kept_here_too(scene: Scene) -> None:
    scene.scheduler.places.update({"spare_1": "head", "spare_2": "worker"})
    for place, instance_id in (("spare_1", FIRST), ("spare_2", SECOND)):
        given = Handover(place=place, session_name=place, instance_id=instance_id, identity="who")
        await scene.router.hand_over(given)
    assert scene.log.calls == [
        f"head: hand spare_1 over to {FIRST}",
        f"worker: hand spare_2 over to {SECOND}",
        "head: keep launch of spare_2",
    ]


async def test_a_stale_copy_of_one_that_was_made_of_a_spare_is_ended_by_the_directory_that_it_has(scene: Scene) -> None:
    scene.registry.restore(record(1, spare="spare_1"), now=1.0)
    scene.scheduler.places["spare_1"] = "head"
    scene.add_agents("worker", FIRST)
    await scene.router.agents()
    assert scene.log.calls == [f"worker: end {FIRST} in spare_1"]


TRANSCRIPT = "/elsewhere/talk.jsonl"
ONE, TWO, THREE = "msg_00000a", "msg_00000b", "msg_00000c"


def line(*message_ids: str) -> str:
    """As an agent writes down what it was asked."""
    text = "\n\n".join(f"[phalanx {one} from lead]\ndo it" for one in message_ids)
    return json.dumps({"type": "user", "message": {"content": text}}) + "\n"


@pytest.fixture
def copies(tmp_path: Path) -> TranscriptCopies:
    return TranscriptCopies(tmp_path)


def write(copies: TranscriptCopies, text: str) -> Path:
    path = copies.path(FIRST, TRANSCRIPT)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_it_tells_which_messages_stand_in_whole_lines(copies: TranscriptCopies) -> None:
    write(copies, line(ONE, "msg_ffffff") + line(TWO) + line(THREE)[:-4])
    assert copies.shown(FIRST, TRANSCRIPT, {ONE, TWO, THREE}) == {ONE, TWO}


def test_nothing_is_shown_where_nothing_came_home(copies: TranscriptCopies) -> None:
    assert copies.shown(FIRST, TRANSCRIPT, {ONE}) == set()
    write(copies, line(ONE))
    assert copies.shown(FIRST, "", {ONE}) == set()


def test_there_need_not_be_a_copy_to_go_on_by(copies: TranscriptCopies) -> None:
    copies.end_whole(FIRST, TRANSCRIPT)


@pytest.mark.parametrize("torn", ["", '{"half', "x" * 200_000])
@pytest.mark.parametrize("whole", ["", line(ONE), line(ONE) + line(TWO)])
def test_a_half_written_line_is_taken_away_and_nothing_else(copies: TranscriptCopies, whole: str, torn: str) -> None:
    path = write(copies, whole + torn)
    copies.end_whole(FIRST, TRANSCRIPT)
    assert path.read_text() == whole


def test_a_copy_that_cannot_be_read_is_told_of_in_words(copies: TranscriptCopies) -> None:
    copies.path(FIRST, TRANSCRIPT).mkdir(parents=True)
    for use in (lambda: copies.shown(FIRST, TRANSCRIPT, {ONE}), lambda: copies.end_whole(FIRST, TRANSCRIPT)):
        with pytest.raises(WorkspaceError, match="cannot be used"):
            use()


async def test_a_worktree_elsewhere_is_prepared_there_with_files_from_here(scene: Scene) -> None:
    files = await scene.router.read_files(Path("/project"), [".env"])
    there = workspace(SECOND, home="/repository/.git")
    await scene.router.prepare_workspace(SECOND, there, files, "make deps", {})
    assert scene.log.calls == ["head: read .env", f"worker: prepare {SECOND}: .env; make deps"]
