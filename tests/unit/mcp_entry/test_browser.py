"""The files of the page as a browser gets them: when they are built, when they are not, and on another host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from actors.home import Home
from mcp_entry.web import peers
from mcp_entry.web.browser import BrowserPages
from mcp_entry.web.sign_in import make_link, use_link
from tests.fakes.gateway import FakeClient
from tests.fakes.web import PORT, URL

pytestmark = pytest.mark.real_time  # files are read in threads
SCRIPT = "page-6VIIWABN.js"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture(autouse=True)
def _of_the_own_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes by no socket is as on a system that does not tell whose a connection is."""
    monkeypatch.setattr(peers, "_TABLES", ())


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """Where the page is built, with nothing in it."""
    (tmp_path / "static/assets").mkdir(parents=True)
    return tmp_path / "static"


@asynccontextmanager
async def _browser(home: Home, static: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Signed in."""
    app = Starlette(routes=BrowserPages(home, FakeClient(), PORT, static).routes)
    cookies = {f"phalanx-{PORT}": use_link(home, make_link(home)) or ""}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=URL, cookies=cookies) as client:
        yield client


async def test_the_page_is_served_anew_each_time_and_its_files_for_good(home: Home, static: Path) -> None:
    (static / "index.html").write_text(f'<script src="/assets/{SCRIPT}"></script>')
    (static / "assets" / SCRIPT).write_text("1")
    async with _browser(home, static) as browser:
        page = await browser.get("/")
        script = await browser.get(f"/assets/{SCRIPT}")
        unknown = await browser.get("/assets/page-OTHER123.js")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert script.text == "1"
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" in script.headers["cache-control"]
    assert unknown.status_code == 404
    assert "Load the page again" in unknown.text


async def test_a_page_that_is_not_built_says_how_to_build_it(home: Home, static: Path) -> None:
    async with _browser(home, static) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 503
    assert "scripts/page" in answer.text
    assert "Node" in answer.text


async def test_a_host_that_is_led_from_elsewhere_names_that_host(home: Home, static: Path) -> None:
    home.leader_file.write_text("<10.0.0.7>")
    async with _browser(home, static) as browser:
        page = await browser.get("/")
        call = await browser.post("/api/call/hosts", json={}, headers={"Origin": URL})
    assert page.status_code == 404
    assert "&lt;10.0.0.7&gt;" in page.text
    assert call.status_code == 404
    assert "10.0.0.7" in call.json()["message"]
