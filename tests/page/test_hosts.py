"""The page of a team on two hosts, in a real Chromium on the supervisor's host: one is drained there and put back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from mcp_entry.web.browser import STATIC
from tests.cluster.asking import instance_hosts, phalanx, spawn, wait_until
from tests.cluster.cluster import HostsUp, cluster_of
from tests.cluster.rig import RigHost
from tests.page.conftest import CHROMIUM, opened

pytestmark = [pytest.mark.page, pytest.mark.timeout(400)]

_SLOTS = 10
_SOON_S = 60.0


@pytest.fixture(scope="module")
def hosts_up(rig_possible: None, make_short_tmp: Callable[[], Path]) -> Iterator[HostsUp]:
    if not (STATIC / "index.html").is_file():
        pytest.fail("the page is not built: run scripts/page")
    with cluster_of(2, make_short_tmp, _SLOTS, lambda host: None) as up:
        yield up


@pytest.fixture(scope="module")
def head(hosts_up: HostsUp) -> Iterator[RigHost]:
    """With a team. ``ray up`` has brought the built page with the rest of the checkout."""
    head = hosts_up.rig.hosts[0]
    phalanx(head, "up")
    yield head
    phalanx(head, "down")


def _link(head: RigHost) -> str:
    assert wait_until(lambda: phalanx(head, "dashboard", "--url"), _SOON_S)
    return str(phalanx(head, "dashboard", "--url")["url"])


@pytest.fixture
async def page(head: RigHost, tmp_path: Path) -> AsyncIterator[Page]:
    chromium = tmp_path / "chromium"
    chromium.write_text(f'#!/bin/sh\nexec ip netns exec {head.namespace} {CHROMIUM} "$@"\n')
    chromium.chmod(0o700)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        async with opened(browser, _link(head)) as page:
            yield page
        await browser.close()


async def test_a_host_is_drained_on_the_page_its_instance_moves_and_the_host_is_put_back_into_use(
    page: Page, hosts_up: HostsUp, head: RigHost
) -> None:
    worker = hosts_up.rig.hosts[1]
    moved = spawn(head, "hello", "--host", worker.name)
    await page.get_by_role("link", name="Hosts").click()
    table = page.get_by_role("group", name="Hosts").get_by_role("row")
    row = table.filter(has=page.get_by_role("rowheader", name=worker.name))
    await expect(row).to_contain_text(f"1 of {_SLOTS}", timeout=_SOON_S * 1000)
    await expect(table.filter(has=page.get_by_text("supervisor"))).to_contain_text(head.name)

    await row.get_by_role("button", name="Drain…").click()
    dialog = page.get_by_role("dialog", name=f"Drain {worker.name}?")
    await expect(dialog).to_contain_text("1 instance there will go to other hosts")
    await dialog.get_by_role("button", name="Keep it in use").click()
    await expect(dialog).to_have_count(0)
    assert instance_hosts(head) == {moved: worker.name}

    await row.get_by_role("button", name="Drain…").click()
    await dialog.get_by_role("button", name="Drain", exact=True).click()
    await expect(page.locator(".notices")).to_contain_text(f"Nothing new is placed on {worker.name}.")
    await expect(row).to_contain_text("drained", timeout=_SOON_S * 1000)
    await expect(row).to_contain_text(f"0 of {_SLOTS}", timeout=_SOON_S * 1000)
    assert wait_until(lambda: instance_hosts(head) == {moved: head.name}, _SOON_S)

    await row.get_by_role("button", name="Put into use").click()
    await expect(page.locator(".notices")).to_contain_text(f"{worker.name} is in use again.")
    await expect(row.get_by_role("button", name="Drain…")).to_be_visible(timeout=_SOON_S * 1000)
    assert instance_hosts(head) == {moved: head.name}
