from __future__ import annotations

import pytest

from supervisor.pool import makers, pool
from tests.unit.supervisor import virtual_time


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pools go by the clock of the test's event loop."""
    for module in (makers, pool):
        monkeypatch.setattr(module, "time", virtual_time.clock())
