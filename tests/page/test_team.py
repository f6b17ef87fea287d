"""The team on the page: as a tree or by status, searched, filtered and sorted, and what stays where it is."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.page.conftest import Stage

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]


async def _names(page: Page) -> list[str]:
    return [text.strip() for text in await page.locator(".row .name").all_inner_texts()]


async def test_the_tree_is_searched_filtered_sorted_and_shown_by_status(page: Page, stage: Stage) -> None:
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))
    tree = await _names(page)
    assert tree.index("boss") < tree.index("backend") < tree.index("worker-1")

    await page.keyboard.press("/")
    await page.keyboard.type("worker-3")
    await expect(page.locator(".row:not(.faint) .name")).to_have_text(["worker-3"])
    await page.get_by_label("Search the team").fill("")

    await page.get_by_role("group", name="Role").get_by_role("button", name="manager").click()
    await expect(page.locator(".row:not(.head):not(.faint) .name")).to_have_text(["backend"])
    await page.get_by_role("group", name="Role").get_by_role("button", name="manager").click()

    await page.get_by_role("columnheader").get_by_role("button", name="Instance").click()
    await expect(page.get_by_role("columnheader", name="Instance")).to_have_attribute("aria-sort", "ascending")
    await page.get_by_role("group", name="Arrange").get_by_role("button", name="By status").click()
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))


async def test_a_row_tells_what_its_instance_does_and_was_asked_and_how_far_it_is(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    message = "Write the invoice.\n@@demo tokens 1234\n@@demo commit invoice.md due"
    await lead.send(requests.SendRequest(instance_id=stage.ids["worker-6"], message=message, wait=True))
    row = page.locator(".row").filter(has=page.get_by_role("link", name="worker-6"))
    await expect(row.locator(".c-task")).to_contain_text("Write the invoice.")
    await expect(row.locator(".c-now")).to_contain_text("demo: received")
    await expect(row.locator(".c-unread")).not_to_be_empty()
    await expect(row.locator(".c-work")).to_contain_text("1↑", timeout=40_000)
    await expect(row.locator(".c-tokens")).not_to_be_empty()


async def test_by_keyboard_alone_an_instance_is_found_opened_and_left(page: Page, stage: Stage) -> None:
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    focused = page.locator("a.row-link:focus")
    await expect(focused).to_have_count(1)
    name = await focused.locator(".name").inner_text()
    await page.keyboard.press("Enter")
    await expect(page.locator(".panel h2")).to_have_text(name)
    await page.keyboard.press("Escape")
    await expect(page.locator(".panel")).to_have_count(0)
    await expect(page.locator("a.row-link:focus .name")).to_have_text(name)
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("next that needs you")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_reload_and_back_lead_where_one_was(page: Page, stage: Stage) -> None:
    await page.get_by_role("link", name="worker-2").first.click()
    await page.get_by_role("link", name="Terminal").click()
    await page.reload()
    await expect(page.locator(".panel h2")).to_have_text("worker-2")
    await expect(page.get_by_role("button", name="Take over")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("log", name="Conversation")).to_be_visible()


async def test_many_pages_of_one_browser_are_live_and_none_is_stuck(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    # A browser opens six connections to one server, so these must share one stream.
    pages = [page, *[await page.context.new_page() for _ in range(7)]]
    for other in pages[1:]:
        await other.goto(page.url)
    for each in pages:
        await expect(each.locator(".row .name")).to_have_count(len(stage.ids))
    task = "Tell all pages."
    await lead.send(requests.SendRequest(instance_id=stage.ids["worker-2"], message=task, wait=True))
    for each in pages:
        row = each.locator(".row").filter(has=each.get_by_role("link", name="worker-2"))
        await expect(row.locator(".c-task")).to_have_text(task)
    await pages[-1].close()
    await page.get_by_role("link", name="Over time").click()
    await expect(page.get_by_role("table", name="Times")).to_be_visible()
