"""A process that saves in a loop until it is killed: ``python -m tests.integration.store.saver PATH``.

Save number n replaces both halves of its pair by n. Prints ``open`` and then every number whose save returned, from
``WORKERS`` savers at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from supervisor.store.sqlite import SqliteStore

WORKERS = 4


async def save_for_ever(store: SqliteStore, worker: int) -> None:
    for number in itertools.count():
        value = str(number).encode() * 50
        await store.save(
            {f"log/{worker}/{number:09}": value, f"pair/{worker}/a": value, f"pair/{worker}/b": value},
            [f"log/{worker}/{number - 100:09}"],
        )
        print(worker, number, flush=True)


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    print("open", flush=True)
    await asyncio.gather(*(save_for_ever(store, worker) for worker in range(WORKERS)))


if __name__ == "__main__":
    asyncio.run(main())
