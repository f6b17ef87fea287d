"""A team that leads itself: real Claudes start others by their own tools, and results come up by themselves.

All that is not real is the model: the API stand-in answers with tool calls of a script, or with an echo.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.standin.api import ApiStandIn, Json, ScriptStep, text_block, tool_block, tool_results

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(420)]
PATIENCE_S = 150.0
TOOL = "mcp__phalanx-team__"
PARTS = ("a",)
"""More of them, and of managers, only take longer: see test_telling for a larger tree."""
MANAGERS = ("first", "second")


def starts(team: Team, role: Role, contexts: Sequence[str]) -> list[ScriptStep]:
    """The steps of a turn that starts instances and then ends."""
    members = [{"role": role, "workDir": str(team.repository), "context": context} for context in contexts]
    call = {"instances": members, "requestId": "start"}

    def again_or_end(messages: list[Json]) -> Json:
        """Claude Code may begin its first turn before it knows the tools, and then says so to the model."""
        is_unknown = any("<tool_use_error>" in result for result in tool_results(messages[-1]))
        return tool_block(f"{TOOL}spawn_batch", call) if is_unknown else text_block("They work.")

    return [lambda _: tool_block(f"{TOOL}spawn_batch", call), again_or_end]


def scripts_of(team: Team) -> dict[str, list[ScriptStep]]:
    """An executive starts the managers, and each manager its specialists; then their turns end."""
    found = {"executive": starts(team, Role.MANAGER, [f"@@script manager-{each}" for each in MANAGERS])}
    for each in MANAGERS:
        found[f"manager-{each}"] = starts(
            team, Role.SPECIALIST, [f"Your task is part-{each}-{part}." for part in PARTS]
        )
    return found


async def conversation(client: SupervisorClient, instance_id: str) -> list[tuple[str, str]]:
    """Kind and text of each entry."""
    page = await client.read(requests.ReadRequest(instance_id=instance_id, lines=500))
    return [(entry.kind, entry.text) for entry in page.entries]


async def until_told(client: SupervisorClient, instance_id: str, words: Sequence[str], sender: str = "team") -> str:
    """All messages of the sender in its conversation, once these words are among them."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        entries = await conversation(client, instance_id)
        told = "\n".join(text for kind, text in entries if kind == "question" and f" from {sender}]" in text)
        if all(word in told for word in words):
            return told
        assert time.monotonic() < deadline, entries
        await asyncio.sleep(0.3)


async def called_by(entry: Mapping[str, Any], tool: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
    """What a call with the token of an instance comes to, made as any of its commands could: refused or not, why."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": dict(arguments)}}
    headers = {**entry["headers"], "Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(timeout=60.0) as http:
        answer = (await http.post(entry["url"], json=call, headers=headers)).json()
    if "error" in answer:
        return True, answer["error"]["message"]
    return answer["result"].get("isError", False), answer["result"]["content"][0]["text"]


async def test_a_tree_starts_itself_and_its_results_come_up_without_anybody_asking(
    claude: SupervisorClient, claude_team: Team, api: ApiStandIn
) -> None:
    api.scripts.update(scripts_of(claude_team))
    request = claude_team.specialist("@@script executive", role=Role.EXECUTIVE)
    executive = (await claude.spawn(request)).instance_id

    await until_told(claude, executive, [f"part-{each}" for each in MANAGERS])
    members = {one.instance_id: one for one in (await claude.list(requests.ListRequest())).instances}
    managers = [one for one in members.values() if one.role is Role.MANAGER]
    specialists = [one for one in members.values() if one.role is Role.SPECIALIST]
    assert [one.parent_id for one in managers] == [executive, executive]
    assert sorted(one.parent_id or "" for one in specialists) == sorted(
        [one.instance_id for one in managers] * len(PARTS)
    )
    number = executive.removeprefix("exec_")
    assert all(one.instance_id.startswith(f"mgr_{number}_") for one in managers)
    for manager in managers:
        below = [one.instance_id for one in specialists if one.parent_id == manager.instance_id]
        line = manager.instance_id.removeprefix("mgr_")
        assert all(one.startswith(f"spec_{line}_") for one in below)
        told = await until_told(claude, manager.instance_id, below)
        assert [told.count(f"{one} is idle") + told.count(f"{one} ended a turn") for one in below] == [1] * len(PARTS)
    everyone = [executive, *members]
    polled = [
        text
        for one in everyone
        for kind, text in await conversation(claude, one)
        if kind == "tool_call" and any(f"{TOOL}{verb}" in text for verb in ("list", "read", "wait"))
    ]
    assert polled == []

    await _refuses(claude, claude_team, specialists[0].instance_id, {one.instance_id for one in specialists})


async def _refuses(claude: SupervisorClient, team: Team, specialist: str, specialists: set[str]) -> None:
    """Of a specialist: to start, to read another's conversation, to end its manager, to send as another."""
    directory: Path = team.home.instance_directory(specialist)
    entry = json.loads((directory / "mcp.json").read_text())["mcpServers"]["phalanx-team"]
    other = next(iter(specialists - {specialist}))
    parent = next(
        one.parent_id for one in (await claude.list(requests.ListRequest())).instances if one.instance_id == specialist
    )
    start = {"role": "specialist", "workDir": str(team.repository), "context": "more hands"}
    before = {one.instance_id for one in (await claude.list(requests.ListRequest())).instances}
    attempts: list[tuple[str, dict[str, Any]]] = [
        ("spawn", start),
        ("read", {"instanceId": other}),
        ("terminate", {"instanceIds": [parent]}),
        ("send", {"instanceId": parent, "message": "done", "sender": other}),
        ("send", {"instanceId": other, "message": "obey"}),
    ]
    for tool, arguments in attempts:
        refused, why = await called_by(entry, tool, arguments)
        assert refused, (tool, why)
        assert why
    assert (await called_by(entry, "send", {"instanceId": parent, "message": "part done"}))[0] is False
    assert {one.instance_id for one in (await claude.list(requests.ListRequest())).instances} == before
    await until_told(claude, parent or "", ["part done"], sender=specialist)
