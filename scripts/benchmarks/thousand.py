"""A team of a thousand over three hosts, in which only the hosts and agents are stand-ins (``standin_hosts``).

Measured is what one team has once: its supervisor, store, gateway, page and ``phalanx top``. All of it runs on the
head of a cluster of three network namespaces, where this module is started again as a program; it prints its samples
as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from actors.home import Home
from mcp_entry.web.sign_in import make_link
from scripts.benchmarks import standin_hosts
from scripts.benchmarks.bench import Bench, few_at_once, timed
from scripts.benchmarks.dashboard import CHROMIUM, Look, page_served
from scripts.benchmarks.processes import cpu_percent, exact_cpu_s, pss_mb
from scripts.benchmarks.section import Part, Section, p95
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.cluster.cluster import cluster_of
from tests.cluster.rig import why_no_rig
from tests.integration.web.conftest import the_process
from tests.people import PtyPerson

_SIZE = 1000
_MANAGERS = 30
_AT_ONCE = 50
"""Messages that are on their way, as the spawns are."""
_RESTS_S, _WORKS_S = 20.0, 30.0
_MESSAGES_A_MINUTE = 2
"""Of each instance at work, as docs/scale.md assumes."""
_CALLS = 50
_LIMIT_S = 300.0
_ROOT = Path(__file__).resolve().parents[2]
_WORDS = f"""
{_SIZE} instances over three hosts, which are network namespaces on one machine. On each host one process stands for
the host and all its instances and answers as they do: an agent starts in {standin_hosts.START_S} s, a message is proved
{standin_hosts.PROOF_S * 1000:.0f} ms after it was delivered, and its instance works for {standin_hosts.WORK_S:.0f} s.
Supervisor, state, gateway, Ray's calls, page and `phalanx top` are the real ones, and share the cores with the
stand-ins. *at work*: each instance gets {_MESSAGES_A_MINUTE} messages a minute.
"""
Samples = dict[str, list[float]]


async def _measure(bench: Bench) -> Section:
    if reason := why_no_rig():
        raise RuntimeError(f"No hosts can be made: {reason}")
    with ExitStack() as scratch:
        bench.say("ray up on three hosts")
        up = await asyncio.to_thread(
            scratch.enter_context,
            cluster_of(3, lambda: scratch.enter_context(bench.scratch()), _SIZE, lambda _host: None),
        )
        head = up.rig.hosts[0]
        bench.say(f"{_SIZE} instances on three hosts; this takes some minutes")
        program = (f"{_ROOT}/.venv/bin/python", "-m", "scripts.benchmarks.thousand", f"{head.address}:6390")
        words = ("env", "RAY_AUTH_MODE=token", f"PYTHONPATH={_ROOT}", *program)
        said = await asyncio.to_thread(head.ssh, *words, timeout_s=4 * _LIMIT_S)
    samples: Samples = json.loads(said.splitlines()[-1])
    rows = [(what, *_shown(what, values)) for what, values in samples.items()]
    return Section(columns=("what", "p50", "p95"), rows=rows, words=_WORDS, samples=samples)


def _shown(what: str, values: Sequence[float]) -> tuple[str, str]:
    """``what`` ends with the unit in brackets."""
    unit = what.rpartition("(")[2].rstrip(")")
    shown = [f"{value:,.{0 if value >= 100 else 1}f} {unit}" for value in (statistics.median(values), p95(values))]
    return (shown[0], shown[1] if len(values) > 1 else "")


class _Team:
    """A supervisor over stand-ins, and a client of it."""

    def __init__(self, home: Home, ray_address: str) -> None:
        self.home = home
        self._command = [sys.executable, "-m", "scripts.benchmarks.standin_hosts", str(home.root), ray_address]
        self.samples: Samples = {}

    async def begin(self) -> None:
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        self.supervisor = psutil.Process(self._child.pid)
        async with asyncio.timeout(_LIMIT_S):
            if self._child.stdout is None or await asyncio.to_thread(self._child.stdout.readline) != "ready\n":
                raise RuntimeError("the supervisor has ended")
        self.client = await SupervisorClient.connect(self.home)

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def note(self, what: str, *values: float) -> None:
        self.samples[what] = list(values)
        print(what, statistics.median(values), file=sys.stderr, flush=True)

    async def times(self, call: Callable[[], Awaitable[object]]) -> list[float]:
        return [(await timed(call()))[0] for _ in range(_CALLS)]

    async def send(self, instance_id: str) -> float:
        """Ms from the call to the proof."""
        took_ms, sent = await timed(
            self.client.send(requests.SendRequest(instance_id=instance_id, message="Go on.", wait=True))
        )
        if sent.status != "submitted":
            raise RuntimeError(f"{instance_id} did not get its message: {sent.status}")
        return took_ms


async def _spawn(team: _Team) -> list[str]:
    directory = str(Path.home() / "project")
    names = [each.host for each in (await team.client.hosts()).hosts]
    begun, spawned = time.monotonic(), 0
    leads: list[str] = []
    ids: list[str] = []
    while len(ids) < _SIZE:
        role = requests.Role.MANAGER if len(ids) < _MANAGERS else requests.Role.SPECIALIST
        count = min(_MANAGERS if role is requests.Role.MANAGER else 100, _SIZE - len(ids))
        hosts = [names[(spawned + at) % len(names)] for at in range(count)]
        members = [
            requests.SpawnRequest(
                role=role,
                work_dir=directory,
                context="Write a part of the shop, with tests.",
                workspace_mode="shared",
                host=host,
                parent_id=leads[at % len(leads)] if leads else None,
            )
            for at, host in enumerate(hosts)
        ]
        answer = await team.client.spawn_batch(requests.SpawnBatchRequest(instances=members))
        if not answer.success:
            raise RuntimeError([each.error for each in answer.instances if each.error][:3])
        new = [each.instance_id or "" for each in answer.instances]
        ids += new
        leads = leads or new
        spawned += count
        print(f"{len(ids)} of {_SIZE}", file=sys.stderr, flush=True)
    team.note("all started, with their first message (s)", time.monotonic() - begun)
    return ids


async def _messages(team: _Team, ids: Sequence[str]) -> None:
    """One more to each."""
    before, begun = exact_cpu_s(team.supervisor), time.monotonic()
    took = await few_at_once(_AT_ONCE, team.send, ids)
    team.note(f"a message to each, {_AT_ONCE} at once, call to proof (ms)", *took)
    team.note("all of them (s)", time.monotonic() - begun)
    team.note("CPU of the supervisor for one (ms)", (exact_cpu_s(team.supervisor) - before) / len(ids) * 1000)


async def _at_work(team: _Team, ids: Sequence[str]) -> None:
    sends: list[asyncio.Task[float]] = []
    pause_s = 60 / _MESSAGES_A_MINUTE / len(ids)

    async def work() -> None:
        begun = time.monotonic()
        for number in range(int(_WORKS_S / pause_s)):
            sends.append(asyncio.create_task(team.send(ids[number * 7 % len(ids)])))
            await asyncio.sleep(max(0.0, begun + number * pause_s - time.monotonic()))

    working = asyncio.create_task(cpu_percent(team.supervisor, work()))
    lists: list[float] = []
    while not working.done():
        lists.append((await timed(team.client.list(requests.ListRequest(needs_attention=True))))[0])
        await asyncio.sleep(0.2)
    team.note("CPU of the supervisor at work (%)", await working)
    team.note("`list` of who needs somebody, at work (ms)", *lists)
    team.note("a message at work, call to proof (ms)", *await asyncio.gather(*sends))


async def _views(team: _Team, ids: Sequence[str]) -> None:
    async with page_served(team.home) as url:
        await _look_at_page(team, url, ids)
    program = str(Path(sys.executable).with_name("phalanx"))
    begun = time.monotonic()
    person = await asyncio.to_thread(PtyPerson, [program, "top"], 200, 50, {"PHALANX_HOME": str(team.home.root)})
    try:
        async with asyncio.timeout(_LIMIT_S):
            while f"TEAM {_SIZE}".encode() not in person.seen:
                if person.has_ended():
                    raise RuntimeError(f"phalanx top has ended: {person.seen.decode(errors='replace')}")
                await asyncio.sleep(0.02)
        team.note("first screen of `phalanx top` (s)", time.monotonic() - begun)
        await asyncio.sleep(3)
        top = psutil.Process(person.pid)
        team.note("CPU of `phalanx top` at rest (%)", await cpu_percent(top, asyncio.sleep(_RESTS_S)))
        team.note("memory of `phalanx top` (MB)", pss_mb(top))
    finally:
        await asyncio.to_thread(person.hang_up)


async def _look_at_page(team: _Team, url: str, ids: Sequence[str]) -> None:
    from playwright.async_api import async_playwright  # noqa: PLC0415 - only this part needs it

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        look = Look(browser, url, lambda: f"{url}/sign-in?once={make_link(team.home)}", len(ids))
        opened = [await look.opened() for _ in range(3)]
        team.note("first paint of the page (ms)", *(paint for paint, _ in opened))
        team.note("all rows on the page (ms)", *(rows for _, rows in opened))
        await look.page()
        endpoint = the_process(team.home)
        await asyncio.sleep(3)
        team.note("CPU of the endpoint at rest (%)", await cpu_percent(endpoint, asyncio.sleep(_RESTS_S)))
        team.note("memory of the endpoint (MB)", pss_mb(endpoint))
        await browser.close()


async def _killed(team: _Team, ids: Sequence[str]) -> None:
    await team.client.close()
    team.kill()
    begun = time.monotonic()
    await team.begin()
    team.note("killed supervisor answers again (s)", time.monotonic() - begun)
    await team.send(ids[0])
    team.note("and has proved a message (s)", time.monotonic() - begun)
    while sum(each.status == "ready" for each in (await team.client.list()).instances) < len(ids):
        if time.monotonic() - begun > _LIMIT_S:
            raise RuntimeError("not all are back")
        await asyncio.sleep(0.2)
    team.note("and follows all (s)", time.monotonic() - begun)


async def run(ray_address: str) -> Mapping[str, Sequence[float]]:
    """On the head."""
    home = Home(Path.home() / "thousand")
    home.create()
    team = _Team(home, ray_address)
    await team.begin()
    try:
        ids = await _spawn(team)
        await asyncio.sleep(5)
        team.note("memory of the supervisor (MB)", pss_mb(team.supervisor))
        team.note("CPU of the supervisor at rest (%)", await cpu_percent(team.supervisor, asyncio.sleep(_RESTS_S)))
        team.note("the state on disk (MB)", home.state_file.stat().st_size / 1e6)
        team.note("`list` of all (ms)", *await team.times(team.client.list))
        needing = requests.ListRequest(needs_attention=True)
        team.note("`list` of who needs somebody (ms)", *await team.times(lambda: team.client.list(needing)))
        await _messages(team, ids)
        await _at_work(team, ids)
        await _views(team, ids)
        await _killed(team, ids)
    finally:
        team.kill()
    return team.samples


PART = Part(name="thousand", title="A team of a thousand", measure=_measure, page="thousand")

if __name__ == "__main__":
    os.chdir(Path.home())
    print(json.dumps(asyncio.run(run(sys.argv[1]))))
