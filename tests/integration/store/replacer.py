"""A process that takes one copy after the other over until it is killed. Run as a module, with the path of the file.

Every record of copy number n holds n. Prints ``open`` and then the number of every copy that is in place.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from supervisor.store.lineage import Position
from supervisor.store.sqlite import SqliteStore

RECORDS = 300


async def copy(number: int) -> AsyncIterator[dict[str, bytes]]:
    value = str(number).encode() * 100
    for part in range(0, RECORDS, 100):
        yield {f"{key:03}": value for key in range(part, part + 100)}


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    print("open", flush=True)
    for number in itertools.count():
        await store.replace(Position(lineage=f"copy {number}", epoch=1, sequence=number + 1), copy(number))
        print("copy", number, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
