"""A Claude and a person on any host reach the team, nobody else does. In this order: the last test takes it down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.asking import phalanx, programs_on, wait_until
from tests.cluster.rig import Rig, RigError, RigHost
from tests.cluster.team.calling import PROJECT, USER, done, entry_on, phalanx_there
from tests.integration.mcp_entry.conftest import EntryProcess

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

GREETED_S = 60.0
QUEUED_S = 10.0
SOCKET = USER / ".phalanx" / "phalanx.sock"


@pytest.fixture(scope="module")
def worker(rig: Rig, head: RigHost) -> RigHost:
    """A host on which the supervisor is not and, at first, no instance; with a team to be reached."""
    phalanx(head, "up")
    worker = rig.hosts[2]
    assert wait_until(lambda: "error" not in phalanx_there(worker, "list"), GREETED_S)
    return worker


@pytest.fixture
def entry(worker: RigHost) -> Iterator[EntryProcess]:
    """What a Claude there starts."""
    with entry_on(worker) as entry:
        yield entry


def spawn(entry: EntryProcess, text: str, **more: Any) -> str:
    arguments = {"role": "specialist", "workDir": str(PROJECT), "context": text, **more}
    return str(done(entry.call("spawn", **arguments))["instanceId"])


def times(entry: EntryProcess, instance_id: str, text: str) -> int:
    page = done(entry.call("read", instanceId=instance_id, lines=500))
    return sum(text in str(each) for each in page["entries"] if each["kind"] == "question")


def queued(head: RigHost, instance_id: str) -> int:
    """Messages for it that were accepted and wait."""
    listed = phalanx(head, "list")["instances"]
    return next(int(each.get("queuedMessages", 0)) for each in listed if each["instanceId"] == instance_id)


def actor_on(host: RigHost, kind: str) -> int:
    """The process id of the one actor of the kind."""
    listed = host.inside("ps", "-e", "-o", "pid=,args=").splitlines()
    (found,) = [line.split()[0] for line in listed if kind in line]
    return int(found)


def test_a_claude_on_a_worker_leads_instances_on_all_hosts(rig: Rig, entry: EntryProcess) -> None:
    member = {"role": "specialist", "workDir": str(PROJECT), "context": "hello"}
    spawned = done(entry.call("spawn_batch", instances=[member] * 3))["instances"]
    ids = [each["instanceId"] for each in spawned]
    assert sorted(each["host"] for each in done(entry.call("list"))["instances"]) == ["host2", "host3", "host4"]

    letters = [{"instanceId": each, "message": "@@demo busy 1\nnow work"} for each in ids]
    sent = done(entry.call("send_batch", messages=letters, wait=True))
    assert {each["status"] for each in sent["results"]} == {"submitted"}
    waited = entry.begin(
        "tools/call",
        name="wait",
        arguments={"instanceIds": ids, "timeoutSeconds": 60},
        _meta={"progressToken": "w"},
    )
    told = []
    while (message := entry.next_message()).get("id") != waited:
        told.append(message)
    assert done(message["result"])["reached"]
    assert any(each.get("method") == "notifications/progress" for each in told)
    assert [times(entry, each, "now work") for each in ids] == [1, 1, 1]
    ended = done(entry.call("terminate", instanceId=ids[0]))["terminated"][0]
    assert ended["workspaceRemoved"]


def test_paths_are_those_of_the_head_and_a_refusal_says_so(worker: RigHost) -> None:
    worker.ssh("mkdir", "-p", str(USER / "only-here"))

    refused = phalanx_there(worker, "spawn", "--dir", str(USER / "only-here"), "hello")

    assert refused["error"]["code"] == "invalid_request"
    assert "is not a directory on host2" in refused["error"]["message"]


def test_nobody_but_the_user_can_connect(worker: RigHost) -> None:
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(SOCKET)!r})"
    as_another = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", connect)

    with pytest.raises(RigError, match="PermissionError"):
        worker.ssh(*as_another)
    assert worker.ssh("stat", "-c", "%a", str(SOCKET)).strip() == "600"
    worker.ssh("python3", "-c", connect)


@pytest.mark.parametrize(("host", "kind"), [(2, "_HostServer"), (0, "_SupervisorServer")])
def test_a_call_on_whose_way_an_actor_dies_is_done_once(
    rig: Rig, worker: RigHost, entry: EntryProcess, host: int, kind: str
) -> None:
    instance_id = spawn(entry, "@@demo busy 12")
    sending = entry.begin(
        "tools/call",
        name="send",
        arguments={"instanceId": instance_id, "message": "for once", "wait": True, "timeoutSeconds": 60},
    )
    assert wait_until(lambda: queued(rig.hosts[0], instance_id) == 1, QUEUED_S)
    before = actor_on(rig.hosts[host], kind)
    rig.hosts[host].inside("kill", "-9", str(before))

    sent = done(entry.answer(sending)["result"])

    assert sent["status"] == "submitted"
    assert times(entry, instance_id, "for once") == 1
    assert actor_on(rig.hosts[host], kind) != before


def test_a_worker_neither_ends_the_team_nor_brings_up_a_second(worker: RigHost, head: RigHost) -> None:
    assert phalanx_there(worker, "up")["error"]["code"] == "team_not_running"
    assert f"led from {head.address}" in phalanx_there(worker, "down")["error"]["message"]
    assert phalanx(head, "list")["instances"]


def test_when_the_team_is_down_a_worker_says_where_it_is_led(
    worker: RigHost, head: RigHost, entry: EntryProcess
) -> None:
    phalanx(head, "down")

    answer = entry.call("list")

    assert answer["isError"]
    assert f"led from {head.address}" in answer["content"][0]["text"]
    assert f"led from {head.address}" in phalanx_there(worker, "status")["error"]["message"]
    assert "gcs_server" not in programs_on(worker)
    assert "agents/demo/" not in programs_on(worker)
