"""The team's page with a hundred instances: its first paint, the way of an event onto it, and what its server costs.

The page, its server and Chromium are the real ones. The supervisor is a stand-in with a hundred rows, of which ten
change all the time: so the figures are those of the page and its server, on a machine that runs no hundred agents. It
gathers changes as the real one does.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from actors.home import Home
from actors.host.endpoint import TeamEndpoint
from actors.marks import TEAM_MARK
from mcp_entry.web.sign_in import make_link
from scripts.benchmarks.bench import Bench
from scripts.benchmarks.processes import cpu_percent, pss_mb
from scripts.benchmarks.section import Part, Section, p95
from supervisor.api.requests import Role
from supervisor.api.results import InstanceInfo, Permission
from supervisor.rpc.server import Gateway
from supervisor.team.file import TeamInfo, write_team
from tests.fakes.gateway import info
from tests.integration.rpc.conftest import ScriptedVerbs
from tests.integration.web.conftest import the_process
from tests.integration.web.page import ScriptedTeam

CHROMIUM = "/usr/bin/chromium"
_SIZE = 100
_WORKING = 10
_ASKS_EACH = 18
_OPENED = 10
"""How often the page is opened anew."""
_CHANGES_EVERY_S = 0.5
"""Of each instance that works: a tool call or a line of text."""
_WATCHED_S = 30.0
_GATHER_S = 0.05
_ARRIVES_S = 60.0
_WORDS = f"""
{_SIZE} rows, five of them with a request for permission, from a stand-in of the supervisor; the page, its server and
Chromium are real. The first paint and the rows are counted from the beginning of the navigation, with nothing in the
browser's cache. Then {_WORKING} instances work for {_WATCHED_S:.0f} s: each does something else every
{_CHANGES_EVERY_S * 1000:.0f} ms. An event counts from the moment when it happened until it stands in the page's
document, with the {_GATHER_S * 1000:.0f} ms for which a supervisor gathers changes. Memory is the proportional share
(PSS) of the endpoint's process, which serves the tools of the instances too.
"""
_WATCH = """
window.marks = {};
window.rowsAt = 0;
new MutationObserver(changes => {
  if (!window.rowsAt && document.querySelectorAll(".row .name").length >= SIZE)
    requestAnimationFrame(() => setTimeout(() => { window.rowsAt = performance.now(); }));
  for (const { target, addedNodes } of changes)
    for (const node of [target, ...addedNodes])
      for (const [mark] of (node.textContent ?? "").matchAll(/mark-\\d+/g)) window.marks[mark] ??= Date.now();
}).observe(document, { subtree: true, childList: true, characterData: true });
"""


@dataclass(frozen=True, slots=True)
class _Stage:
    home: Home
    team: ScriptedTeam
    url: str
    """Of the page, without a path."""

    @property
    def process(self) -> psutil.Process:
        """The one that serves."""
        return the_process(self.home)

    def link(self) -> str:
        return f"{self.url}/sign-in?once={make_link(self.home)}"


def _rows() -> list[InstanceInfo]:
    rows = [info("exec_1", role=Role.EXECUTIVE, name="boss", parent_id=None)]
    rows += [info(f"mgr_1_{at}", role=Role.MANAGER, name=f"lead-{at}", parent_id="exec_1") for at in range(9)]
    return rows + [_specialist(at, "Bash: npm test") for at in range(_SIZE - len(rows))]


def _specialist(at: int, activity: str) -> InstanceInfo:
    asks = (
        Permission(permission_id=f"p{at}", tool="Bash", input={"command": "npm run build"}) if at % 18 == 17 else None
    )
    return info(
        f"spec_1_{at % 9}_{at}",
        name=f"worker-{at}",
        parent_id=f"mgr_1_{at % 9}",
        status="waiting_permission" if asks else "busy",
        permission=asks,
        needs_attention=asks is not None,
        task="Write the part of the shop that takes orders, with tests, and commit it.",
        activity=activity,
        model="claude-opus-5-5",
        context_tokens=1000 * at,
        context_window=200_000,
    )


@asynccontextmanager
async def _stage(bench: Bench) -> AsyncIterator[_Stage]:
    with bench.scratch() as directory:
        home = Home(directory / "h")
        home.create()
        verbs = ScriptedVerbs()
        team = ScriptedTeam(verbs, _rows(), gather_s=_GATHER_S)
        gateway = Gateway(home.gateway_socket, verbs)
        await gateway.start()
        try:
            async with page_served(home) as url:
                yield _Stage(home, team, url)
        finally:
            await gateway.stop()


@asynccontextmanager
async def page_served(home: Home) -> AsyncIterator[str]:
    """The page of the team whose gateway is in this home, without a path. A process stands for the team's Ray."""
    head = subprocess.Popen(["sleep", "3600"], env={TEAM_MARK: "bench"})  # noqa: ASYNC220 - it returns at once
    write_team(home, TeamInfo(team_id="bench", version="1", started_at="", head_pid=head.pid))
    endpoint = TeamEndpoint(home)
    try:
        yield (await endpoint.ensure()).rpartition("/")[0]
    finally:
        await endpoint.end()
        head.kill()
        head.wait()


async def _measure(bench: Bench) -> Section:
    from playwright.async_api import async_playwright  # noqa: PLC0415 - only this part needs it

    async with _stage(bench) as stage, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        look = Look(browser, stage.url, stage.link, _SIZE)
        paints, drawn = [], []
        for number in range(_OPENED):
            bench.say(f"opening the page, {number + 1} of {_OPENED}")
            paint_ms, rows_ms = await look.opened()
            paints.append(paint_ms)
            drawn.append(rows_ms)
        page = await look.page()
        bench.say(f"{_WORKING} instances work for {_WATCHED_S:.0f} s")
        arrived, working = await _worked(page, stage)
        bench.say(f"nothing happens for {_WATCHED_S:.0f} s")
        resting = await cpu_percent(stage.process, asyncio.sleep(_WATCHED_S))
        memory = pss_mb(stage.process)
        await browser.close()
    return Section(
        columns=("what", "p50", "p95", "aim"),
        rows=[
            ("first paint", *_ms(paints), "≤ 1000 ms"),
            (f"all {_SIZE} rows drawn", *_ms(drawn), ""),
            ("an event stands on the page", *_ms(arrived), "≤ 200 ms"),
            (f"CPU of the endpoint while {_WORKING} work, of one core", f"{working:.1f} %", "", "≤ 5 %"),
            ("CPU of the endpoint while nothing happens", f"{resting:.2f} %", "", ""),
            ("memory of the endpoint", f"{memory:.0f} MB", "", "≤ 150 MB"),
        ],
        words=_WORDS,
        samples={"first paint": paints, "rows drawn": drawn, "an event stands on the page": arrived},
    )


@dataclass(frozen=True, slots=True)
class Look:
    """Opens the page of a team with so many instances in a browser. ``url`` is without a path."""

    browser: Any
    url: str
    link: Callable[[], str]
    size: int

    async def page(self) -> Any:
        """Signed in, with all rows."""
        context = await self.browser.new_context(viewport={"width": 1280, "height": 900})
        await context.add_init_script(_WATCH.replace("SIZE", str(self.size)))
        page = await context.new_page()
        await page.goto(self.link())
        await _until(page, "window.rowsAt > 0")
        return page

    async def opened(self) -> tuple[float, float]:
        """First paint, and when all rows are drawn, in ms from the beginning of the navigation to the page."""
        page = await self.page()
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("Network.clearBrowserCache")
        await page.goto(self.url)
        await _until(page, "window.rowsAt > 0")
        told = await page.evaluate(
            "[performance.getEntriesByName('first-contentful-paint')[0].startTime, window.rowsAt].map(Number)"
        )
        await page.context.close()
        return told[0], told[1]


async def _until(page: Any, condition: str) -> None:
    """Playwright's own way evaluates text within the page, which the page's policy forbids."""
    async with asyncio.timeout(_ARRIVES_S):
        look = f"(function look() {{ {condition} ? done() : setTimeout(look, 20) }})()"
        await page.evaluate(f"new Promise(done => {{ {look} }})")


async def _worked(page: Any, stage: _Stage) -> tuple[list[float], float]:
    """How long each change took to the page, in ms, and the CPU of the endpoint meanwhile, in percent of a core."""
    begun: dict[str, float] = {}

    async def work() -> None:
        for step in range(int(_WATCHED_S / _CHANGES_EVERY_S)):
            for at in range(_WORKING):
                mark = f"mark-{step * _WORKING + at}"
                begun[mark] = time.time() * 1000
                stage.team.put(_specialist(at, f"Bash: {mark}"))
                await asyncio.sleep(_CHANGES_EVERY_S / _WORKING)

    share = await cpu_percent(stage.process, work())
    last = list(begun)[-1]
    await _until(page, f"window.marks[{json.dumps(last)}] > 0")
    seen: dict[str, float] = await page.evaluate("window.marks")
    # Of two changes of one row that are gathered, only the later one is told.
    return [seen[mark] - at for mark, at in begun.items() if mark in seen], share


def _ms(samples: Sequence[float]) -> tuple[str, str]:
    return f"{statistics.median(samples):.0f} ms", f"{p95(samples):.0f} ms"


PART = Part(name="dashboard", title="The page of a team of a hundred", measure=_measure)
