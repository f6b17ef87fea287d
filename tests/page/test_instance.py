"""One instance on the page: its conversation, changes and events, and what one can do to it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.page.conftest import Stage, open_panel

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]

HOSTILE = "<b onclick=alert(1)>bold</b> \u202ereversed\u2066 <script>alert(1)</script>"


async def test_a_message_is_sent_and_stands_in_the_live_conversation_with_its_receipt(page: Page, stage: Stage) -> None:
    panel = await open_panel(page, stage, "worker-1")
    await panel.get_by_label("Message to worker-1").fill(f"From the page: {HOSTILE}")
    await panel.get_by_role("button", name="Send").click()
    conversation = panel.get_by_role("log", name="Conversation")
    asked = conversation.locator("article.entry-question").last
    await expect(asked).to_contain_text("<b onclick=alert(1)>bold</b> ⟨U+202E⟩reversed")
    await expect(asked).to_contain_text("from operator")
    await expect(asked).to_contain_text("submitted, exact")
    await expect(conversation.locator("article.entry-answer").last).to_contain_text("demo: received 1 message(s)")
    assert await page.locator("b[onclick]").count() == 0


async def test_tool_calls_of_a_claude_are_folded(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    claude = stage.ids["claude-1"]
    message = '@@tool Read {"file_path": "/etc/hostname"}'
    await lead.send(requests.SendRequest(instance_id=claude, message=message, wait=True))
    panel = await open_panel(page, stage, "claude-1")
    call = panel.locator("details.tool", has_text="/etc/hostname").last
    await expect(call).to_be_visible()
    await expect(call.locator(".tool-body")).to_have_count(0)
    await panel.get_by_role("button", name="Allow").click()
    await call.locator("summary").click()
    await expect(call.locator(".tool-body")).to_contain_text("file_path")


async def test_the_changes_of_its_branch_are_shown_by_file(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    message = "Write it down.\n@@demo commit notes.md <i>first</i> line"
    await lead.send(requests.SendRequest(instance_id=stage.ids["worker-3"], message=message, wait=True))
    await lead.wait(requests.WaitRequest(instance_ids=[stage.ids["worker-3"]], timeout_seconds=60))
    panel = await open_panel(page, stage, "worker-3", "changes")
    await expect(panel.locator("details.file", has_text="notes.md")).to_be_visible(timeout=40_000)
    await expect(panel.locator(".diff-line.added").first).to_contain_text("<i>first</i> line")


async def test_its_events_come_as_they_happen(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    panel = await open_panel(page, stage, "worker-4", "events")
    await lead.send(requests.SendRequest(instance_id=stage.ids["worker-4"], message="Say yes.", wait=True))
    await expect(panel.locator(".happening:has(.kind-became_idle)").first).to_contain_text("Say yes.")


async def test_a_turn_is_interrupted(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    worker = stage.ids["worker-5"]
    await lead.send(requests.SendRequest(instance_id=worker, message="Go.\n@@demo never-answer", wait=True))
    panel = await open_panel(page, stage, "worker-5")
    await panel.get_by_role("button", name="Interrupt").click()
    await expect(page.locator(".notices")).to_contain_text("was interrupted")
    waited = await lead.wait(requests.WaitRequest(instance_ids=[worker], timeout_seconds=60))
    assert waited.reached


async def test_it_is_restarted_recycled_and_terminated(page: Page, stage: Stage, lead: SupervisorClient) -> None:
    extra = await lead.spawn(stage.team.specialist("Help out.", name="helper"))
    stage.ids["helper"] = extra.instance_id
    panel = await open_panel(page, stage, "helper")
    await panel.get_by_role("button", name="Restart").click()
    await expect(page.locator(".notices")).to_contain_text("was restarted", timeout=90_000)
    await panel.get_by_role("button", name="Recycle").click()
    await expect(page.locator(".notices")).to_contain_text("fresh conversation", timeout=90_000)
    await panel.get_by_role("button", name="Terminate").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text(re.compile("commits stay on .*phalanx/"))
    await dialog.get_by_role("button", name="Keep it").click()
    await expect(dialog).to_have_count(0)
    await panel.get_by_role("button", name="Terminate").click()
    await dialog.get_by_role("button", name="Terminate", exact=True).click()
    await expect(page.locator(".row .name", has_text="helper")).to_have_count(0, timeout=60_000)
    del stage.ids["helper"]
