"""What needs a person stands first on the page, and is answered there."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.page.conftest import NARROW, WIDE, Stage, opened, say, until_idle, until_it_is

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]

EVIL = "<img src=x onerror=alert(1)> </script> \u202egnp.exe $(touch x)"
SHOWN = EVIL.replace("\u202e", "⟨U+202E⟩")
"""What would reorder the text around it stands there as its name."""
_SHOWS_ITS_END = """text => {
  const { bottom, top } = text.getBoundingClientRect();
  const isAtEnd = text.scrollTop + text.clientHeight >= text.scrollHeight - 1;
  return isAtEnd && top >= 0 && bottom <= innerHeight;
}"""


def _card(page: Page, name: str) -> Locator:
    return page.locator("article.need-card").filter(has=page.get_by_role("link", name=name, exact=True))


async def _said(lead: SupervisorClient, instance_id: str) -> str:
    read = await lead.read(requests.ReadRequest(instance_id=instance_id, lines=20))
    return "\n".join(entry.text for entry in read.entries)


async def test_a_permission_request_is_shown_with_its_exact_input_and_allowed_in_place(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker = stage.ids["worker-1"]
    command = f"echo '{EVIL}'"
    await say(lead, worker, f"Go on.\n@@demo dialog Bash {json.dumps({'command': command})}")
    card = _card(page, "worker-1")
    await expect(card).to_contain_text("asks for permission: Bash")
    await expect(card).to_contain_text("boss › backend ›")
    assert await card.locator("dl.input dd").first.inner_text() == command.replace(EVIL, SHOWN)
    await card.get_by_role("button", name="Allow").click()
    await expect(card).to_have_count(0)
    await until_idle(lead, worker)
    assert "Bash ran" in await _said(lead, worker)


async def test_a_request_of_a_claude_is_denied_with_a_reason(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    claude = stage.ids["claude-1"]
    await say(lead, claude, '@@tool Bash {"command": "rm -rf /nowhere/at/all", "description": "Clean"}')
    card = _card(page, "claude-1")
    await expect(card).to_contain_text("rm -rf /nowhere/at/all")
    await card.get_by_label("Reason for a denial").fill("Leave it, please.")
    await card.get_by_role("button", name="Deny").click()
    await expect(card).to_have_count(0)
    await until_idle(lead, claude)
    assert "Leave it, please." in await _said(lead, claude)


async def test_a_question_of_a_claude_is_answered_by_one_of_its_options(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    claude = stage.ids["claude-2"]
    options = [{"label": "Postgres", "description": "on a server"}, {"label": "SQLite", "description": "in a file"}]
    asked = {"questions": [{"question": "Which database?", "header": "DB", "multiSelect": False, "options": options}]}
    await say(lead, claude, f"@@tool AskUserQuestion {json.dumps(asked)}")
    card = _card(page, "claude-2")
    await expect(card).to_contain_text("Which database?")
    await expect(card).to_contain_text("in a file")
    await card.get_by_role("button", name=re.compile("SQLite")).click()
    await expect(card).to_have_count(0)
    await until_idle(lead, claude)
    assert "SQLite" in await _said(lead, claude)


async def test_a_dialog_is_answered_by_one_of_its_options(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    worker = stage.ids["worker-2"]
    await say(lead, worker, "Choose.\n@@demo ask")
    card = _card(page, "worker-2")
    await expect(card).to_contain_text("Which one?")
    await card.get_by_role("button", name="That one").click()
    await expect(card).to_have_count(0)
    await until_idle(lead, worker)


async def test_who_failed_is_shown_with_the_reason_and_its_screen(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker = stage.ids["worker-3"]
    await say(lead, worker, f"Go on.\n@@demo fail api 500 broken {EVIL}")
    card = _card(page, "worker-3")
    await expect(card).to_contain_text(f"500 broken {SHOWN}")
    await expect(card.get_by_role("img", name="The end of its screen")).to_contain_text("500 broken")
    await say(lead, worker, "Well again.")
    await expect(card).to_have_count(0)


async def test_a_message_that_a_draft_holds_back_is_shown_with_the_draft(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker = stage.ids["worker-4"]
    await lead.type(requests.TypeRequest(instance_id=worker, keys=[requests.Key(text="half a thought")]))
    await lead.send(requests.SendRequest(instance_id=worker, message="Hello."))
    card = _card(page, "worker-4")
    await expect(card).to_contain_text("holds back a message")
    await expect(card).to_contain_text("half a thought")
    await lead.type(requests.TypeRequest(instance_id=worker, keys=[requests.Key(key="C-u")]))
    await expect(card).to_have_count(0)


async def test_all_of_it_goes_by_keyboard_and_nothing_is_allowed_that_has_no_focus(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    worker = stage.ids["worker-5"]
    await say(lead, worker, 'Go on.\n@@demo dialog Bash {"command": "make"}')
    card = _card(page, "worker-5")
    await expect(card).to_be_visible()
    await page.keyboard.press("a")
    listed = await lead.list(requests.ListRequest(instance_ids=[worker]))
    assert listed.instances[0].permission is not None
    for _ in range(10):
        await page.keyboard.press("n")
        if await card.evaluate("card => card === document.activeElement"):
            break
    await expect(card).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("region", name=f"Instance {worker}")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator("a.row-link:focus")).to_have_count(1)
    await card.focus()
    await page.keyboard.press("a")
    await expect(card).to_have_count(0)
    await until_idle(lead, worker)
    assert "Bash ran" in await _said(lead, worker)


async def test_the_title_counts_those_that_need_somebody(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    worker = stage.ids["worker-6"]
    before = await page.title()
    await say(lead, worker, 'Go on.\n@@demo dialog Bash {"command": "make"}')
    await expect(_card(page, "worker-6")).to_be_visible()
    assert re.fullmatch(r"\(\d+\) .*Phalanx", await page.title())
    assert await page.title() != before
    await _card(page, "worker-6").get_by_role("button", name="Deny").click()
    await expect(_card(page, "worker-6")).to_have_count(0)


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
async def test_a_request_that_is_longer_than_the_view_is_shown_in_whole_before_it_can_be_allowed(
    browser: Browser, stage: Stage, lead: SupervisorClient, size: tuple[int, int]
) -> None:
    worker = stage.ids["worker-7"]
    lines = [f"echo line {number} of the script" for number in range(400)] + ["rm -rf /the/last/line"]
    await say(lead, worker, f"Go on.\n@@demo dialog Bash {json.dumps({'command': chr(10).join(lines)})}")
    async with opened(browser, stage.link(), size=size) as page:
        card = _card(page, "worker-7")
        await expect(card).to_contain_text("echo line 0 of the script")
        await expect(card).not_to_contain_text("/the/last/line")
        await expect(card.get_by_role("button", name="Allow")).to_have_count(0)
        await card.focus()
        await page.keyboard.press("a")  # shows the rest, and allows nothing
        text = card.get_by_role("group", name="Bash: command")
        await expect(text).to_contain_text("/the/last/line")
        listed = await lead.list(requests.ListRequest(instance_ids=[worker]))
        assert listed.instances[0].permission is not None
        assert (await text.inner_text()).splitlines() == lines
        await text.focus()
        await page.keyboard.press("End")
        await until_it_is(text, _SHOWS_ITS_END)
        await card.get_by_role("button", name="Allow").click()
        await expect(card).to_have_count(0)
    await until_idle(lead, worker)
    assert "Bash ran" in await _said(lead, worker)
