"""A state with a mirror in a Redis that a test may break; also with a proxy on the way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from supervisor.store.mirror import MirroredStore
from tests.integration.store.mirrors import in_step, make_mirrored
from tests.integration.store.proxy import Proxy, proxy
from tests.integration.store.redis_server import RedisProcess


@pytest_asyncio.fixture
async def store(running: RedisProcess, short_tmp: Path) -> AsyncIterator[MirroredStore]:
    made = make_mirrored(short_tmp / "state.db", running.url)
    await made.open()
    await made.save({f"old/{number}": b"before" for number in range(20)})
    await in_step(made, running.client)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def way(running: RedisProcess) -> AsyncIterator[Proxy]:
    async with proxy(running.port) as made:
        yield made


@pytest_asyncio.fixture
async def far_store(running: RedisProcess, way: Proxy, short_tmp: Path) -> AsyncIterator[MirroredStore]:
    """Reaches Redis through the proxy."""
    made = make_mirrored(short_tmp / "state.db", way.url)
    await made.open()
    await made.save({f"old/{number}": b"before" for number in range(20)})
    await in_step(made, running.client)
    yield made
    await made.close()
