"""A team whose outbox can be used, for every test of the outbox."""

from __future__ import annotations

import pytest

from tests.unit.supervisor.messaging.outbox_rig import Office
from tests.unit.supervisor.stand_ins import TroubledStore


@pytest.fixture
async def office() -> Office:
    made = Office(TroubledStore())
    await made.open()
    return made
