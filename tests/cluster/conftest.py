"""Rigs for the tests of a team over several hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.cluster.rig import Rig

ROOT = Path(__file__).resolve().parents[2]
_ONE_CLUSTER = "tests/cluster/team"


class _ByCluster(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """Each file to one process, but those that share a cluster to the same, because ``ray up`` takes a minute."""

    def _split_scope(self, nodeid: str) -> str:
        return _ONE_CLUSTER if nodeid.startswith(f"{_ONE_CLUSTER}/") else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    return _ByCluster(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="module")
def make_rig(rig_possible: None, make_short_tmp: Callable[[], Path]) -> Iterator[Callable[[int], Rig]]:
    """Makes rigs of as many hosts that last as long as the module's tests."""
    with ExitStack() as made:
        yield lambda hosts: made.enter_context(Rig(make_short_tmp(), hosts, keep=(ROOT, Path(sys.base_prefix))))
