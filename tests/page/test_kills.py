"""What a person sees when parts of the team are killed under an open page: it says so, and goes on by itself."""

from __future__ import annotations

import os
import signal

import pytest
from playwright.async_api import Page, expect

from actors.host.endpoint import LOG_NAME
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.integration.web.conftest import the_process, until
from tests.page.conftest import Stage, open_panel, say

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]


async def _shows_what_is_new(page: Page, stage: Stage, text: str) -> None:
    async with await stage.team.connect() as lead:
        await lead.send(requests.SendRequest(instance_id=stage.ids["worker-1"], message=text, wait=True))
    row = page.locator(".row").filter(has=page.locator(".name:text-is('worker-1')"))
    await expect(row.locator(".c-task")).to_contain_text(text, timeout=60_000)


async def test_a_killed_endpoint_is_back_and_nobody_signs_in_again(page: Page, stage: Stage) -> None:
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))
    the_process(stage.team.home).kill()
    await expect(page.locator(".live")).not_to_have_text("live")
    await _shows_what_is_new(page, stage, "After the kill of the endpoint.")
    await expect(page.get_by_text("live", exact=True)).to_be_visible()
    await page.reload()
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))


async def test_a_killed_supervisor_is_told_and_so_is_its_return(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))
    supervisor = (await lead.status(requests.StatusRequest())).supervisor_pid
    away = page.get_by_role("alert")
    os.kill(supervisor, signal.SIGKILL)
    await expect(away).to_contain_text("The team does not answer")
    await expect(away).to_have_count(0, timeout=90_000)
    await expect(page.get_by_text("live", exact=True)).to_be_visible()
    await _shows_what_is_new(page, stage, "After the kill of the supervisor.")


async def test_supervisor_and_endpoint_killed_at_once_are_told_and_the_page_comes_back_with_a_terminal_that_is_live(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    panel = await open_panel(page, stage, "worker-8", "terminal")
    terminal = panel.get_by_role("group", name=f"Terminal of {stage.ids['worker-8']}")
    await expect(terminal).to_contain_text("? for shortcuts")
    supervisor = (await lead.status(requests.StatusRequest())).supervisor_pid
    os.kill(supervisor, signal.SIGKILL)
    the_process(stage.team.home).kill()
    await expect(page.locator(".live")).not_to_have_text("live", timeout=60_000)
    await expect(page.locator(".live")).to_have_text("live", timeout=90_000)
    await expect(page.get_by_role("alert")).to_have_count(0)
    async with await stage.team.connect() as anew:
        await say(anew, stage.ids["worker-8"], "After the kill of both.")
    await expect(terminal).to_contain_text("After the kill of both.", timeout=60_000)
    await expect(panel.get_by_role("button", name="Take over")).to_be_enabled()


async def test_a_call_that_is_under_way_when_the_endpoint_is_killed_is_not_made_a_second_time(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    panel = await open_panel(page, stage, "worker-12")
    log = stage.team.home.logs / LOG_NAME

    def calls() -> int:
        return log.read_text().count("the page calls restart")

    before = calls()
    await panel.get_by_role("button", name="Restart").click()
    await until(lambda: calls() > before)
    the_process(stage.team.home).kill()
    await expect(page.locator(".notices")).to_contain_text(
        "It is not known whether worker-12 was restarted", timeout=90_000
    )
    await _shows_what_is_new(page, stage, "After the restart.")
    assert calls() == before + 1
