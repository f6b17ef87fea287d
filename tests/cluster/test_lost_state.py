"""The head has lost the team's state and has no Redis, while agents live on a worker alone: no empty team is begun."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.asking import (
    agents,
    kill_ray,
    make_project,
    phalanx,
    sessions,
    spawn,
    times_asked,
    wait_for_nodes,
    wait_until,
)
from tests.cluster.rig import Rig, RigError
from tests.cluster.rig.launcher import Launcher

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

BACK_S = 120.0
REVIVED_S = 90.0
"""The endpoint's pauses between two attempts to bring a team back grow to half a minute here."""


@pytest.fixture(scope="module")
def rig(make_rig: Callable[[int], Rig]) -> Rig:
    return make_rig(2)


@pytest.fixture(scope="module")
def launcher(rig: Rig, make_short_tmp: Callable[[], Path]) -> Iterator[Launcher]:
    made = Launcher(make_short_tmp(), rig.private_key, rig.hosts)
    made.up()
    yield made
    made.close()


def log_of_bring_ups(home: Path) -> str:
    """Of those that no person began."""
    log = home / "logs" / "up.log"
    return log.read_text() if log.exists() else ""


def test_neither_the_endpoint_nor_a_person_begins_an_empty_team_beside_a_worker_s_agents(
    rig: Rig, launcher: Launcher, tmp_path: Path
) -> None:
    head, worker = rig.hosts
    home = head.home / ".phalanx"
    assert len(wait_for_nodes(head, 2, BACK_S)) == 2
    make_project(head)
    phalanx(head, "up")
    there = spawn(head, "hello", "--host", worker.name)
    before = agents(worker)
    assert (len(before), sessions(head)) == (1, set())

    kill_ray(head)
    for file in home.glob("state.db*"):
        shutil.move(file, tmp_path)
    launcher.up("--restart-only")
    endpoint_refused = wait_until(lambda: "state.db is missing or empty" in log_of_bring_ups(home), REVIVED_S)
    assert sessions(worker) == {there}
    assert endpoint_refused, log_of_bring_ups(home)
    with pytest.raises(RigError, match=r"state\.db is missing or empty.*phalanx restore"):
        phalanx(head, "up")
    assert agents(worker) == before

    for file in home.glob("state.db*"):
        file.unlink()
    for file in tmp_path.glob("state.db*"):
        shutil.move(file, home)
    phalanx(head, "up")
    sent = phalanx(head, "send", "--wait", there, "go on", timeout_s=BACK_S)
    assert sent["status"] == "submitted", sent
    assert agents(worker) == before
    assert times_asked(head, there, "go on") == 1
