"""Spares wait on every host, and a spawn takes what is ready where it goes. In this order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import pytest

from tests.cluster.asking import git, instance_hosts, phalanx, sessions, spawn, taken_slots, times_asked, wait_until
from tests.cluster.rig import Rig, RigHost

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

SOON_S = 60.0
BACK_S = 180.0
"""Until the launcher has started Ray there again."""


@pytest.fixture(scope="module")
def team(head: RigHost) -> Iterator[RigHost]:
    """The head; its repository has got a commit since it was prepared for."""
    phalanx(head, "up")
    assert wait_until(lambda: [each["status"] for each in phalanx(head, "hosts")["hosts"]] == ["up"] * 3, SOON_S)
    warm = phalanx(head, "prewarm", "--dir", ".", "--worktrees", "3", "3")
    assert (warm["success"], warm["instances"], warm["worktrees"]) == (True, 3, 3), warm
    git(head, "commit", "-q", "--allow-empty", "-m", "Later")
    yield head
    phalanx(head, "down")


def start(head: RigHost, text: str, *words: str) -> Mapping[str, Any]:
    made: Mapping[str, Any] = phalanx(head, "spawn", "--dir", ".", *words, text)
    return made


def spares(head: RigHost, kind: str) -> dict[str, int]:
    hosts = phalanx(head, "perf")["metrics"]["hosts"]
    return {each["host"]: each["spares"][kind] for each in hosts if each["spares"]}  # a host that is new has told none


def test_what_is_ordered_is_spread_over_the_hosts(rig: Rig, team: RigHost) -> None:
    one_each = {host.name: 1 for host in rig.hosts}
    assert spares(team, "instances") == spares(team, "worktrees") == one_each
    assert [[name.startswith("spare_") for name in sessions(host)] for host in rig.hosts] == [[True]] * len(rig.hosts)
    assert git(team, "branch", "--list", "phalanx/spare*") == ""


def test_a_spawn_for_a_host_takes_what_is_ready_there_at_the_commit_that_is_the_last_now(
    rig: Rig, team: RigHost
) -> None:
    host = rig.hosts[2]

    warm = start(team, "@@demo commit mine.txt warm", "--host", host.name)
    cold = start(team, "@@demo commit mine.txt cold", "--host", host.name, "--model", "other")

    assert (warm.get("fromPool", False), cold.get("fromPool", False)) == (True, False)
    assert "/spare_" in cold["workingDirectory"]
    for made, text in ((warm, "warm"), (cold, "cold")):
        instance_id, branch = made["instanceId"], made["branch"]
        assert instance_hosts(team)[instance_id] == host.name
        assert instance_id in sessions(host)
        assert wait_until(lambda: git(team, "show", f"{branch}:mine.txt") == text, SOON_S)  # noqa: B023
        assert git(team, "rev-parse", f"{branch}^") == git(team, "rev-parse", "main")
        assert times_asked(team, instance_id) == 1
    for made in (warm, cold):
        (ended,) = phalanx(team, "terminate", made["instanceId"])["terminated"]
        assert ended["workspaceRemoved"], ended
    left = host.ssh("ls", ".phalanx/worktrees").split()
    assert not {PurePath(made["workingDirectory"]).name for made in (warm, cold)} & set(left)
    assert spares(team, "instances")[host.name] == spares(team, "worktrees")[host.name] == 0


def test_spares_of_all_hosts_outlive_the_supervisor(rig: Rig, team: RigHost) -> None:
    before = [sessions(host) for host in rig.hosts]
    (killed,) = rig.hosts[0].inside("pgrep", "-f", "^ray::_SupervisorServer").split()
    rig.hosts[0].inside("kill", "-9", killed)

    kept = {host.name: len(names) for host, names in zip(rig.hosts, before, strict=True)}
    assert wait_until(lambda: spares(team, "instances") == kept, SOON_S)
    assert [sessions(host) for host in rig.hosts] == before


def test_a_spare_on_another_host_is_taken_while_the_instances_stay_spread_but_for_one(rig: Rig, team: RigHost) -> None:
    made = [start(team, "hello") for _ in range(2)]

    assert [each.get("fromPool", False) for each in made] == [True, True]
    places = sorted(instance_hosts(team)[each["instanceId"]] for each in made)
    assert places == [rig.hosts[0].name, rig.hosts[1].name]


def test_one_made_of_a_spare_is_handed_over_from_a_drained_host_which_has_no_spares_from_then_on(
    rig: Rig, team: RigHost
) -> None:
    head, second, third = rig.hosts
    warm = phalanx(team, "prewarm", "--dir", ".", "--worktrees", "3", "3")
    assert warm["success"], warm
    assert spares(team, "instances")[third.name] >= 1
    instance_id = spawn(team, "@@demo commit mine.txt moved", "--host", third.name)

    drained = phalanx(team, "drain", third.name)

    assert drained["remaining"] == []
    assert instance_hosts(team)[instance_id] in {head.name, second.name}
    sent = phalanx(team, "send", "--wait", instance_id, "afterwards")
    assert sent["status"] == "submitted"
    assert times_asked(team, instance_id) == 2
    assert wait_until(lambda: sessions(third) == set(), SOON_S), sessions(third)
    assert wait_until(lambda: third.ssh("ls", ".phalanx/worktrees").split() == [], SOON_S)
    assert spares(team, "instances").get(third.name, 0) == 0
    refused = phalanx(team, "drain", third.name, "--undo")
    assert not refused["drained"]


def test_a_host_whose_ray_is_killed_takes_its_spares_out_and_no_slot_is_lost(rig: Rig, team: RigHost) -> None:
    head, third = rig.hosts[0], rig.hosts[2]
    warm = phalanx(team, "prewarm", "--dir", ".", "4")
    assert warm["success"], warm
    assert sessions(third)
    (raylet,) = third.inside("pgrep", "-x", "raylet").split()
    third.inside("kill", "-9", raylet)

    assert wait_until(lambda: third.name not in spares(team, "instances"), SOON_S)
    assert wait_until(lambda: sum(spares(team, "instances").values()) == 4, SOON_S), spares(team, "instances")
    assert wait_until(lambda: third.name in spares(team, "instances"), BACK_S)
    assert wait_until(lambda: sessions(third) == set(), SOON_S), sessions(third)
    assert wait_until(lambda: third.ssh("ls", ".phalanx/worktrees").split() == [], 2 * SOON_S)
    assert wait_until(lambda: taken_slots(head) == in_use(team), SOON_S), (taken_slots(head), in_use(team))


def in_use(head: RigHost) -> int:
    """Slots, as the team counts: of instances that live, and of spares. A team before has left some that do not."""
    living = [each for each in phalanx(head, "list")["instances"] if each["status"] not in ("stopped", "failed")]
    return len(living) + sum(spares(head, "instances").values())
