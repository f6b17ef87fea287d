"""What several files of the core's tests start from."""

from __future__ import annotations

import pytest

from tests.unit.supervisor.office import Office
from tests.unit.supervisor.stand_ins import TroubledStore


@pytest.fixture
async def office() -> Office:
    made = Office(TroubledStore())
    await made.open()
    return made
