"""A process that saves in a loop until it is killed. Tests run it with ``saver``.

It reads from stdin how its store is made. Save number n replaces both halves of its pair by n. Prints ``open`` and then
every number whose save returned, from ``WORKERS`` savers at the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from supervisor.store.base import StateStore

WORKERS = 4


@contextmanager
def saver(make: Callable[[], StateStore]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that saves to such a store, from when it is open; killed at the end. ``make`` can be pickled."""
    command = [sys.executable, "-m", "tests.integration.store.saver"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pickle.dumps(make))
            process.stdin.close()
            assert process.stdout.readline() == b"open\n"
            yield process
        finally:
            process.kill()


def returned_saves(process: subprocess.Popen[bytes], *, at_least: int) -> dict[int, int]:
    """Kills the process after so many saves; for each of its savers the last number whose save returned."""
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(at_least)]
    process.kill()
    lines += process.stdout.read().split(b"\n")[:-1]  # the last line may be cut off
    return {int(worker): int(number) for worker, number in map(bytes.split, lines)}


async def save_for_ever(store: StateStore, worker: int) -> None:
    for number in itertools.count():
        value = str(number).encode() * 50
        await store.save(
            {f"log/{worker}/{number:09}": value, f"pair/{worker}/a": value, f"pair/{worker}/b": value},
            [f"log/{worker}/{number - 100:09}"],
        )
        print(worker, number, flush=True)


async def main() -> None:
    store: StateStore = pickle.load(sys.stdin.buffer)()  # noqa: S301 - the test has written it
    await store.open()
    print("open", flush=True)
    await asyncio.gather(*(save_for_ever(store, worker) for worker in range(WORKERS)))


if __name__ == "__main__":
    asyncio.run(main())
