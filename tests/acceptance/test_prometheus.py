"""A real Prometheus scrapes a real team of demo agents with the configuration that ``phalanx metrics`` prints."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.processes import called, of_ray, tell

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).resolve().parents[2]
UNPACKED = Path(sys.prefix) / "prometheus/usr/bin"
"""Where scripts/setup --dev puts Debian's Prometheus when the machine has none."""
PATIENCE_S = 90.0
"""Generous: two cores of a busy machine."""


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    assert found, f"{name} is missing: run scripts/setup --dev"
    return found


def phalanx(team: Team, *arguments: str) -> str:
    command = [sys.executable, "-c", "from mcp_entry.cli.app import main; main()", *arguments]
    return subprocess.run(
        command, env=dict(team.environment), capture_output=True, text=True, timeout=60, check=True, cwd=Path.cwd()
    ).stdout


def often_scraping(configuration: str) -> str:
    """The same with a shorter interval than a person needs, so that a test does not wait for it."""
    printed = "scrape_interval: 15s\n"
    assert configuration.count(printed) == 1
    return configuration.replace(printed, "scrape_interval: 1s\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def dashboard_queries() -> list[str]:
    """Of docs/grafana.json, with the time that Grafana puts in."""
    dashboard = json.loads((ROOT / "docs/grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m") for query in queries]


class Prometheus:
    def __init__(self, port: int) -> None:
        self._port = port

    async def value(self, query: str) -> float | None:
        """Of the first series; None while there is none. Raises ``HTTPError`` for a query that is none."""
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            answer: dict[str, Any] = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(url).read()))
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:  # as it answers while it is starting
                raise
            return None
        except OSError:  # it does not listen so far
            return None
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    async def until(self, query: str, wanted: Callable[[float], bool]) -> float:
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.value(query)) is None or not wanted(found):  # noqa: ASYNC110 - of a process
                await asyncio.sleep(0.1)
        return found


@asynccontextmanager
async def prometheus(directory: Path, configuration: Path) -> AsyncIterator[Prometheus]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture(scope="module")
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


async def test_prometheus_counts_the_messages_that_were_sent_with_the_configuration_that_phalanx_prints(
    team: Team, client: SupervisorClient, tmp_path: Path
) -> None:
    spawned = [await client.spawn(team.specialist(name=f"worker{number}")) for number in range(2)]
    ids = [one.instance_id for one in spawned]
    messages = [
        requests.BatchMessage(instance_id=each, message=f"note {number}") for each in ids for number in range(3)
    ]
    await client.send_batch(requests.SendBatchRequest(messages=messages, wait=True))
    sent = len(ids) + len(messages)

    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(often_scraping(await asyncio.to_thread(phalanx, team, "metrics", "--scrape-config")))
    checked = [program("promtool"), "check", "config", str(configuration)]
    await asyncio.to_thread(subprocess.run, checked, check=True, stdout=subprocess.DEVNULL)
    async with prometheus(tmp_path, configuration) as scraping:
        submitted = 'sum(phalanx_messages_total{status="submitted"})'
        assert await scraping.until(submitted, lambda value: value >= sent) == sent
        assert await scraping.value("phalanx_messages_accepted_total") == sent
        assert await scraping.value("phalanx_message_proof_seconds_count") == sent
        assert await scraping.value('sum(phalanx_instances{role="specialist"})') == len(ids)
        assert await scraping.value('up{job="phalanx"}') == 1

        await client.send(requests.SendRequest(instance_id=ids[0], message="one more", wait=True))
        assert await scraping.until(submitted, lambda value: value > sent) == sent + 1

        for query in dashboard_queries():
            await scraping.value(query)

        # The next supervisor begins at 0, which Prometheus takes for what it is.
        tell(called(of_ray(team.home), "ray::_SupervisorServer"))
        assert await scraping.until(submitted, lambda value: value < sent) == 0
        await client.send(requests.SendRequest(instance_id=ids[0], message="after that", wait=True))
        assert await scraping.until(submitted, lambda value: value > 0) == 1


def test_what_a_real_team_shows_breaks_no_convention_of_prometheus(team: Team) -> None:
    text = phalanx(team, "metrics")
    found = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert "phalanx_score" in text
