"""What was lost on its way between the page and its server: answers to calls, and events while the page was away."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, Route, expect

from supervisor.rpc.client import SupervisorClient
from tests.integration.web.conftest import the_process
from tests.page.conftest import Stage, open_panel, say, times_asked, until_idle

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]


async def test_what_happens_while_a_page_has_no_connection_is_told_to_it_afterwards(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker = stage.ids["worker-9"]
    await until_idle(lead, worker)
    panel = await open_panel(page, stage, "worker-9", "events")
    await expect(panel).to_contain_text("Nothing has happened yet.")
    # No event has come since it was opened: it must know all the same from where on it asks.
    await page.context.set_offline(True)
    the_process(stage.team.home).kill()
    await expect(page.get_by_role("alert")).to_contain_text("The page's server does not answer", timeout=60_000)
    await say(lead, worker, "Nobody looks.")
    await until_idle(lead, worker)
    await page.context.set_offline(False)
    await expect(page.locator(".live")).to_have_text("live", timeout=60_000)
    await expect(panel.locator(".happening:has(.kind-became_idle)")).to_contain_text("Nobody looks.", timeout=60_000)
    await expect(panel).not_to_contain_text("did not come to this page")


async def test_a_message_whose_answer_was_lost_is_not_sent_again_by_itself_and_given_once_when_it_is(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker, text = stage.ids["worker-10"], "Once and only once."
    sent: list[str] = []

    async def lose_the_first_answer(route: Route) -> None:
        sent.append(route.request.post_data or "")
        if len(sent) == 1:
            await route.fetch()
            await route.abort("connectionreset")
        else:
            await route.continue_()

    await page.context.route("**/api/call/send", lose_the_first_answer)
    panel = await open_panel(page, stage, "worker-10")
    field = panel.get_by_label("Message to worker-10")
    await field.fill(text)
    await panel.get_by_role("button", name="Send").click()
    notices = page.locator(".notices")
    await expect(notices).to_contain_text("It is not known whether the message was sent to worker-10")
    await expect(notices).to_contain_text("as long as the text stays as it is, it is given once")
    await expect(field).to_have_value(text)
    await expect(panel.get_by_role("log", name="Conversation")).to_contain_text(text)
    assert len(sent) == 1
    await panel.get_by_role("button", name="Send").click()
    await expect(field).to_have_value("")
    await until_idle(lead, worker)
    assert await times_asked(lead, worker, text) == 1


async def test_an_answer_to_a_request_that_was_lost_is_told_as_unknown_and_given_once(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker = stage.ids["worker-11"]
    sent: list[str] = []

    async def lose_the_answer(route: Route) -> None:
        sent.append(route.request.post_data or "")
        await route.fetch()
        await route.abort("connectionreset")

    await page.context.route("**/api/call/respond", lose_the_answer)
    await say(lead, worker, 'Go on.\n@@demo dialog Bash {"command": "make"}')
    card = page.locator("article.need-card").filter(has=page.get_by_role("link", name="worker-11", exact=True))
    await card.get_by_role("button", name="Allow").click()
    await expect(page.locator(".notices")).to_contain_text(
        "It is not known whether the request of worker-11 was answered"
    )
    await expect(card).to_have_count(0)
    await until_idle(lead, worker)
    assert len(sent) == 1


async def test_a_message_that_the_server_had_no_room_for_was_not_sent_and_the_page_says_so(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    refused = {"code": "too_many_calls", "message": "32 calls of the page run already: wait for some of them."}

    async def refuse(route: Route) -> None:
        await route.fulfill(status=429, json=refused)

    await page.context.route("**/api/call/send", refuse, times=1)
    panel = await open_panel(page, stage, "worker-12")
    field = panel.get_by_label("Message to worker-12")
    await field.fill("Is there room?")
    await panel.get_by_role("button", name="Send").click()
    await expect(page.locator(".notices")).to_contain_text("Nothing was sent to worker-12: 32 calls of the page run")
    await panel.get_by_role("button", name="Send").click()
    await expect(field).to_have_value("")
    await until_idle(lead, stage.ids["worker-12"])
    assert await times_asked(lead, stage.ids["worker-12"], "Is there room?") == 1
