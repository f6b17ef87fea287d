"""Two real Claude Code instances on two hosts work on branches of one repository, which the head alone has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.cluster.asking import git, phalanx, wait_until
from tests.cluster.rig import Rig, RigHost
from tests.cluster.team.claude import serve_standin
from tests.standin.claude_versions import installed_claude

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.real_claude,
    pytest.mark.timeout(400),
]

ASKED_S = 60.0
CARRIED_S = 30.0


@pytest.fixture(scope="module")
def team(rig: Rig, head: RigHost) -> Iterator[RigHost]:
    """The head; the workers have their stand-ins. The hosts run the newest Claude Code."""
    installed_claude("newest")
    for host in rig.hosts[1:]:
        serve_standin(host)
    phalanx(head, "up")
    yield head
    phalanx(head, "down")


def commit(file: str, text: str) -> str:
    """What makes the Claude commit, by its own Bash tool."""
    command = f"echo {text} >> {file} && git add {file} && git commit -q -m '{text}'"
    return f"@@tool Bash {json.dumps({'command': command, 'description': 'Commit'})}"


def look(head: RigHost, instance_id: str) -> Mapping[str, Any]:
    listed = phalanx(head, "list")["instances"]
    return next(each for each in listed if each["instanceId"] == instance_id)


def allow(head: RigHost, instance_id: str) -> None:
    """Its tool call, once it asks."""
    assert wait_until(lambda: look(head, instance_id)["permission"] is not None, ASKED_S), look(head, instance_id)
    phalanx(head, "respond", instance_id, "allow")


def test_two_claudes_on_two_hosts_bring_home_branches_that_can_be_merged(rig: Rig, team: RigHost) -> None:
    head, workers = team, rig.hosts[1:]
    made = {
        host.name: str(
            phalanx(
                *(head, "spawn", "--dir", ".", "--agent", "claude", "--host", host.name),
                commit(f"{host.name}.txt", "first"),
            )["instanceId"]
        )
        for host in workers
    }
    assert {instance_id: look(head, instance_id)["host"] for instance_id in made.values()} == {
        instance_id: name for name, instance_id in made.items()
    }

    for text in ("first", "second"):
        for name, instance_id in made.items():
            if text == "second":
                phalanx(head, "send", instance_id, commit(f"{name}.txt", text))
            allow(head, instance_id)
    phalanx(head, "wait", *made.values(), "--timeout", "60")

    for name, instance_id in made.items():
        branch, file = f"phalanx/{instance_id}", f"{name}.txt"
        assert wait_until(lambda: git(head, "show", f"{branch}:{file}") == "first\nsecond", CARRIED_S)  # noqa: B023
        git(head, "merge", "-q", "-m", f"Merge {name}", branch)
        assert git(head, "show", f"HEAD:{file}") == "first\nsecond"
    git(head, "fsck", "--strict")
    for host in workers:
        assert host.ssh("sh", "-c", "ls -d ~/project 2>/dev/null || echo none").strip() == "none"
    ended = [phalanx(head, "terminate", instance_id)["terminated"][0] for instance_id in made.values()]
    assert all(each["workspaceRemoved"] for each in ended), ended
