"""Rigs for the tests of a team over several hosts. Where none can be made they are skipped aloud; in CI they fail."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.rig import Rig, why_no_rig

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def rig_possible() -> None:
    reason = why_no_rig()
    if not reason:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"No hosts for these tests: {reason}", pytrace=False)
    pytest.skip(f"No hosts for these tests: {reason}. What one machine can show, test_one_machine.py shows.")


@pytest.fixture(scope="module")
def make_rig(rig_possible: None, make_short_tmp: Callable[[], Path]) -> Iterator[Callable[[int], Rig]]:
    """Makes rigs of as many hosts that last as long as the module's tests."""
    with ExitStack() as made:
        yield lambda hosts: made.enter_context(Rig(make_short_tmp(), hosts, keep=(ROOT, Path(sys.base_prefix))))
