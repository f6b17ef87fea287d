"""A real team of twenty demo agents and two real Claudes with the stand-in of the API, and a real Chromium on its page.

Every page of a test fails it when the browser tells an error or a breach of the Content-Security-Policy, and when it
asks for anything that is not of the page's own server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, Route, async_playwright, expect

from actors.host.endpoint import kept_port
from mcp_entry.web.browser import STATIC
from mcp_entry.web.sign_in import make_link
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment
from tests.standin.claude_versions import installed_claude

CHROMIUM = os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium")
WIDE, NARROW = (1280, 900), (390, 844)
WORKERS = 18
expect.set_options(timeout=20_000)


@dataclass(frozen=True, slots=True)
class Stage:
    """The team, and its members by their names: ``boss`` leads ``backend``, which leads ``worker-1`` and so on."""

    team: Team
    ids: dict[str, str]

    def link(self) -> str:
        return f"http://127.0.0.1:{kept_port(self.team.home)}/sign-in?once={make_link(self.team.home)}"


@pytest.fixture(scope="session")
def api() -> Iterator[ApiStandIn]:
    with ApiStandIn() as standin:
        yield standin


@pytest.fixture(scope="session")
def stage(make_short_tmp: Callable[[], Path], api: ApiStandIn) -> Iterator[Stage]:
    if not (STATIC / "index.html").is_file():
        pytest.fail("the page is not built: run scripts/page")
    directory = make_short_tmp()
    environment = standin_environment(api.url, make_claude_home(directory / "user"))
    claude = str(installed_claude("newest"))
    team = bring_up(directory, PHALANX_AGENT="demo", PHALANX_CLAUDE_COMMAND=claude, **environment)
    try:
        yield Stage(team, asyncio.run(_spawn(team)))
    finally:
        team.runtime.down(lambda step: None)


async def _spawn(team: Team) -> dict[str, str]:
    ids: dict[str, str] = {}
    async with await team.connect() as lead:
        boss = await lead.spawn(team.specialist("Plan the new shop.", role=Role.EXECUTIVE, name="boss"))
        above = {"parent_id": boss.instance_id}
        backend = await lead.spawn(team.specialist("Lead the backend.", role=Role.MANAGER, name="backend", **above))
        ids |= {"boss": boss.instance_id, "backend": backend.instance_id}
        workers = {
            f"worker-{number}": team.specialist(
                f"Write part {number}.", name=f"worker-{number}", parent_id=backend.instance_id
            )
            for number in range(1, WORKERS + 1)
        }
        claudes = {
            name: team.specialist("Say hello.", name=name, agent="claude", permission_mode="default")
            for name in ("claude-1", "claude-2")
        }
        batch = await lead.spawn_instances_batch([*workers.values(), *claudes.values()])
        assert batch.success, batch
        ids |= {name: each.instance_id or "" for name, each in zip([*workers, *claudes], batch.instances, strict=True)}
        waited = await lead.wait(requests.WaitRequest(timeout_seconds=240))
        assert waited.reached, waited
    return ids


@pytest.fixture
async def lead(stage: Stage) -> AsyncIterator[SupervisorClient]:
    async with await stage.team.connect() as lead:
        yield lead


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, link: str, *, size: tuple[int, int] = WIDE, scheme: str = "light"
) -> AsyncIterator[Page]:
    """The page, signed in by the link, in a browser of its own."""
    faults: list[str] = []
    own = urlsplit(link).netloc
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )

    async def only_own(route: Route) -> None:
        if urlsplit(route.request.url).netloc == own:
            await route.continue_()
        else:
            faults.append(f"asked for {route.request.url}")
            await route.abort()

    await context.route("**/*", only_own)
    page = await context.new_page()
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", lambda said: faults.append(said.text) if _is_fault(said) else None)
    await page.goto(link)
    await expect(page.get_by_text("live", exact=True)).to_be_visible()
    try:
        yield page
        assert faults == []
    finally:
        await context.close()


async def open_panel(page: Page, stage: Stage, name: str, tab: str = "conversation") -> Locator:
    """The panel of the instance of this name."""
    await page.evaluate("hash => { location.hash = hash }", f"#/i/{stage.ids[name]}/{tab}")
    panel = page.locator(".panel")
    await expect(panel.locator("h2")).to_have_text(name)
    return panel


async def until_it_is(shown: Locator, condition: str, within_s: float = 20.0) -> None:
    """``condition``: a function in JavaScript of the element. The page's policy forbids Playwright's own way."""
    look = f"const look = () => ({condition})(shown) ? done() : setTimeout(look, 50); look();"
    async with asyncio.timeout(within_s):
        await shown.evaluate(f"shown => new Promise(done => {{ {look} }})")


async def say(lead: SupervisorClient, instance_id: str, message: str) -> None:
    """Sends the message and returns when the agent has it."""
    await lead.send(requests.SendRequest(instance_id=instance_id, message=message, wait=True))


async def until_idle(lead: SupervisorClient, instance_id: str) -> None:
    waited = await lead.wait(requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=60))
    assert waited.reached, waited


async def times_asked(lead: SupervisorClient, instance_id: str, text: str) -> int:
    """How often this stands among what the instance was asked."""
    read = await lead.read(requests.ReadRequest(instance_id=instance_id, lines=200, leaves_unread=True))
    return sum(text in entry.text for entry in read.entries if entry.kind == "question")


def _is_fault(said: ConsoleMessage) -> bool:
    """Chromium itself tells of each request that was not answered, or that there was no room or no terminal for."""
    expected = ("net::ERR_", "with a status of 429", "with a status of 503")
    return said.type in ("error", "warning") and not any(words in said.text for words in expected)


@pytest.fixture
async def page(browser: Browser, stage: Stage) -> AsyncIterator[Page]:
    async with opened(browser, stage.link()) as page:
        yield page
