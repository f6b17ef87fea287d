"""The team over time, its settings and its hosts on the page."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]


async def test_the_score_stands_there_with_its_reasons_and_figures(page: Page) -> None:
    await page.get_by_role("link", name="Over time").click()
    await expect(page.get_by_role("heading", name="Over time")).to_be_visible()
    await expect(page.get_by_role("region", name="Score")).to_be_visible()
    for table in ("Times", "In this time, and now", "Machines"):
        await expect(page.get_by_role("table", name=table)).to_be_visible()
    await expect(page.get_by_role("region", name="Tokens")).to_be_visible()


async def test_a_setting_is_changed_and_a_change_that_the_team_refuses_is_told(
    page: Page, lead: SupervisorClient
) -> None:
    await page.get_by_role("link", name="Over time").click()
    field = page.get_by_label("Messages in one turn")
    await expect(field).not_to_have_value("")
    before = int(await field.input_value())
    await field.fill(str(before + 1))
    await page.get_by_role("button", name="Change", exact=True).click()
    await expect(page.locator(".notices")).to_contain_text("The settings were changed.")
    found = await lead.get_performance(requests.GetPerformanceRequest())
    assert found.settings.message_batch_size == before + 1
    await page.get_by_role("button", name="Take all changes back").click()
    await expect(page.locator(".notices")).to_contain_text("as at first")
    await expect(field).to_have_value(str(before))


async def test_a_team_on_one_machine_shows_it_among_the_hosts(page: Page) -> None:
    await page.get_by_role("link", name="Hosts").click()
    await expect(page.get_by_role("heading", name="Hosts")).to_be_visible()
    words = page.get_by_text("The team is on one machine.")
    await expect(words).to_contain_text("PHALANX_RAY_ADDRESS")
    assert "docs/" not in await words.inner_text()  # which a wheel does not have
    await expect(page.get_by_role("table", name="Machines").get_by_role("row")).to_have_count(2)
