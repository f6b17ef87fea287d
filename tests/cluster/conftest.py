"""Rigs for the tests of a team over several hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.rig import Rig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def make_rig(rig_possible: None, make_short_tmp: Callable[[], Path]) -> Iterator[Callable[[int], Rig]]:
    """Makes rigs of as many hosts that last as long as the module's tests."""
    with ExitStack() as made:
        yield lambda hosts: made.enter_context(Rig(make_short_tmp(), hosts, keep=(ROOT, Path(sys.base_prefix))))
