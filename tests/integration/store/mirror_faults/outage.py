"""How long saves may take while Redis fails, and what is said of it."""

from __future__ import annotations

import logging
import time

import pytest

from supervisor.store.mirror import MirroredStore

SAVE_BOUND_S = 0.4
"""For the file, on a busy machine: Redis is not waited for."""


async def slowest_save_s(store: MirroredStore, count: int = 20) -> float:
    """Of ``count`` saves one after another, which also delete."""
    slowest = 0.0
    for number in range(count):
        begun = time.monotonic()
        await store.save({f"new/{number}": b"x" * 500, "last": str(number).encode()}, [f"old/{number}"])
        slowest = max(slowest, time.monotonic() - begun)
    return slowest


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
