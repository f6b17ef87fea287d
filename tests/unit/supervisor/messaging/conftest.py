"""A team whose outbox can be used, for every test of the outbox."""

from __future__ import annotations

import pytest

from tests.fakes.store import MemoryStore
from tests.fakes.team import OneInstanceTeam


@pytest.fixture
async def scene() -> OneInstanceTeam:
    made = OneInstanceTeam(MemoryStore())
    await made.open()
    return made
