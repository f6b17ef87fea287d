"""The terminal of an instance on the page: looked at, taken over and given back, away, and flooded."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from playwright.async_api import Locator, Page, expect

from actors.errors import PhalanxError
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.integration.web.conftest import the_process
from tests.page.conftest import Stage, open_panel, say
from tests.people import patient

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]

_FLOOD_BYTES = 100_000_000
_ANSWERS_S = 2.0
"""From a click until the page shows what it asked for; 0.3 s were the most on a quiet machine."""
_MOST_GROWTH_BYTES = 40_000_000


def _terminal(panel: Locator, stage: Stage, name: str) -> Locator:
    return panel.get_by_role("group", name=f"Terminal of {stage.ids[name]}", exact=True)


async def _taken_over(page: Page, stage: Stage, name: str) -> tuple[Locator, Locator]:
    """The panel of a demo agent and its terminal, into which the next key goes."""
    panel = await open_panel(page, stage, name, "terminal")
    terminal = _terminal(panel, stage, name)
    await expect(terminal).to_contain_text("? for shortcuts")
    await panel.get_by_role("button", name="Take over").click()
    await expect(panel).to_contain_text("You type into this terminal.")
    return panel, terminal


async def test_the_terminal_is_looked_at_taken_over_and_given_back(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    panel = await open_panel(page, stage, "worker-2", "terminal")
    terminal = _terminal(panel, stage, "worker-2")
    await expect(terminal).to_contain_text("? for shortcuts")
    await page.keyboard.type("never")
    await expect(panel).to_contain_text("Looking only.")
    await panel.get_by_role("button", name="Take over").click()
    await expect(panel).to_contain_text("You type into this terminal.")
    await page.keyboard.type("from the page; $(x)")
    await expect(terminal).to_contain_text("from the page; $(x)")
    assert "never" not in await terminal.inner_text()
    await page.keyboard.press("Enter")
    await expect(terminal).to_contain_text("demo: received 1 message(s): from the page; $(x)")
    await page.keyboard.press("Control+Shift+Escape")
    await expect(panel).to_contain_text("Looking only.")


async def test_ctrl_z_is_not_sent_to_the_agent_and_the_next_key_is(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    panel, terminal = await _taken_over(page, stage, "worker-13")
    await page.keyboard.press("Control+z")
    await expect(panel).to_contain_text("Ctrl+Z is not sent: it would suspend the agent for good.")
    await page.keyboard.type("still here")
    await expect(terminal).to_contain_text("still here")
    await expect(panel).not_to_contain_text("Ctrl+Z is not sent")
    (pid,) = await _pane(stage, lead, "worker-13", "#{pane_pid}")
    states = [each.status() for each in (psutil.Process(int(pid)), *psutil.Process(int(pid)).children(recursive=True))]
    assert psutil.STATUS_STOPPED not in states
    await page.keyboard.press("Control+u")
    await expect(terminal).not_to_contain_text("still here")


async def test_a_terminal_of_a_team_that_is_away_says_why_is_given_back_and_is_live_again_by_itself(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    panel, terminal = await _taken_over(page, stage, "worker-14")
    os.kill((await lead.status(requests.StatusRequest())).supervisor_pid, signal.SIGKILL)
    words = panel.locator(".terminal > p.hint")
    await expect(page.get_by_role("alert")).to_contain_text("The team does not answer")
    await expect(words).to_have_text("The team is away: the screen is as it was.")
    await expect(panel).to_contain_text("Looking only.")
    await expect(panel.get_by_role("button", name="Take over")).to_be_disabled()
    await expect(page.get_by_role("alert")).to_have_count(0, timeout=90_000)
    await expect(words).to_have_count(0)
    await panel.get_by_role("button", name="Take over").click()
    await page.keyboard.type("back again")
    await expect(terminal).to_contain_text("back again", timeout=60_000)
    await page.keyboard.press("Control+u")


async def test_a_terminal_that_is_not_there_says_why_and_is_shown_when_there_is_one_again(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    async with _helper(stage, lead, "leaver"):
        panel = await open_panel(page, stage, "leaver", "terminal")
        terminal = _terminal(panel, stage, "leaver")
        await expect(terminal).to_contain_text("? for shortcuts")
        (session,) = await _pane(stage, lead, "leaver", "#{session_name}")
        await _tmux(stage, "kill-session", "-t", f"={session}")
        await expect(panel.locator(".terminal > p.hint")).to_contain_text("cannot be seen", timeout=60_000)
        await expect(panel).to_contain_text("Looking only.")
        await lead.restart(requests.RestartRequest(instance_id=stage.ids["leaver"]))
        await expect(panel.locator(".terminal > p.hint")).to_have_count(0, timeout=60_000)
        await expect(terminal).to_contain_text("? for shortcuts")
        await lead.terminate(requests.TerminateRequest(instance_id=stage.ids["leaver"]))
        await expect(panel.locator(".terminal > p.hint")).to_be_visible(timeout=60_000)
        await expect(panel.get_by_role("button", name="Take over")).to_be_disabled()
        await expect(panel).to_contain_text("any more: it was terminated")


async def test_the_terminal_of_an_agent_that_has_ended_shows_its_last_screen_and_takes_no_keys(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    async with _helper(stage, lead, "crasher"):
        panel = await open_panel(page, stage, "crasher", "terminal")
        await panel.get_by_role("button", name="Take over").click()
        await say(lead, stage.ids["crasher"], "The last words.\n@@demo crash 3")
        await expect(panel).to_contain_text("The agent has ended: the screen is its last one.", timeout=60_000)
        await expect(_terminal(panel, stage, "crasher")).to_contain_text("The last words.")
        await expect(panel).to_contain_text("Looking only.")
        await expect(panel.get_by_role("button", name="Take over")).to_be_disabled()


async def test_a_terminal_that_prints_a_hundred_megabytes_holds_nothing_up_and_ends_with_the_right_screen(
    page: Page, stage: Stage, lead: SupervisorClient
) -> None:
    async with _helper(stage, lead, "printer"):
        panel = await open_panel(page, stage, "printer", "terminal")
        await expect(_terminal(panel, stage, "printer")).to_contain_text("? for shortcuts")
        tty, rows = await _pane(stage, lead, "printer", "#{pane_tty} #{pane_height}")
        lines = [f"{number:09d} {'of a hundred megabytes ' * 3}".rstrip() for number in range(_FLOOD_BYTES // 80)]
        endpoint = the_process(stage.team.home)
        before = most = endpoint.memory_info().rss
        answered: list[float] = []
        printing = asyncio.create_task(asyncio.to_thread(_print, tty, lines))
        while not printing.done() or len(answered) < 5:
            answered.append(await _answer_to_a_click(page))
            most = max(most, endpoint.memory_info().rss)
        await printing
        shown = panel.locator(".screen-row")
        await expect(shown.nth(int(rows) - 2)).to_have_text(lines[-1], timeout=60_000)
        assert [text.rstrip() for text in await shown.all_inner_texts()][:-1] == lines[1 - int(rows) :]
        slowest, growth = max(answered), most - before
        print(f"{len(answered)} clicks, the slowest answered after {slowest:.2f} s; {growth / 1e6:.1f} MB more memory")
        assert slowest < patient(_ANSWERS_S)
        assert growth < _MOST_GROWTH_BYTES
        assert endpoint.is_running()


async def _answer_to_a_click(page: Page) -> float:
    """Seconds from the click on a button until the page shows what it opens, which is closed again."""
    begun = time.monotonic()
    await page.get_by_role("button", name="Keys").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    took_s = time.monotonic() - begun
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    return took_s


def _print(tty: str, lines: list[str]) -> None:
    """As a program does that the agent runs in its terminal."""
    with Path(tty).open("wb", buffering=1 << 16) as terminal:
        for line in lines:
            terminal.write(line.encode() + b"\r\n")


@asynccontextmanager
async def _helper(stage: Stage, lead: SupervisorClient, name: str) -> AsyncIterator[None]:
    """An instance for what leaves one unusable."""
    made = await lead.spawn(stage.team.specialist("Help out.", name=name))
    stage.ids[name] = made.instance_id
    try:
        await lead.wait(requests.WaitRequest(instance_ids=[made.instance_id], timeout_seconds=60))
        yield
    finally:
        ended = stage.ids.pop(name)
        with suppress(PhalanxError):  # the test has ended it
            await lead.terminate(requests.TerminateRequest(instance_id=ended))


async def _pane(stage: Stage, lead: SupervisorClient, name: str, wanted: str) -> list[str]:
    """What tmux tells of the pane of the instance."""
    listed = await lead.list(requests.ListRequest(instance_ids=[stage.ids[name]]))
    session = listed.instances[0].session_name
    return (await _tmux(stage, "display-message", "-p", "-t", f"={session}:", wanted)).split()


async def _tmux(stage: Stage, *words: str) -> str:
    command = ["tmux", "-S", str(stage.team.home.tmux_socket), *words]
    told = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=True)
    return told.stdout
