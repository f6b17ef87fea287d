"""A virtual environment with Ray alone, and bare actors in it: the floor for the start of instances."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path
from typing import Self

_LOCK = Path("requirements/runtime.txt")
_PROGRAM = Path(__file__).with_name("bare_actors.py")
_QUIET = {
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_num_grpc_internal_threads": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""The settings of a team's own Ray, so that only our code makes the difference."""


def make_environment(directory: Path) -> Path:
    """Makes a virtual environment with the locked Ray and its dependencies; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    lock = directory / "ray.txt"
    lock.write_text("".join(_locked(_needed("ray"))))
    install = ("install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", lock)
    subprocess.run([directory / "bin/pip", *install], check=True, stderr=subprocess.DEVNULL)
    return directory / "bin/python"


def _needed(package: str) -> set[str]:
    """The normalised names of the package and its dependencies, without extras."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        lines = [line for line in requires(name) or [] if "extra ==" not in line]
        waiting += [match[0] for line in lines if (match := re.match(r"[\w.-]+", line)) and _is_locked(match[0])]
    return found


def _entries() -> dict[str, str]:
    text = re.sub(r"^#.*\n", "", _LOCK.read_text(), flags=re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if entry}


def _is_locked(name: str) -> bool:
    return re.sub(r"[-_.]+", "-", name).lower() in _entries()


def _locked(names: set[str]) -> list[str]:
    return [entry for name, entry in _entries().items() if name in names]


class BareActors:
    """A process with a Ray of its own that makes bare actors on command; ``begin`` starts it."""

    def __init__(self, process: asyncio.subprocess.Process, tasks: asyncio.StreamWriter, answers: asyncio.StreamReader):
        self._process = process
        self._tasks = tasks
        self._answers = answers

    @classmethod
    async def begin(cls, python: Path, directory: Path) -> Self:
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(_PROGRAM),
            str(directory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **_QUIET},
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the program with the bare actors has no pipes")
        bare = cls(process, process.stdin, process.stdout)
        await bare._line()
        return bare

    async def make(self, count: int) -> float:
        """Seconds until so many new actors have answered."""
        self._tasks.write(f"{count}\n".encode())
        return float(await self._line())

    async def pids(self) -> list[int]:
        """Of all that were made."""
        self._tasks.write(b"pids\n")
        return [int(pid) for pid in json.loads(await self._line())]

    async def end(self) -> None:
        self._tasks.close()
        async with asyncio.timeout(60):
            await self._process.wait()

    async def _line(self) -> str:
        line = b"before the first"
        while line:
            async with asyncio.timeout(300):
                line = await self._answers.readline()
            if line.startswith(b"=> "):
                return line[3:].decode()
        raise RuntimeError("the program with the bare actors ended")
