"""``ray up cluster.yaml`` over ssh, and ``ray down``, on hosts that are apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.ray_node import ports
from tests.cluster.asking import programs_on, wait_for_nodes, wait_without
from tests.cluster.rig import Rig
from tests.cluster.rig.launcher import Launcher

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

JOINED_S = 120.0
GONE_S = 30.0


@pytest.fixture(scope="module")
def rig(make_rig: Callable[[int], Rig]) -> Rig:
    return make_rig(3)


@pytest.fixture(scope="module")
def launcher(rig: Rig, make_short_tmp: Callable[[], Path]) -> Iterator[Launcher]:
    made = Launcher(make_short_tmp(), rig.private_key, rig.hosts)
    yield made
    made.close()


def listening(host_text: str) -> set[int]:
    """Ports beyond loopback, of what ``ss`` printed."""
    found = re.findall(r"\s(\S+):(\d+)\s+\S+:\*", host_text)
    return {int(port) for address, port in found if not address.startswith(("127.", "[::1]", "[::ffff:127."))}


def test_ray_up_brings_the_cluster_up_and_ray_down_takes_it_down(rig: Rig, launcher: Launcher) -> None:
    head, *workers = rig.hosts
    workers[0].ssh("sh", "-c", "echo disk=fast > ~/phalanx-labels")
    head.ssh("bash", "-c", "(exec -a 'other-raylet/raylet ray::IDLE' sleep 1000) >/dev/null 2>&1 </dev/null &")

    launcher.up()
    nodes = wait_for_nodes(head, 3, JOINED_S)

    assert sorted(nodes) == ["host2", "host3", "host4"]
    assert all(node["Resources"]["claude_slot"] >= 1 for node in nodes.values())
    assert {name: node["Labels"]["phalanx/host"] for name, node in nodes.items()} == {name: name for name in nodes}
    assert nodes["host3"]["Labels"]["disk"] == "fast"
    for host in rig.hosts:
        token = Path.home() / ".ray" / "auth_token"
        assert host.ssh("stat", "-c", "%a", str(token)).strip() == "600"
        assert host.ssh("cat", str(token)).strip() not in programs_on(host)
        open_ports = listening(host.inside("ss", "-Hltn")) - {22}
        assert open_ports <= {ports.HEAD, ports.CLIENT_SERVER, *ports.NODE_OPTIONS.values(), *ports.WORKERS}

    launcher.down()

    assert wait_without(head, "ray/raylet/raylet", 10)
    assert "ray/gcs/gcs_server" not in programs_on(head)
    assert "other-raylet/raylet ray::IDLE" in programs_on(head)
    for host in workers:
        assert wait_without(host, "ray/raylet/raylet", GONE_S)
        assert wait_without(host, "ray::", GONE_S), programs_on(host)
