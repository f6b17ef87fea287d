"""The cost of keeping a team's state, by the number of stored instances, in each store that a team may have."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from scripts.benchmarks.bench import Bench, timed
from scripts.benchmarks.section import Figure, Part, Plot, Section
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.mirrors import make_mirrored
from tests.integration.store.redis_server import server

_SIZES = (10, 100, 1_000, 10_000)
_MESSAGES_EACH = 5
_SAMPLES = 200
_RECORD_BYTES = 600
_FEW = "few/"
_FILLED_AT_ONCE = 100
_WORDS = """
Each instance has its record and five messages of 600 bytes. A save is on the disk when it returns. A Redis that is
configured is written behind it and not waited for; it runs on the same machine and writes to its disk once a second.
*20 saves at once* are 20 calls that are made durable together.

What bounds it: one sync of the disk for each group of saves, however much is stored. Only a start reads everything.
"""


@contextlib.contextmanager
def _sqlite(directory: Path) -> Iterator[StateStore]:
    yield SqliteStore(directory / "state.db")


@contextlib.contextmanager
def _both(directory: Path) -> Iterator[StateStore]:
    """As with Redis in the settings: the file and a Redis on this machine that writes to its disk once a second."""
    with server(directory / "redis", ["--appendfsync", "everysec"]) as redis:
        yield make_mirrored(directory / "state.db", redis.url)


STORES: dict[str, Callable[[Path], AbstractContextManager[StateStore]]] = {
    "SQLite": _sqlite,
    "SQLite and Redis": _both,
}
"""Each makes a store without records, in a directory of its own, and ends what it started for it."""


async def measure(store: StateStore, instances: int) -> list[Figure]:
    """Fills the open store with so many instances and measures one operation after the other."""
    await _fill(store, instances)
    numbers = iter(range(10**9))

    async def save(count: int) -> None:
        records = {keys.message(f"new_{next(numbers)}"): os.urandom(_RECORD_BYTES) for _ in range(count)}
        await store.save(records)

    async def many() -> None:
        await asyncio.gather(*(save(1) for _ in range(20)))

    return [
        Figure(what="save 1 record", aim="", samples=await _samples(lambda: save(1))),
        Figure(what="save 20 records", aim="", samples=await _samples(lambda: save(20))),
        Figure(what="20 saves at once", aim="", samples=await _samples(many)),
        Figure(what="load a prefix with 5 records", aim="", samples=await _samples(lambda: store.load(_FEW))),
    ]


async def _fill(store: StateStore, instances: int) -> None:
    await store.save({f"{_FEW}{number}": os.urandom(_RECORD_BYTES) for number in range(5)})
    for first in range(0, instances, _FILLED_AT_ONCE):
        records: dict[str, bytes] = {}
        for instance in range(first, min(first + _FILLED_AT_ONCE, instances)):
            records[keys.instance(f"spec_{instance}")] = os.urandom(_RECORD_BYTES)
            records |= {keys.message(f"{instance}_{n}"): os.urandom(_RECORD_BYTES) for n in range(_MESSAGES_EACH)}
        await store.save(records)


async def _samples(operation: Callable[[], Awaitable[object]]) -> list[float]:
    samples = []
    for _ in range(_SAMPLES):
        samples.append((await timed(operation()))[0])
    return samples


async def _measure_one(name: str, instances: int, directory: Path) -> list[Figure]:
    """The operations, and a start over the filled state at the end."""
    with STORES[name](directory) as store:
        await store.open()
        figures = await measure(store, instances)
        await store.close()
        begun = time.perf_counter()
        await store.open()
        await store.load("")
        started_ms = (time.perf_counter() - begun) * 1000
        await store.close()
    return [*figures, Figure(what="open, and load everything", aim="", samples=[started_ms])]


async def _measure(bench: Bench) -> Section:
    found: dict[str, dict[int, list[Figure]]] = {name: {} for name in STORES}
    for name in STORES:
        for instances in _SIZES:
            bench.say(f"{name}, {instances:,} instances")
            with bench.scratch() as directory:
                found[name][instances] = await _measure_one(name, instances, directory)
    return _section(found)


def _section(found: Mapping[str, Mapping[int, list[Figure]]]) -> Section:
    rows = [
        (name, operation[0].what, *(f"{figure.p50:.2f} ms" for figure in operation))
        for name, by_size in found.items()
        for operation in zip(*by_size.values(), strict=True)
    ]
    samples = {
        f"{name}, {figure.what}, {instances:,} instances": figure.samples
        for name, by_size in found.items()
        for instances, figures in by_size.items()
        for figure in figures
    }
    saves = {name: [figures[0].p50 for figures in by_size.values()] for name, by_size in found.items()}
    sizes = [f"{size:,}" for size in _SIZES]
    return Section(
        columns=("store", "operation, p50", *(f"{size} instances" for size in sizes)),
        rows=rows,
        words=_WORDS,
        samples=samples,
        plots=[Plot(title="One record saved, by instances stored", unit="ms", labels=sizes, series=saves)],
    )


PART = Part(name="store", title="The state by how many instances are stored", measure=_measure)
