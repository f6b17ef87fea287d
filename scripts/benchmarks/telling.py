"""How soon a lead is told what happened below it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Sequence
from dataclasses import replace

from actors.agents.base import EventKind
from actors.agents.claude_records import read_event
from actors.agents.spool import SPOOL_NAME
from actors.home import Home
from actors.messages import MessageStatus
from scripts.benchmarks.bench import OLDEST_CLAUDE, Bench, timed
from scripts.benchmarks.section import Figure, Part, Section, of_figures
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.events.telling import SENDER
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_RUNS = 30
_PATIENCE_S = 300.0
_WORDS = """
The real Claude Code, in both versions, against a stand-in of the API on this machine. The time begins with the Stop
hook of the specialist and ends with the proof of the message in the transcript of its manager, which is idle.
"""


async def _measure(bench: Bench) -> Section:
    figures = []
    for claude in (bench, replace(bench, claude=OLDEST_CLAUDE)):
        version = claude.claude_version()
        claude.say(f"{_RUNS} ends of turns of a specialist, told to its manager, {version}")
        async with claude.team() as team, await team.connect() as client:
            figures.append(await _told_ms(team, client, version))
    return of_figures(figures, _WORDS)


async def _told_ms(team: Team, client: SupervisorClient, version: str) -> Figure:
    manager = (await client.spawn(team.specialist("You lead.", role=Role.MANAGER))).instance_id
    specialist = (await client.spawn(team.specialist("You work.", parent_id=manager))).instance_id
    samples, floor = [], []
    for number in range(_RUNS + 1):
        await until_idle(client, [specialist, manager])
        direct = requests.SendRequest(instance_id=manager, message=f"message {number}", immediate=True, wait=True)
        direct_ms, sent = await timed(client.send(direct))
        if sent.status is not MessageStatus.SUBMITTED:
            raise RuntimeError(f"message {number} was not proved: {sent.reason}")
        await until_idle(client, [specialist, manager])
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


async def until_idle(client: SupervisorClient, ids: Sequence[str]) -> None:
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


PART = Part(name="telling", title="A lead is told", measure=_measure, page="leading")
