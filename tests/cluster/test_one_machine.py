"""The smaller set, which needs neither root nor namespaces: what Ray's own cluster of two on one machine can show.

There is one home, so no team runs here: hosts, slots, labels, placing, actors that keep their host, and a lost host.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.marks import NODE_MARK
from actors.processes import end_processes, processes_with
from supervisor.runtime.environment import RAY_SETTINGS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
_PROGRAM_S = 240.0


@pytest.fixture(scope="module")
def seen(make_short_tmp: Callable[[], Path]) -> Mapping[str, Any]:
    """What the program saw that made the cluster, looked at it and ended it."""
    directory = make_short_tmp()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        **RAY_SETTINGS,
        "RAY_TMPDIR": str(directory),
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(ROOT),
        NODE_MARK: str(directory),
    }
    command = (sys.executable, "-P", "-m", "tests.cluster.one_machine", str(directory))
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROGRAM_S,
            check=False,
        )
    finally:
        end_processes(processes_with(NODE_MARK, str(directory)), grace_s=0)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-4000:]
    found: Mapping[str, Any] = json.loads(done.stdout.partition("SEEN")[2].splitlines()[0])
    return found


def test_hosts_are_seen_with_their_slots_and_labels_until_they_are_lost(seen: Mapping[str, Any]) -> None:
    assert sorted(seen["hosts"]) == ["head", "worker"]
    assert seen["hosts"]["worker"][1:] == [2, {"phalanx/host": "worker", "disk": "fast"}]
    assert seen["hosts afterwards"] == ["head"]


def test_instances_go_to_the_host_with_the_greatest_share_of_free_slots_that_fits(seen: Mapping[str, Any]) -> None:
    assert seen["placed"] == ["worker", "worker", "head"]


def test_each_actor_takes_a_slot_of_its_host_and_one_too_many_waits_until_one_is_free(seen: Mapping[str, Any]) -> None:
    assert set(seen["slots left"].values()) == {0.0}
    assert seen["a fourth had to wait"]
    assert seen["instances"] == ["four@127.0.0.2", "one", "three@127.0.0.2"]
