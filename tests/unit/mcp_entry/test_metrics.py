"""``/metrics`` of the endpoint and the command ``phalanx metrics``: who may scrape, and what Prometheus is told."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import yaml
from starlette.applications import Starlette
from starlette.routing import Route

from actors.errors import TeamNotRunningError
from actors.files import write_private
from actors.home import Home
from mcp_entry.web.metrics import ANSWER_S, PATH, MetricsEndpoint
from supervisor.api.requests import MetricsRequest
from supervisor.api.results import MetricsResult
from supervisor.metrics.exposition import CONTENT_TYPE
from supervisor.metrics.scrape_token import keep_scrape_token
from tests.fakes.gateway import FakeClient
from tests.fakes.terminal import Terminal
from tests.fakes.web import PORT, URL, bearer

FIGURES = MetricsResult(text="# HELP phalanx_score x\nphalanx_score 100.0\n", content_type=CONTENT_TYPE)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    keep_scrape_token(home)
    return home


@asynccontextmanager
async def endpoint(home: Home, client: FakeClient | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    served = MetricsEndpoint(home, (client or FakeClient(metrics=FIGURES)).metrics, PORT)
    transport = httpx2.ASGITransport(Starlette(routes=[Route(PATH, served)]), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=URL) as asking:
        yield asking


def token(home: Home) -> str:
    return home.metrics_token_file.read_text()


async def test_who_has_the_token_gets_the_figures_in_the_format_that_prometheus_reads(home: Home) -> None:
    async with endpoint(home) as client:
        answer = await client.get(PATH, headers=bearer(token(home)))
    assert (answer.status_code, answer.text) == (200, FIGURES.text)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer é"}, 401),
        ({"Authorization": "Bearer " + "x" * 43}, 401),
        ({"Authorization": "Basic {token}"}, 401),
        ({"Cookie": "phalanx={token}"}, 401),
        ({"Authorization": "Bearer {token}", "Host": "evil.example:4711"}, 421),
        ({"Authorization": "Bearer {token}", "Origin": "http://evil.example"}, 403),
    ],
)
async def test_who_has_no_token_or_comes_by_another_name_learns_nothing(
    home: Home, headers: dict[str, str], status: int
) -> None:
    client = FakeClient(metrics=FIGURES)
    given = {name.encode(): value.format(token=token(home)).encode() for name, value in headers.items()}
    async with endpoint(home, client) as asking:
        answer = await asking.get(PATH, headers=given)
    assert answer.status_code == status
    assert "phalanx_score" not in answer.text
    assert client.asked == []


async def test_a_home_without_a_token_can_be_scraped_by_nobody(home: Home) -> None:
    home.metrics_token_file.unlink()
    async with endpoint(home) as client:
        assert (await client.get(PATH, headers=bearer("x"))).status_code == 401
        write_private(home.metrics_token_file, "")
        assert (await client.get(PATH, headers={"Authorization": "Bearer "})).status_code == 401


async def test_a_scrape_changes_nothing(home: Home) -> None:
    async with endpoint(home) as client:
        assert (await client.post(PATH, headers=bearer(token(home)))).status_code == 405


async def test_a_team_that_is_away_or_hangs_is_told_within_the_time_that_prometheus_waits(home: Home) -> None:
    async def hangs(_request: MetricsRequest, _progress: object) -> MetricsResult:
        await asyncio.sleep(3600)
        return FIGURES

    async with endpoint(home, FakeClient(metrics=TeamNotRunningError("No team runs here."))) as client:
        away = await client.get(PATH, headers=bearer(token(home)))
    begun = asyncio.get_running_loop().time()
    async with endpoint(home, FakeClient(metrics=hangs)) as client:
        hung = await client.get(PATH, headers=bearer(token(home)))
    assert (away.status_code, away.text) == (503, "No team runs here.")
    assert hung.status_code == 503
    assert asyncio.get_running_loop().time() - begun < ANSWER_S + 1


def test_the_token_is_private_and_stays_what_it_is(home: Home) -> None:
    first = token(home)
    keep_scrape_token(home)
    assert token(home) == first
    assert len(first) >= 43
    assert stat.S_IMODE(home.metrics_token_file.stat().st_mode) == 0o600


def test_the_scrape_configuration_names_the_port_and_the_file_and_never_the_token(home: Home) -> None:
    write_private(home.web_file, '{"port": 20123}')
    home.metrics_token_file.unlink()
    ended = Terminal()("metrics", "--scrape-config", "--home", str(home.root))
    (job,) = yaml.safe_load(ended.stdout)["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:20123"]}]
    assert job["authorization"]["credentials_file"] == str(home.metrics_token_file)
    assert token(home) not in ended.stdout


def test_a_home_whose_team_was_never_up_has_no_scrape_configuration(tmp_path: Path) -> None:
    ended = Terminal()("metrics", "--scrape-config", "--home", str(tmp_path))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "`phalanx up`" in ended.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_prints_what_a_scrape_gets() -> None:
    assert Terminal(FakeClient(metrics=FIGURES))("metrics").stdout == FIGURES.text
