"""What ``phalanx top`` costs: its first screen, its CPU time and its memory, with a hundred instances.

Run ``python -m scripts.benchmarks.top``. The program is the real one, in a real terminal, on the real socket protocol.
The team behind it is modelled, because a hundred agents would load the machine that is measured: its rows and screens
change as those of a team do. ``at rest`` nothing happens; ``ten working``: ten rows change twice a second, and so does
the screen of the selected one.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from actors.home import Home
from actors.status import Status
from scripts.benchmarks.processes import cpu_percent, exact_cpu_s, pss_mb
from supervisor.api import requests, results
from supervisor.api.requests import Request
from supervisor.api.verbs import Caller
from supervisor.rpc.server import Gateway
from tests.fakes.gateway import asking, info
from tests.people import PtyPerson

_INSTANCES, _WORKING, _NEEDING = 100, 10, 3
_CHANGE_S = 0.5
_STARTS = 7
_SETTLE_S, _WATCHED_S = 3.0, 30.0
_FIRST_SCREEN_LIMIT_S = 60.0
_SIZES = ((80, 24), (200, 50))
_DRAWN = f"TEAM {_INSTANCES - _NEEDING}".encode()
"""Those that need somebody stand above the team."""


class ModelledTeam:
    """A dispatcher whose rows and screens change while ``works``."""

    def __init__(self) -> None:
        self.works = asyncio.Event()
        self._number = 0
        self._changed = asyncio.Condition()
        ids = [f"spec_1_1_{number}" for number in range(_INSTANCES)]
        self._rows = {each: info(each, task="Write the parser", model="claude-opus-5") for each in ids}
        for each in ids[:_NEEDING]:
            self._rows[each] = asking(each, command="npm test")
        self._working = ids[_NEEDING : _NEEDING + _WORKING]

    async def work(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            await self.works.wait()
            await asyncio.sleep(_CHANGE_S)
            async with self._changed:
                self._number += 1
                for each in self._working:
                    changed = {"status": Status.BUSY, "activity": f"Bash: step {self._number}"}
                    self._rows[each] = self._rows[each].model_copy(update=changed)
                self._changed.notify_all()

    async def call(self, verb: str, request: Request, caller: Caller) -> results.Result:
        match request:
            case requests.ChangesRequest():
                return await self._changes(request)
            case requests.ScreenRequest():
                return await self._screen(request)
        raise NotImplementedError(verb)

    async def _changes(self, request: requests.ChangesRequest) -> results.ChangesResult:
        complete = request.cursor is None
        await self._wait(request.cursor, request.timeout_seconds)
        sent = self._rows if complete else self._working
        return results.ChangesResult(
            cursor=str(self._number),
            complete=complete,
            instances=[self._rows[each] for each in sent],
            needs_attention=[each.instance_id for each in self._rows.values() if each.needs_attention],
        )

    async def _screen(self, request: requests.ScreenRequest) -> results.ScreenResult:
        await self._wait(request.after, request.timeout_seconds)
        lines = [f"\x1b[1mline {line}\x1b[0m of step {self._number} {'x' * 50}" for line in range(24)]
        version = str(self._number)
        return results.ScreenResult(
            instance_id=request.instance_id, version=version, columns=80, rows=24, lines=lines, title=""
        )

    async def _wait(self, known: str | None, timeout_s: float) -> None:
        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: known != str(self._number))
            except TimeoutError:
                return


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory with a short path, which a home needs."""
    directory = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _top(home: Home, columns: int, rows: int) -> PtyPerson:
    program = str(Path(sys.executable).with_name("phalanx"))
    return PtyPerson([program, "top"], columns, rows, {"PHALANX_HOME": str(home.root)})


async def _until_drawn(person: PtyPerson) -> None:
    async with asyncio.timeout(_FIRST_SCREEN_LIMIT_S):
        while _DRAWN not in person.seen:
            if person.has_ended():
                raise RuntimeError(f"phalanx top has ended: {person.seen.decode(errors='replace')}")
            await asyncio.sleep(0.005)


async def _first_screen(home: Home, columns: int, rows: int) -> tuple[float, float]:
    """Seconds until it is drawn, and seconds of CPU that took, which other load on the machine changes less."""
    begun = time.perf_counter()
    person = await asyncio.to_thread(_top, home, columns, rows)
    try:
        await _until_drawn(person)
        return time.perf_counter() - begun, exact_cpu_s(psutil.Process(person.pid))
    finally:
        await asyncio.to_thread(person.hang_up)


async def _percent(pid: int) -> float:
    """Of one core."""
    await asyncio.sleep(_SETTLE_S)
    return await cpu_percent(psutil.Process(pid), asyncio.sleep(_WATCHED_S))


async def _measured(home: Home, team: ModelledTeam, columns: int, rows: int) -> tuple[str, ...]:
    starts = [await _first_screen(home, columns, rows) for _ in range(_STARTS)]
    person = await asyncio.to_thread(_top, home, columns, rows)
    try:
        await _until_drawn(person)
        for _ in range(_NEEDING):  # to the first one that works, in the tree
            person.type("\x1b[B")
        at_rest = await _percent(person.pid)
        memory = pss_mb(psutil.Process(person.pid))
        team.works.set()
        working = await _percent(person.pid)
        team.works.clear()
    finally:
        await asyncio.to_thread(person.hang_up)
    took, cpu = zip(*starts, strict=True)
    first = f"{statistics.median(took):.2f} s ({min(took):.2f} to {max(took):.2f})"
    return (
        f"{columns}x{rows}",
        first,
        f"{statistics.median(cpu):.2f} s",
        f"{at_rest:.2f} %",
        f"{working:.1f} %",
        f"{memory:.0f} MB",
    )


async def _measure() -> None:
    shown = Table(
        "terminal", "first screen", "CPU until then", "CPU at rest", "CPU, ten working", "memory (PSS)", box=None
    )
    with _scratch() as directory:
        home = Home(directory)
        team = ModelledTeam()
        gateway = Gateway(home.gateway_socket, team)
        home.gateway_socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        await gateway.start()
        working = asyncio.create_task(team.work())
        try:
            for columns, rows in _SIZES:
                shown.add_row(*await _measured(home, team, columns, rows))
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await gateway.stop()
    console = Console()
    console.print(f"{_INSTANCES} instances, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", markup=False)
    console.print(shown)


if __name__ == "__main__":
    asyncio.run(_measure())
