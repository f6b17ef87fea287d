"""The rig is what the other tests believe in: its hosts are apart, can be lost and come back, and nothing is left."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.rig import Rig, RigHost, login_home
from tests.cluster.rig.commands import RigError, run
from tests.cluster.rig.network import clear_away_the_lost

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def hosts(make_rig: Callable[[int], Rig]) -> list[RigHost]:
    return make_rig(2).hosts


def test_each_host_has_a_name_an_address_processes_and_files_of_its_own(hosts: list[RigHost]) -> None:
    one, two = hosts
    one.ssh("sh", "-c", "echo of-one > /tmp/file; echo of-one > ~/file")

    assert one.ssh("hostname").strip() == "host2"
    assert two.ssh("hostname").strip() == "host3"
    assert one.address in one.ssh("ip", "-4", "addr")
    assert one.ssh("cat", "/tmp/file", f"{login_home()}/file") == "of-one\nof-one\n"
    assert "of-one" not in two.ssh("sh", "-c", "cat /tmp/file ~/file 2>&1; true")
    assert len(two.ssh("ps", "-e", "-o", "comm=").split()) < 10


def test_hosts_reach_each_other_until_one_is_cut_off_and_again_when_it_is_healed(hosts: list[RigHost]) -> None:
    one, two = hosts
    knock = ("timeout", "2", "bash", "-c", f"echo > /dev/tcp/{two.address}/22")
    one.ssh(*knock)

    two.cut()
    with pytest.raises(RigError):
        one.ssh(*knock)
    assert two.inside("hostname").strip() == "host3"

    two.heal()
    one.ssh(*knock)


def test_a_host_that_loses_power_keeps_its_files_and_no_process(hosts: list[RigHost]) -> None:
    two = hosts[1]
    two.ssh("sh", "-c", "echo there > ~/kept; setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
    assert "sleep" in two.ssh("ps", "-e", "-o", "comm=")

    two.lose_power()
    two.start()

    assert two.ssh("cat", f"{login_home()}/kept") == "there\n"
    assert "sleep" not in two.ssh("ps", "-e", "-o", "comm=")


_DOOMED = """
import sys, time
from pathlib import Path
from tests.cluster.rig import Rig
with Rig(Path(sys.argv[1]), 1) as rig:
    print(rig._network.bridge, flush=True)
    time.sleep(1000)
"""


def test_what_a_killed_test_leaves_behind_is_cleared_away_by_the_next(rig_possible: None, short_tmp: Path) -> None:
    doomed = subprocess.Popen(
        [sys.executable, "-c", _DOOMED, str(short_tmp / "rig")], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert doomed.stdout is not None
    with doomed.stdout:
        bridge = doomed.stdout.readline().strip()
    assert bridge in run("ip", "-br", "link")

    doomed.send_signal(signal.SIGKILL)
    doomed.wait()
    clear_away_the_lost()

    assert bridge not in run("ip", "-br", "link")
    assert bridge not in run("ip", "netns")
