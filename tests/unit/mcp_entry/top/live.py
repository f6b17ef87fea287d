"""A team that is not there, as ``phalanx top`` follows it: tests change it, and see what is drawn."""

from __future__ import annotations

import asyncio
import datetime
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from actors.errors import PhalanxError
from mcp_entry.top.app import TopApp
from mcp_entry.top.details import LinesView
from mcp_entry.top.table import TeamTable
from mcp_entry.top.terminal import WayInto
from supervisor.api import requests
from supervisor.api.results import ChangesResult, InstanceInfo, ReadResult, Result, ScreenResult
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import FakeClient, entry, info

NOW = datetime.datetime(2026, 11, 1, 10, 5, tzinfo=datetime.UTC)


class LiveTeam:
    """Answers ``changes`` and ``screen`` as a supervisor does: at once with what is new, otherwise it waits."""

    def __init__(self, *instances: InstanceInfo) -> None:
        self.instances = {each.instance_id: each for each in instances}
        self.screens: dict[str, list[str] | PhalanxError] = {}
        self.warnings: list[str] = []
        self._news: dict[str, None] = {}
        self._gone: list[str] = []
        self._changed = asyncio.Event()
        self._versions = itertools.count(1)
        self.client = FakeClient(changes=self._changes, screen=self._screen, read=self._read)
        self.clock = Clock()
        self.now = NOW

    def change(self, *instances: InstanceInfo, gone: str = "") -> None:
        for each in instances:
            self.instances[each.instance_id] = each
            self._news[each.instance_id] = None
        if gone:
            del self.instances[gone]
            self._gone.append(gone)
        self._changed.set()

    async def _changes(self, request: requests.ChangesRequest, on_progress: ProgressCallback) -> Result:
        complete = request.cursor is None
        if not complete:
            await self._changed.wait()
        self._changed.clear()
        told = list(self.instances) if complete else [each for each in self._news if each in self.instances]
        gone, self._news, self._gone = self._gone, {}, []
        return ChangesResult(
            cursor=str(next(self._versions)),
            complete=complete,
            instances=[self.instances[each] for each in told],
            gone=gone,
            needs_attention=[each.instance_id for each in self.instances.values() if each.needs_attention],
            warnings=self.warnings,
        )

    async def _screen(self, request: requests.ScreenRequest, on_progress: ProgressCallback) -> Result:
        lines = self.screens.get(request.instance_id, ["an agent's screen"])
        if isinstance(lines, PhalanxError):
            raise lines
        if request.after is not None:
            await asyncio.get_running_loop().create_future()
        return ScreenResult(instance_id=request.instance_id, version="v", columns=80, rows=24, lines=lines, title="")

    async def _read(self, request: requests.ReadRequest, on_progress: ProgressCallback) -> Result:
        entries = [] if request.cursor else [entry("What is done?", "question"), entry("It is done.")]
        return ReadResult(instance_id=request.instance_id, source="conversation", entries=entries, cursor="c:2")


class Clock:
    """Each look at it is a second later than the one before, as when a person reads first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step_s = 1.0

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


class Top:
    """A running ``phalanx top`` and the person before it."""

    def __init__(self, app: TopApp, pilot: Pilot[None], team: LiveTeam) -> None:
        self.app = app
        self.pilot = pilot
        self.team = team

    async def presses(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settles()

    async def settles(self) -> None:
        """Returns when all that is going to be drawn is drawn."""
        await self.pilot.pause()
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await self.pilot.pause()

    async def changes(self, *instances: InstanceInfo, gone: str = "") -> None:
        self.team.change(*instances, gone=gone)
        await self.settles()

    @property
    def table(self) -> TeamTable:
        return self.app.query_one(TeamTable)

    @property
    def shown(self) -> list[str]:
        """The lines of the list in view: ids, and the words of headings."""
        return [row.heading or row.instance_id for row in self.table.shown]

    @property
    def selected(self) -> str:
        return self.table.instance_id

    def words(self, part: str) -> str:
        """What a part of the screen shows, by its id."""
        widget = self.app.query_one(f"#{part}")
        if not widget.display:
            return ""
        return widget.text if isinstance(widget, LinesView) else str(widget.render())

    @property
    def screen(self) -> list[str]:
        """All rows of the terminal, as they are drawn."""
        lines = self.app.screen._compositor.render_strips()
        return [strip.text.rstrip() for strip in lines]

    def asked(self, verb: str) -> list[Any]:
        return [request for name, request in self.team.client.asked if name == verb]


@asynccontextmanager
async def watched(
    team: LiveTeam, size: tuple[int, int] = (80, 24), way_into: Callable[[InstanceInfo], WayInto] | None = None
) -> AsyncIterator[Top]:
    app = TopApp(team.client, way_into or _no_way, clock=team.clock, wall_clock=lambda: team.now)
    async with app.run_test(size=size) as pilot:
        top = Top(app, pilot, team)
        await top.until(lambda: bool(top.table.shown) or not team.instances)
        await top.settles()
        yield top


def _no_way(each: InstanceInfo) -> WayInto:
    raise AssertionError


def team_of(count: int, **changes: Any) -> list[InstanceInfo]:
    return [
        info(f"spec_1_1_{number}", since="2026-11-01T10:00:00.000+00:00", **changes) for number in range(1, count + 1)
    ]
