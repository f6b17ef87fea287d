"""A host loses power, another is cut off and healed: its instances go on elsewhere, once, with their work and mail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.asking import phalanx, wait_for_nodes
from tests.cluster.rig import Rig, RigHost
from tests.cluster.rig.commands import RigError
from tests.cluster.rig.launcher import Launcher

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(560)]

MOVED_S = 240.0
"""Ray takes a host that is cut off for dead after a minute and a half; then its lease is waited for."""
HEALED_S = 180.0


@pytest.fixture(scope="module")
def rig(make_rig: Callable[[int], Rig]) -> Rig:
    return make_rig(3)


@pytest.fixture(scope="module")
def head(rig: Rig, make_short_tmp: Callable[[], Path]) -> Iterator[RigHost]:
    launcher = Launcher(make_short_tmp(), rig.private_key, rig.hosts)
    launcher.up()
    head = rig.hosts[0]
    assert len(wait_for_nodes(head, 3, 120)) == 3
    head.ssh("sh", "-c", _PROJECT)
    phalanx(head, "up")
    yield head
    launcher.close()


_PROJECT = """
git init -q -b main project && cd project && git config user.name Tester && git config user.email t@example.invalid
echo one > README && git add . && git commit -q -m One
"""


def spawn_on(head: RigHost, host: str, text: str) -> str:
    return str(phalanx(head, "spawn", "--dir", ".", "--host", host, text)["instanceId"])


def instance(head: RigHost, instance_id: str) -> Mapping[str, Any]:
    listed = phalanx(head, "list", "--all")["instances"]
    return next(each for each in listed if each["instanceId"] == instance_id)


def wait_until(what: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if what():
                return True
        except RigError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)


def saved(head: RigHost, instance_id: str) -> bool:
    shown = head.ssh("git", "-C", "project", "show", f"refs/phalanx/saved/{instance_id}.latest:draft.txt")
    return shown == "draft\n"


def questions(head: RigHost, instance_id: str, text: str) -> int:
    page = phalanx(head, "read", "--lines", "1000", instance_id)
    return sum(text in str(entry) for entry in page["entries"] if entry["kind"] == "question")


def runs_on(host: RigHost, instance_id: str) -> bool:
    return instance_id in host.inside("tmux", "-S", f"{Path.home()}/.phalanx/tmux.sock", "list-sessions", "-F", "#S")


def begin(rig: Rig, head: RigHost, host: RigHost) -> str:
    """An instance with a commit and a draft that came home."""
    instance_id = spawn_on(head, host.name, "@@demo commit done.txt work")
    host.ssh("sh", "-c", f"echo draft > .phalanx/worktrees/{instance_id}/draft.txt")
    assert wait_until(lambda: saved(head, instance_id), 30)
    return instance_id


def check_went_on(rig: Rig, head: RigHost, instance_id: str, lost: RigHost) -> None:
    sent = phalanx(head, "send", instance_id, "for whoever lives")

    def moved() -> bool:
        now = instance(head, instance_id)
        return bool(now["host"] != lost.name and now["status"] == "ready")

    assert wait_until(moved, MOVED_S), instance(head, instance_id)
    assert sent["status"] in ("accepted", "blocked")
    assert wait_until(lambda: questions(head, instance_id, "for whoever lives") == 1, 30)
    assert questions(head, instance_id, "@@demo commit done.txt") == 1
    there = next(host for host in rig.hosts if host.name == instance(head, instance_id)["host"])
    assert there.ssh("cat", f".phalanx/worktrees/{instance_id}/draft.txt") == "draft\n"
    assert there.ssh("cat", f".phalanx/worktrees/{instance_id}/done.txt").strip() == "work"


def test_instances_of_a_host_without_power_go_on_elsewhere(rig: Rig, head: RigHost) -> None:
    lost = rig.hosts[1]
    instance_id = begin(rig, head, lost)

    lost.lose_power()

    check_went_on(rig, head, instance_id, lost)
    listed = {each["host"]: each for each in phalanx(head, "hosts")["hosts"]}
    assert lost.name not in listed


def test_a_host_that_was_cut_off_comes_back_without_a_second_copy(rig: Rig, head: RigHost) -> None:
    lost = rig.hosts[2]
    instance_id = begin(rig, head, lost)

    lost.cut()
    check_went_on(rig, head, instance_id, lost)
    assert runs_on(lost, instance_id)
    lost.heal()

    assert wait_until(lambda: not runs_on(lost, instance_id), HEALED_S)
    assert instance(head, instance_id)["host"] != lost.name
    phalanx(head, "send", "--wait", instance_id, "afterwards")
    assert questions(head, instance_id, "afterwards") == 1
    assert questions(head, instance_id, "for whoever lives") == 1
