"""The back ends that one suite runs over. A further store joins by its line in ``BACKENDS``.

A back end is one place where a state is kept. It yields a maker; every store that it makes has that same state, as the
store of a restarted supervisor would.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_asyncio

from supervisor.store.base import StateStore
from supervisor.store.sqlite import SqliteStore
from tests.fakes.store import MemoryStore
from tests.integration.store.mirrors import make_mirrored
from tests.integration.store.redis_server import RedisProcess, server

StoreMaker = Callable[[], StateStore]
Reopen = Callable[[StateStore], Awaitable[StateStore]]


@contextlib.contextmanager
def memory(directory: Path) -> Iterator[StoreMaker]:
    store = MemoryStore()
    yield lambda: store


@contextlib.contextmanager
def sqlite(directory: Path) -> Iterator[StoreMaker]:
    yield lambda: SqliteStore(directory / "state.db")


@contextlib.contextmanager
def mirrored(directory: Path) -> Iterator[StoreMaker]:
    with server(directory / "redis") as process:
        yield lambda: make_mirrored(directory / "state.db", process.url)


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[StoreMaker]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "sqlite and redis": mirrored,
}
SHARED = [name for name in BACKENDS if name != "memory"]
"""Those that two processes could use at once, so that a second supervisor must be refused."""


@pytest.fixture
def path(short_tmp: Path) -> Path:
    """Of a state file that is not there yet."""
    return short_tmp / "state.db"


@pytest.fixture
def running(short_tmp: Path) -> Iterator[RedisProcess]:
    """A Redis of the test's own, which it may break."""
    with server(short_tmp / "redis") as process:
        yield process


@pytest.fixture(params=BACKENDS)
def store_maker(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[StoreMaker]:
    with BACKENDS[request.param](short_tmp) as make:
        yield make


@pytest_asyncio.fixture
async def opened(store_maker: StoreMaker) -> AsyncIterator[list[StateStore]]:
    """Every store that the test has open; closed at its end."""
    stores: list[StateStore] = []
    yield stores
    for store in stores:
        await store.close()


@pytest_asyncio.fixture
async def store(store_maker: StoreMaker, opened: list[StateStore]) -> StateStore:
    """An open store without records."""
    made = store_maker()
    opened.append(made)
    await made.open()
    return made


@pytest.fixture
def reopen(store_maker: StoreMaker, opened: list[StateStore]) -> Reopen:
    """Closes a store and opens another one on the same state."""

    async def again(store: StateStore) -> StateStore:
        await store.close()
        made = store_maker()
        opened.append(made)
        await made.open()
        return made

    return again
