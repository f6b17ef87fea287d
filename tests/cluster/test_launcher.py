"""``ray up cluster.yaml`` over ssh on hosts that are apart, a team on them, and ``ray down``. In this order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor import ray_node
from tests.cluster.asking import (
    git,
    instance_hosts,
    make_project,
    phalanx,
    programs_on,
    sessions,
    spawn,
    taken_slots,
    times_asked,
    wait_for_nodes,
    wait_until,
    wait_without,
)
from tests.cluster.rig import Rig, RigHost, login_home
from tests.cluster.rig.launcher import Launcher

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

JOINED_S = 120.0
GONE_S = 30.0
CARRIED_S = 30.0
BACK_S = 120.0


@pytest.fixture(scope="module")
def rig(make_rig: Callable[[int], Rig]) -> Rig:
    return make_rig(3)


@pytest.fixture(scope="module")
def launcher(rig: Rig, make_short_tmp: Callable[[], Path]) -> Iterator[Launcher]:
    made = Launcher(make_short_tmp(), rig.private_key, rig.hosts)
    yield made
    made.close()


@pytest.fixture(scope="module")
def nodes(rig: Rig, launcher: Launcher) -> Mapping[str, Mapping[str, Any]]:
    """The cluster, up."""
    rig.hosts[1].ssh("sh", "-c", "echo disk=fast > ~/phalanx-labels; echo umask 007 >> ~/.bashrc")
    launcher.up()
    return wait_for_nodes(rig.hosts[0], 3, JOINED_S)


@pytest.fixture(scope="module")
def head(rig: Rig, nodes: Mapping[str, Mapping[str, Any]]) -> RigHost:
    """With a team and a repository, which no other host has."""
    head = rig.hosts[0]
    make_project(head)
    phalanx(head, "up")
    return head


def has_at(head: RigHost, ref: str, file: str, text: str) -> bool:
    """Whether the ref comes to have the file with this content."""
    return wait_until(lambda: git(head, "show", f"{ref}:{file}") == text, CARRIED_S)


def assert_each_instance_takes_a_slot(head: RigHost) -> None:
    """So Ray counts, soon."""
    expected = len(instance_hosts(head))
    assert wait_until(lambda: taken_slots(head) == expected, CARRIED_S), (taken_slots(head), expected)


def listening(host_text: str) -> set[int]:
    """Ports beyond loopback, of what ``ss`` printed."""
    found = re.findall(r"\s(\S+):(\d+)\s+\S+:\*", host_text)
    return {int(port) for address, port in found if not address.startswith(("127.", "[::1]", "[::ffff:127."))}


def test_ray_up_brings_up_ray_on_all_hosts_with_their_slots_and_labels(rig: Rig, nodes: Mapping[str, Any]) -> None:
    assert sorted(nodes) == ["host2", "host3", "host4"]
    assert all(node["Resources"]["claude_slot"] >= 1 for node in nodes.values())
    assert {name: node["Labels"]["phalanx/host"] for name, node in nodes.items()} == {name: name for name in nodes}
    assert nodes["host3"]["Labels"]["disk"] == "fast"
    for host in rig.hosts:
        token = login_home() / ".ray" / "auth_token"
        assert host.ssh("stat", "-c", "%a", str(token)).strip() == "600"
        assert host.ssh("cat", str(token)).strip() not in programs_on(host)
        open_ports = listening(host.inside("ss", "-Hltn")) - {22}
        assert open_ports <= {
            ray_node.HEAD_PORT,
            ray_node.CLIENT_SERVER_PORT,
            *ray_node.NODE_PORTS.values(),
            *ray_node.WORKER_PORTS,
        }


def test_instances_are_spread_and_their_work_comes_home_mergeable(rig: Rig, head: RigHost) -> None:
    made = [spawn(head, f"@@demo commit file{number}.txt text{number}") for number in range(3)]

    hosts = instance_hosts(head)
    assert sorted(hosts[instance_id] for instance_id in made) == ["host2", "host3", "host4"]
    for number, instance_id in enumerate(made):
        assert has_at(head, f"phalanx/{instance_id}", f"file{number}.txt", f"text{number}")
        git(head, "merge", "-q", "-m", "Merge", f"phalanx/{instance_id}")
        assert f"tmux -u -S {login_home()}/.phalanx" in programs_on(rig.hosts[number])
    git(head, "fsck", "--strict")
    assert_each_instance_takes_a_slot(head)


def why_on(head: RigHost, host: str) -> Mapping[str, str]:
    """Why its instances are on the drained host still."""
    left = phalanx(head, "drain", host, "--no-wait")["remaining"]
    return {each["instanceId"]: each["why"] for each in left}


def test_a_host_can_be_chosen_by_name_and_by_label_and_be_drained(head: RigHost) -> None:
    named = spawn(head, "hello", "--host", "host4")
    labelled = spawn(head, "hello", "--label", "disk=fast")
    hosts = instance_hosts(head)
    assert (hosts[named], hosts[labelled]) == ("host4", "host3")
    phalanx(head, "drain", "host4", "--no-wait")
    later = [spawn(head, "hello") for _ in range(3)]

    hosts = instance_hosts(head)
    assert "host4" not in {hosts[instance_id] for instance_id in later}
    listed = {each["host"]: each for each in phalanx(head, "hosts")["hosts"]}
    assert listed["host4"]["status"] == "drained"
    assert listed["host2"]["supervisor"]
    phalanx(head, "drain", "host4", "--undo")
    phalanx(head, "drain", "host3", "--no-wait")
    assert wait_until(lambda: "Every host that is disk=fast is drained" in why_on(head, "host3")[labelled], CARRIED_S)
    assert instance_hosts(head)[labelled] == "host3"
    phalanx(head, "drain", "host3", "--undo")
    phalanx(head, "terminate", labelled)


def test_a_drained_host_hands_over_who_is_idle_at_once_and_who_is_at_work_after_the_turn(
    rig: Rig, head: RigHost
) -> None:
    idle = spawn(head, "@@demo commit done.txt work", "--host", "host3")
    busy = spawn(head, "@@demo never-answer", "--host", "host3")
    rig.hosts[1].ssh("sh", "-c", f"echo draft > .phalanx/worktrees/{idle}/draft.txt")

    early = phalanx(head, "drain", "host3", "--timeout", "0.5")
    waiting = phalanx(head, "send", busy, "for later")["messageId"]
    assert {each["instanceId"]: each["why"] for each in early["remaining"]}[busy].startswith("is at work")
    phalanx(head, "interrupt", busy)
    assert phalanx(head, "drain", "host3")["remaining"] == []

    hosts = instance_hosts(head)
    assert "host3" not in {hosts[idle], hosts[busy]}
    there = next(host for host in rig.hosts if host.name == hosts[idle])
    assert there.ssh("cat", f".phalanx/worktrees/{idle}/draft.txt") == "draft\n"
    assert there.ssh("cat", f".phalanx/worktrees/{idle}/done.txt").strip() == "work"
    phalanx(head, "send", "--wait", idle, "afterwards")
    assert [times_asked(head, idle, text) for text in ("@@demo commit", "afterwards")] == [1, 1]
    assert [times_asked(head, busy, text) for text in ("@@demo never-answer", "for later")] == [1, 1], waiting
    assert rig.hosts[1].ssh("sh", "-c", "ls .phalanx/worktrees") == ""
    assert "agents/demo/" not in programs_on(rig.hosts[1])
    phalanx(head, "drain", "host3", "--undo")


def test_a_drain_goes_on_when_the_supervisor_is_killed_in_the_middle_of_it(rig: Rig, head: RigHost) -> None:
    asked = {each: times_asked(head, each) for each, host in instance_hosts(head).items() if host == "host4"}
    early = phalanx(head, "drain", "host4", "--timeout", "0.5")
    assert early["remaining"]
    head.ssh("kill", "-9", str(phalanx(head, "status")["supervisorPid"]))
    # On a busy machine it takes longer until Ray has brought the supervisor back than a new client waits.
    assert wait_until(lambda: bool(phalanx(head, "status")), BACK_S)
    assert phalanx(head, "drain", "host4")["remaining"] == []

    hosts = instance_hosts(head)
    for instance_id, times in asked.items():
        there = [host.name for host in rig.hosts if instance_id in sessions(host)]
        assert there == [hosts[instance_id]] != ["host4"]
        phalanx(head, "send", "--wait", instance_id, "afterwards")
        assert times_asked(head, instance_id) == times + 1
    phalanx(head, "drain", "host4", "--undo")


def test_git_batch_works_where_the_instance_is(head: RigHost) -> None:
    instance_id = spawn(head, "@@demo commit mine.txt text", "--host", "host4")
    worktree = str(login_home() / ".phalanx/worktrees" / instance_id)
    asked = [
        {"type": "log", "workspaceDir": worktree, "params": {"maxCount": 1}},
        {"type": "status", "workspaceDir": str(login_home() / "project")},
        {"type": "branch", "workspaceDir": worktree, "params": {"branchName": "beside"}},
    ]
    head.ssh("sh", "-c", f"echo {shlex.quote(json.dumps(asked))} > asked.json")
    answered = phalanx(head, "git", "--file", "../asked.json")["results"]
    assert [each["success"] for each in answered] == [True, True, True], answered
    assert "mine.txt" in str(answered[0]["result"])
    assert "beside" not in git(head, "branch", "--list")


def test_what_was_done_on_another_host_is_brought_home_and_merged(head: RigHost) -> None:
    near = spawn(head, "@@demo commit near.txt text", "--host", head.name)
    far = spawn(head, "@@demo commit far.txt text", "--host", "host4")
    phalanx(head, "wait", near, far)

    merged = phalanx(head, "merge", near, far)

    assert merged["moved"], merged
    assert {each["state"] for each in merged["instances"]} == {"merged"}
    assert {"near.txt", "far.txt"} <= set(head.ssh("ls", "project").split())


def test_agents_of_a_host_make_files_as_its_user_does_and_ray_s_are_private(rig: Rig, head: RigHost) -> None:
    instance_id = spawn(head, "@@demo commit mine.txt text", "--host", "host3")
    worktree = f".phalanx/worktrees/{instance_id}"
    modes = rig.hosts[1].ssh("stat", "-c", "%a", f"{worktree}/mine.txt", f"{worktree}/README")
    assert modes.split() == ["660", "660"]


def test_messages_arrive_on_other_hosts_and_unsaved_work_comes_home_at_intervals(rig: Rig, head: RigHost) -> None:
    instance_id = spawn(head, "hello", "--host", "host3")
    sent = phalanx(head, "send", "--wait", instance_id, "a second message")
    worktree = f".phalanx/worktrees/{instance_id}"
    rig.hosts[1].ssh("sh", "-c", f"echo draft > {worktree}/draft.txt")

    assert sent["status"] == "submitted"
    assert has_at(head, f"refs/phalanx/saved/{instance_id}.latest", "draft.txt", "draft")

    ended = phalanx(head, "terminate", instance_id)["terminated"][0]
    assert ended["workspaceRemoved"]
    assert_each_instance_takes_a_slot(head)
    assert git(head, "show", f"{ended['savedRef']}:draft.txt") == "draft"
    assert rig.hosts[1].ssh("sh", "-c", f"ls -d {worktree} 2>/dev/null || echo gone").strip() == "gone"


def test_the_team_goes_down_on_all_hosts_and_leaves_ray_alone(rig: Rig, head: RigHost) -> None:
    phalanx(head, "down")

    for host in rig.hosts:
        assert wait_without(host, "tmux -u -S", 10), programs_on(host)
        assert "agents/demo/" not in programs_on(host)
        assert "ray/raylet/raylet" in programs_on(host)


def test_ray_down_ends_ray_on_all_hosts_and_nobody_else_s(rig: Rig, launcher: Launcher, nodes: object) -> None:
    head = rig.hosts[0]
    head.ssh("bash", "-c", "(exec -a 'other-raylet/raylet ray::IDLE' sleep 1000) >/dev/null 2>&1 </dev/null &")

    launcher.down()

    assert "other-raylet/raylet ray::IDLE" in programs_on(head)
    for host in rig.hosts:
        assert wait_without(host, "ray/raylet/raylet", GONE_S), programs_on(host)
        assert wait_without(host, "ray::DashboardAgent", GONE_S), programs_on(host)
    assert "ray/gcs/gcs_server" not in programs_on(head)
