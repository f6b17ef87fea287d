"""How the page looks at both widths, in light and dark: nothing hangs over, and axe-core finds nothing serious.

With TEST_SCREENSHOTS a directory gets a picture of each.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.page.conftest import NARROW, WIDE, Stage, opened

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]

AXE = Path(__file__).resolve().parents[2] / "mcp_entry/web/page/node_modules/axe-core/axe.min.js"
SERIOUS = frozenset({"serious", "critical"})


async def _faults(page: Page) -> list[str]:
    """What axe-core finds that is serious. It runs in the page's world as a debugger does, which its policy allows."""
    await page.evaluate(AXE.read_text())
    found = await page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{each['id']}: {each['help']}: {json.dumps([node['html'][:200] for node in each['nodes'][:3]])}"
        for each in found
        if each["impact"] in SERIOUS
    ]


async def _picture(page: Page, name: str) -> None:
    if directory := os.environ.get("TEST_SCREENSHOTS"):
        await page.screenshot(path=Path(directory) / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_every_view_fits_and_is_accessible(
    browser: Browser, stage: Stage, lead: SupervisorClient, size: tuple[int, int], scheme: str
) -> None:
    worker = stage.ids["worker-1"]
    message = 'Go on.\n@@demo dialog Bash {"command": "' + "make " * 200 + '"}'
    await lead.send(requests.SendRequest(instance_id=worker, message=message, wait=True))
    try:
        async with opened(browser, stage.link(), size=size, scheme=scheme) as page:
            await expect(page.locator("article.need-card").first).to_be_visible()
            of_worker = f"#/i/{worker}/"
            faults: list[str] = []
            for name, place, content in (
                ("team", "#/", "article.need-card"),
                ("conversation", f"{of_worker}conversation", ".panel article.entry"),
                ("terminal", f"{of_worker}terminal", ".panel .screen-row"),
                ("changes", f"{of_worker}changes", ".panel .changes section"),
                ("events", f"{of_worker}events", ".panel .happenings"),
                ("time", "#/time", "table:has(caption:text-is('Times'))"),
                ("hosts", "#/hosts", "table:has(caption:text-is('Machines'))"),
            ):
                await page.evaluate("hash => { location.hash = hash }", place)
                await expect(page.locator(content).first).to_be_visible()
                await _picture(page, f"{name}-{size[0]}-{scheme}")
                over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                if over > 0:
                    faults.append(f"{name}: {over} pixels hang over")
                faults += [f"{name}: {fault}" for fault in await _faults(page)]
            assert faults == []
    finally:
        await lead.respond(requests.RespondRequest(instance_id=worker, decision="deny"))
        await lead.wait(requests.WaitRequest(instance_ids=[worker], timeout_seconds=60))
