"""What keeping the team's state costs, by how many instances are stored: ``python -m scripts.benchmarks.store sqlite``.

Names of ``STORES`` say which stores are measured; ``memory`` is what the measuring itself costs. Each instance has its
record and five messages. Prints a table in Markdown, p50 / p95 in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from scripts.benchmarks.figures import Figure
from supervisor.store import StateStore, keys
from supervisor.store.memory import MemoryStore
from supervisor.store.replicator import Pace
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.copies import make_replicated
from tests.integration.store.redis_server import server

_SIZES = (10, 100, 1_000, 10_000)
_MESSAGES_EACH = 5
_SAMPLES = 200
_RECORD_BYTES = 600
_FEW = "few/"
console = Console(highlight=False, width=200)


@contextlib.contextmanager
def _memory(directory: Path) -> Iterator[StateStore]:
    yield MemoryStore()


@contextlib.contextmanager
def _sqlite(directory: Path) -> Iterator[StateStore]:
    yield SqliteStore(directory / "state.db")


@contextlib.contextmanager
def _both(directory: Path) -> Iterator[StateStore]:
    """As with Redis in the settings: the file and a Redis on this machine that writes to its disk once a second."""
    with server(directory / "redis", ["--appendfsync", "everysec"]) as redis:
        yield make_replicated(directory / "state.db", redis.url, pace=Pace())


STORES: dict[str, Callable[[Path], AbstractContextManager[StateStore]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "sqlite+redis": _both,
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
    for instance in range(instances):
        records = {keys.instance(f"spec_{instance}"): os.urandom(_RECORD_BYTES)}
        records |= {keys.message(f"{instance}_{n}"): os.urandom(_RECORD_BYTES) for n in range(_MESSAGES_EACH)}
        await store.save(records)


async def _samples(operation: Callable[[], Awaitable[object]]) -> list[float]:
    samples = []
    for _ in range(_SAMPLES):
        begun = time.perf_counter()
        await operation()
        samples.append((time.perf_counter() - begun) * 1000)
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


async def measure_saves(names: Sequence[str]) -> list[Figure]:
    """For the page: one record saved in the smallest and in the largest team, in each of the stores."""
    figures = []
    for name in names:
        for instances in (_SIZES[0], _SIZES[-1]):
            with tempfile.TemporaryDirectory(prefix="phx") as directory:
                saves = (await _measure_one(name, instances, Path(directory)))[0]
            figures.append(replace(saves, what=f"{saves.what}, {name}, {instances:,} instances stored"))
    return figures


def _row(name: str, instances: int, figures: list[Figure]) -> str:
    columns = [name, f"{instances:,}", *(f"{figure.p50:.2f} / {figure.p95:.2f}" for figure in figures)]
    return f"| {' | '.join(columns)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+", choices=STORES)
    parser.add_argument("--directory", type=Path, help="where the state is kept meanwhile, to measure another disk")
    arguments = parser.parse_args()
    titles_are_printed = False
    for name in arguments.stores:
        for instances in _SIZES:
            with tempfile.TemporaryDirectory(prefix="phx", dir=arguments.directory) as directory:
                figures = asyncio.run(_measure_one(name, instances, Path(directory)))
            if not titles_are_printed:
                titles = ["store", "instances", *(figure.what for figure in figures)]
                console.print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", markup=False)
                titles_are_printed = True
            console.print(_row(name, instances, figures), markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
