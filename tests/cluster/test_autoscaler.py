"""A spawn for which no host has room makes Ray's autoscaler (version 2) bring one: the AWS variant without AWS.

In place of a cloud Ray's own stand-in for one starts further Rays on the same host.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.asking import PHALANX_PROGRAM, make_project, offered, phalanx, spawn, wait_until
from tests.cluster.rig import Rig, RigHost
from tests.cluster.rig.launcher import provide_environment

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
_HEAD_ID = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
_HEAD_TYPE = "ray.head.default"
"""Both as Ray's stand-in expects them."""
_NODE_TYPES: Mapping[str, Any] = {
    _HEAD_TYPE: {"resources": {"CPU": 1, "claude_slot": 1}, "node_config": {}, "max_workers": 0},
    "cloud": {
        "resources": {"CPU": 1, "claude_slot": 2, "object_store_memory": 80_000_000},
        "labels": {"phalanx/host": "cloud", "phalanx/elastic": "true"},
        "node_config": {},
        "min_workers": 0,
        "max_workers": 3,
    },
}
_NOTHING_TO_INSTALL: Mapping[str, Any] = {
    "auth": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "initialization_commands": [],
    "rsync_exclude": [],
    "rsync_filter": [],
}
BROUGHT_S = 120.0


@pytest.fixture(scope="module")
def head(make_rig: Callable[[int], Rig]) -> RigHost:
    """Alone, with one slot and a team."""
    host = make_rig(1).hosts[0]
    provide_environment(host)
    host.ssh("ln", "-s", str(ROOT), "checkout")
    scaling = {
        "cluster_name": "stand-in",
        "max_workers": 3,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 5,
        "provider": {
            "type": "external",
            "module": "tests.cluster.stand_in_cloud.StandInCloud",
            "gcs_address": f"{host.address}:6390",
            "launch_multiple": True,
            "head_node_id": _HEAD_ID,
        },
        "available_node_types": _NODE_TYPES,
        "head_node_type": _HEAD_TYPE,
        **_NOTHING_TO_INSTALL,
    }
    host.ssh(
        "sh", "-c", "mkdir -p -m 700 .ray && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > .ray/auth_token"
    )
    host.ssh("sh", "-c", f"echo {shlex.quote(json.dumps(scaling))} > scaling.yaml")
    variables = {
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
        "RAY_NODE_TYPE_NAME": _HEAD_TYPE,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
    }
    words = ("env", *(f"{name}={value}" for name, value in variables.items()))
    start = ("checkout/scripts/host", "head", "--slots", "1", "--autoscaling-config=scaling.yaml")
    host.ssh(*words, *start, timeout_s=120)
    make_project(host)
    phalanx(host, "up")
    return host


def test_a_spawn_that_finds_no_room_brings_a_host_and_one_that_finds_some_does_not(head: RigHost) -> None:
    spawn(head, "hello")
    assert offered(head, "claude_slot") == [1.0]

    head.ssh("sh", "-c", _SPAWN_ASIDE.format(address=head.address))

    brought = wait_until(lambda: offered(head, "claude_slot") == [1.0, 2.0], BROUGHT_S)
    assert brought, head.ssh("sh", "-c", _SAID)


_SAID = "tail -n 40 aside.log .phalanx/node/session_latest/logs/monitor.*"
_SPAWN_ASIDE = (
    "cd project && PHALANX_RAY_ADDRESS={address}:6390 PHALANX_AGENT=demo PYTHONPATH=../phalanx setsid "
    f"../phalanx/.venv/bin/python -c '{PHALANX_PROGRAM}' spawn --dir . later "
    "> ../aside.log 2>&1 < /dev/null &"
)
