from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from supervisor.api.requests import SpawnRequest
from supervisor.pool.demand import AgentSpec

HERE = Path("/project")


def recipe(work_dir: Path = HERE, **more: Any) -> AgentSpec | None:
    request = SpawnRequest.model_validate({"role": "specialist", "workDir": "/project", "context": "x", **more})
    return AgentSpec.of(request, work_dir, "claude")


def key(work_dir: Path = HERE, **more: Any) -> str:
    made = recipe(work_dir, **more)
    assert made is not None
    return made.key


def test_who_and_what_for_does_not_matter_to_a_spare() -> None:
    assert key() == key(context="another task", name="cart", role="manager", requestId="r") == key(agent="claude")
    assert key(env={"A": "1", "B": "2"}) == key(env={"B": "2", "A": "1"})


@pytest.mark.parametrize(
    "other", [{"agent": "demo"}, {"model": "opus"}, {"permissionMode": "plan"}, {"env": {"A": "1"}}], ids=str
)
def test_all_that_its_start_depends_on_does(other: dict[str, Any]) -> None:
    assert key(**other) != key()
    assert key(Path("/other"), **other) != key(**other)


def test_no_value_of_the_environment_can_be_read_from_the_key() -> None:
    assert "hunter2" not in key(env={"TOKEN": "hunter2"})


def test_nothing_is_kept_for_an_instance_that_shares_its_directory() -> None:
    assert recipe(workspaceMode="shared") is None
