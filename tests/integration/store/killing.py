"""Starts a process that saves, kills it, and tells what it was told is saved."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def saver(path: Path, program: str = "saver") -> Iterator[subprocess.Popen[bytes]]:
    """A process that saves to the file, from when it is open; killed at the end."""
    command = [sys.executable, "-m", f"tests.integration.store.{program}", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
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
