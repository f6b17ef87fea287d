"""``cluster.yaml`` and its variant in the documentation are what Ray takes, and say the same about our part."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from supervisor import ray_node

ROOT = Path(__file__).resolve().parents[2]


def shipped() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return content


def on_aws() -> dict[str, Any]:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    content: dict[str, Any] = yaml.safe_load(block)
    return content


@pytest.mark.parametrize("content", [shipped(), on_aws()], ids=["local", "aws"])
def test_ray_itself_takes_it(content: dict[str, Any]) -> None:
    validate_config(prepare_config(content))


def test_on_aws_new_hosts_come_for_slots() -> None:
    kinds = on_aws()["available_node_types"]

    assert all(kind["resources"]["claude_slot"] > 0 for kind in kinds.values())
    assert kinds["worker"]["min_workers"] == 0 < kinds["worker"]["max_workers"]


def test_both_bring_the_same_to_every_host() -> None:
    for part in ("file_mounts", "rsync_exclude", "setup_commands"):
        assert shipped()[part] == on_aws()[part]


def test_no_command_stops_a_ray_by_name() -> None:
    for content in (shipped(), on_aws()):
        commands = [*content["head_start_ray_commands"], *content["worker_start_ray_commands"]]
        assert not any(re.search(r"\bray stop\b", command) for command in commands)


def test_workers_join_on_the_port_of_the_head_and_the_page_lists_every_port() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    for content in (shipped(), on_aws()):
        assert any(f"$RAY_HEAD_IP:{ray_node.HEAD_PORT}" in command for command in content["worker_start_ray_commands"])

    others = sorted(ray_node.NODE_PORTS.values())
    assert f"| {ray_node.HEAD_PORT} | head |" in page
    assert f"| {others[0]}–{others[-1]} | all |" in page
    assert others == list(range(others[0], others[-1] + 1))
    assert f"| {ray_node.CLIENT_SERVER_PORT} | head |" in page
    assert f"| {ray_node.WORKER_PORTS.start}–{ray_node.WORKER_PORTS.stop - 1} | all |" in page


def test_credentials_for_claude_are_not_among_what_travels() -> None:
    for content in (shipped(), on_aws()):
        assert not [path for path in content["file_mounts"] if "claude" in path or "anthropic" in path.lower()]
