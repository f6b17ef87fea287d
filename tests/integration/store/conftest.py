"""The back ends that one suite runs over. A further store joins by its line in ``BACKENDS``.

A back end is one place in a directory where a state is kept. It yields a maker; every store that it makes has that same
state, as the store of a restarted supervisor would. A maker takes ``may_begin``, can be pickled, and its stores keep
others out by a file ``*.lock`` in the directory; that of ``memory`` does none of this.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.errors import StateLostError
from supervisor.store.base import StateStore
from supervisor.store.sqlite import SqliteStore
from tests.fakes.store import MemoryStore
from tests.integration.store.mirrors import make_mirrored
from tests.integration.store.redis_server import RedisProcess, server

StoreMaker = Callable[..., StateStore]


@contextlib.contextmanager
def memory(directory: Path) -> Iterator[StoreMaker]:
    store = MemoryStore()
    yield lambda: store


@contextlib.contextmanager
def sqlite(directory: Path) -> Iterator[StoreMaker]:
    yield partial(SqliteStore, directory / "state.db")


@contextlib.contextmanager
def mirrored(directory: Path) -> Iterator[StoreMaker]:
    with server(directory / "redis") as process:
        yield partial(make_mirrored, directory / "state.db", process.url)


BACKENDS: dict[str, Callable[[Path], AbstractContextManager[StoreMaker]]] = {
    "memory": memory,
    "sqlite": sqlite,
    "sqlite and redis": mirrored,
}
ON_DISK = [name for name in BACKENDS if name != "memory"]
"""What another process can find again: they keep all promises of ``StateStore``."""


@pytest.fixture
def path(short_tmp: Path) -> Path:
    """Of a state file that is not there yet."""
    return short_tmp / "state.db"


async def refuse() -> None:
    """A ``MayBegin`` that does not permit it."""
    raise StateLostError("agents live")


async def is_refused(store: StateStore) -> bool:
    """Whether the store's state may not begin anew. It is closed afterwards."""
    try:
        await store.open()
    except StateLostError:
        return True
    await store.close()
    return False


async def write_without_mirror(path: Path) -> None:
    """A state with a record, of which no Redis knows."""
    store = SqliteStore(path)
    await store.open()
    await store.save({"before": b"1"})
    await store.close()


@pytest.fixture
def running(short_tmp: Path) -> Iterator[RedisProcess]:
    """A Redis of the test's own, which it may break."""
    with server(short_tmp / "redis") as process:
        yield process


@pytest.fixture(params=BACKENDS)
def unclosed_maker(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[StoreMaker]:
    """Makes stores of one back end, which the test closes."""
    with BACKENDS[request.param](short_tmp) as make:
        yield make


@pytest_asyncio.fixture
async def store_maker(unclosed_maker: StoreMaker) -> AsyncIterator[StoreMaker]:
    """Makes stores of one back end, which are closed at the end."""
    made: list[StateStore] = []

    def noted(**given: Any) -> StateStore:
        made.append(unclosed_maker(**given))
        return made[-1]

    yield noted
    for store in made:
        await store.close()


@pytest_asyncio.fixture
async def store(store_maker: StoreMaker) -> StateStore:
    """An open store without records."""
    made = store_maker()
    await made.open()
    return made
