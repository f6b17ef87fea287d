"""What a person sees when parts of the team are killed under an open page: it says so, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct

import pytest
from playwright.async_api import Page, expect

from actors.home import Home
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.page.conftest import Stage

pytestmark = [pytest.mark.page, pytest.mark.timeout(300)]


def _kill(home: Home, served: str) -> None:
    """The process that serves this socket of the home."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(home.root / served))
        told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    os.kill(struct.unpack("3i", told)[0], signal.SIGKILL)


async def _shows_what_is_new(page: Page, stage: Stage, text: str) -> None:
    async with await stage.team.connect() as lead:
        await lead.send(requests.SendRequest(instance_id=stage.ids["worker-1"], message=text, wait=True))
    row = page.locator(".row").filter(has=page.get_by_role("link", name="worker-1"))
    await expect(row.locator(".c-task")).to_contain_text(text, timeout=60_000)


async def test_a_killed_endpoint_is_back_and_nobody_signs_in_again(page: Page, stage: Stage) -> None:
    await expect(page.locator(".row .name")).to_have_count(len(stage.ids))
    await asyncio.to_thread(_kill, stage.team.home, "web.sock")
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
