"""How soon a lead is told what happened below it, and what that costs it in tokens, against asking again and again."""

from __future__ import annotations

import asyncio
import datetime
import json
import shlex
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from actors.agents.base import EventKind
from actors.agents.claude_records import read_event
from actors.agents.spool import SPOOL_NAME
from actors.home import Home
from actors.messages import MessageStatus
from mcp_entry.sizes import CHARACTERS_A_TOKEN
from scripts.benchmarks.bench import OLDEST_CLAUDE, Bench, start_batch, timed
from scripts.benchmarks.section import Figure, Part, Section, of_figures
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.events.telling import SENDER
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.standin.api import Answer, ApiStandIn, Json, text_block, tool_block, tool_results
from tests.standin.claude_home import make_claude_home, standin_environment

_RUNS = 30
_MEMBERS = 10
_STAGGER_S = 5
_ASK_EVERY_S = 5
_PATIENCE_S = 300.0
_WORDS = f"""
The real Claude Code, in both versions, against a stand-in of the API on this machine. The time begins with the Stop
hook of the specialist and ends with the proof of the message in the transcript of its manager, which is idle.

*leading {_MEMBERS}*: a manager leads {_MEMBERS} specialists through one task each; the tasks end {_STAGGER_S} s one
after another. Told, it answers each message of the team. Asking, it runs `phalanx list` each {_ASK_EVERY_S} s in one
turn, and `phalanx read` for who has become idle. Tokens are those of the manager's requests as its transcript has them,
where the stand-in counts {CHARACTERS_A_TOKEN} characters of a request as one; nothing is taken off for a cache. Their
*ratio* is that of asking to being told.
"""


async def _measure(bench: Bench) -> Section:
    figures, costs = [], {}
    for claude in (bench, replace(bench, claude=OLDEST_CLAUDE)):
        version = claude.claude_version()
        claude.say(f"{_RUNS} ends of turns of a specialist, told to its manager, {version}")
        async with claude.team() as team, await team.connect() as client:
            figures.append(await _told_ms(team, client, version))
        for asks in (False, True):
            claude.say(f"leading {_MEMBERS} by {'asking' if asks else 'being told'}, {version}")
            async with _counting_team(claude) as (api, team), await team.connect() as client:
                costs[version, asks] = await _Leading(api, team, client).cost(asks=asks)
    section = of_figures(figures, _WORDS)
    rows = [_row(version, asks, costs) for version, asks in costs]
    samples = {f"requests and tokens, {_way(*way)}": [float(number) for number in cost] for way, cost in costs.items()}
    return replace(section, rows=[*section.rows, *rows], samples={**section.samples, **samples})


def _row(version: str, asks: bool, costs: Mapping[tuple[str, bool], tuple[int, int]]) -> tuple[str, ...]:
    requests_made, tokens = costs[version, asks]
    ratio = f"{tokens / costs[version, False][1]:.1f}" if asks else ""
    return (f"{_way(version, asks)}: {requests_made} requests, {tokens:,} tokens", "", "", "", ratio, "")


def _way(version: str, asks: bool) -> str:
    return f"leading {_MEMBERS}, {'asking' if asks else 'told'}, Claude Code {version}"


async def _told_ms(team: Team, client: SupervisorClient, version: str) -> Figure:
    manager = (await client.spawn(team.specialist("You lead.", role=Role.MANAGER))).instance_id
    specialist = (await client.spawn(team.specialist("You work.", parent_id=manager))).instance_id
    samples, floor = [], []
    for number in range(_RUNS + 1):
        await _idle(client, [specialist, manager])
        direct = requests.SendRequest(instance_id=manager, message=f"message {number}", immediate=True, wait=True)
        direct_ms, sent = await timed(client.send(direct))
        if sent.status is not MessageStatus.SUBMITTED:
            raise RuntimeError(f"message {number} was not proved: {sent.reason}")
        await _idle(client, [specialist, manager])
        cursor = await _now(client)
        request = requests.SendRequest(instance_id=specialist, message=f"task {number}", immediate=True)
        await client.send(request)
        proved_at = await _proof_at(client, manager, cursor)
        stopped_at = _last_stop_at(team.home, specialist)
        if number:
            samples.append((proved_at - stopped_at) * 1000)
            floor.append(direct_ms)
    what = f"Stop of a specialist to its manager's proof, Claude Code {version}; floor: a message, call to proof"
    return Figure(what=what, aim="≤ 300 ms", samples=samples, floor=floor)


async def _idle(client: SupervisorClient, ids: Sequence[str]) -> None:
    """Also told of all that has happened: a lead at its prompt is told at once."""
    for _ in range(2):
        waited = await client.wait(requests.WaitRequest(instance_ids=list(ids), timeout_seconds=_PATIENCE_S))
        if not waited.reached:
            raise RuntimeError(f"not idle after {_PATIENCE_S:.0f} s: {waited.reason}")
        await asyncio.sleep(0.5)


async def _now(client: SupervisorClient) -> str:
    request = requests.EventsRequest(timeout_seconds=0.01)
    return (await client.next_events(request)).cursor


async def _proof_at(client: SupervisorClient, lead: str, cursor: str) -> float:
    """When the next message of the team to this lead was proved."""
    while True:
        request = requests.EventsRequest(
            cursor=cursor, kinds=["message_final"], instance_ids=[lead], timeout_seconds=60
        )
        answer = await client.next_events(request)
        if not answer.events:
            raise RuntimeError(f"{lead} was told nothing")
        for event in answer.events:
            if event.sender == SENDER and event.status is MessageStatus.SUBMITTED:
                return _seconds(event.at)
        cursor = answer.cursor


def _seconds(at: str) -> float:
    return datetime.datetime.fromisoformat(at).timestamp()


def _last_stop_at(home: Home, instance_id: str) -> float:
    spool = home.instance_directory(instance_id) / SPOOL_NAME
    events = [read_event(line) for line in spool.read_bytes().split(b"\n") if line]
    return max(event.at for event in events if event is not None and event.kind is EventKind.TURN_ENDED)


class _CountingApi(ApiStandIn):
    """Says of each request how long it was."""

    def answer(self, request: Json) -> Answer:
        answer = ApiStandIn.answer(self, request)
        answer.input_tokens = round(len(json.dumps(request)) / CHARACTERS_A_TOKEN)
        return answer


@asynccontextmanager
async def _counting_team(bench: Bench) -> AsyncIterator[tuple[ApiStandIn, Team]]:
    with bench.scratch() as directory, _CountingApi() as api:
        user = make_claude_home(directory / "user")
        (user / ".claude").mkdir(exist_ok=True)
        (user / ".claude" / "settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash"]}}))
        environment = standin_environment(api.url, user)
        settings = {"PHALANX_CLAUDE_COMMAND": str(bench.claude), "MAX_CONCURRENT_SPAWNS": str(_MEMBERS)}
        team = await asyncio.to_thread(bring_up, directory, **environment, **settings)
        try:
            yield api, team
        finally:
            await asyncio.to_thread(team.runtime.down, lambda step: None)


class _Leading:
    """A manager and its specialists."""

    def __init__(self, api: ApiStandIn, team: Team, client: SupervisorClient) -> None:
        self._api = api
        self._team = team
        self._client = client

    async def cost(self, *, asks: bool) -> tuple[int, int]:
        """Requests to the model and tokens that the manager took for the task."""
        lead = (await self._client.spawn(self._team.specialist("You lead.", role=Role.MANAGER))).instance_id
        parent = None if asks else lead
        members = [self._team.specialist("Wait for your task.", parent_id=parent)] * _MEMBERS
        ids = (await start_batch(self._client, members)).ids
        await _idle(self._client, [lead, *ids])
        before = await self._tokens(lead), len(self._of(lead))
        messages = [
            requests.BatchMessage(instance_id=one, message=f"@@slow {_STAGGER_S * number}\nThe report of {one}.")
            for number, one in enumerate(ids, 1)
        ]
        if asks:
            self._api.scripts["ask"] = [_Asking(self._team.home, ids).step]
            messages.append(requests.BatchMessage(instance_id=lead, message="@@script ask"))
        await self._client.send_batch(requests.SendBatchRequest(messages=messages, wait=True))
        await _idle(self._client, [lead, *ids])
        return len(self._of(lead)) - before[1], await self._tokens(lead) - before[0]

    def _of(self, instance_id: str) -> list[Json]:
        """The lead's requests that go on with its conversation."""
        words = f"You are {instance_id},"
        return [each for each in self._api.requests if each.get("tools") and words in json.dumps(each.get("system"))]

    async def _tokens(self, instance_id: str) -> int:
        listed = await self._client.list(requests.ListRequest(instance_ids=[instance_id]))
        use = listed.instances[0].tokens
        return use.input + use.output + use.cache_read + use.cache_creation


class _Asking:
    """What a lead does that asks: it lists all, reads who has become idle, and ends when it has read each."""

    def __init__(self, home: Home, ids: Sequence[str]) -> None:
        self._phalanx = f"PHALANX_HOME={shlex.quote(str(home.root))} {Path(sys.executable).parent / 'phalanx'}"
        self._ids = ids
        self._idle: list[str] = []
        self._read: set[str] = set()

    def step(self, messages: list[Json]) -> Json:
        for line in "\n".join(tool_results(messages[-1])).splitlines():
            words = line.split()
            if words and words[0] in self._ids and "ready" in words and words[0] not in self._idle:
                self._idle.append(words[0])
        unread = [one for one in self._idle if one not in self._read]
        self._read.update(unread)
        if len(self._read) == len(self._ids) and not unread:
            return text_block("All have reported.")
        commands = [f"{self._phalanx} read {one} --lines 1" for one in unread]
        if not unread:
            commands = [f"sleep {_ASK_EVERY_S}", f"{self._phalanx} list"]
        return tool_block("Bash", {"command": "; ".join(commands), "description": "See how they are"})


PART = Part(name="telling", title="A lead is told", measure=_measure, page="leading")
