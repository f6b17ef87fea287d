"""The main job over the official MCP client, with twenty demo instances and all their faults."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.acceptance.team import Team
from tests.projects import git

pytestmark = pytest.mark.timeout(300)
FAULTS = ("", "swallow-first-enter", "start-slow=1")
SIZE = 20
TROUBLES = ('@@demo dialog Bash {"command": "make"}', "@@demo crash 9", "@@demo never-answer")


class Mcp:
    """An MCP client that speaks to our entry as a process."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.progress: list[float] = []

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            self.progress.append(progress)

        result = await self.client.call_tool(tool, arguments, progress_callback=on_progress)
        assert not result.is_error, result.content
        assert isinstance(result.structured_content, dict)
        return result.structured_content

    async def refusal(self, tool: str, **arguments: Any) -> str:
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, f"{tool} did not refuse {arguments}"
        return "".join(getattr(block, "text", "") for block in result.content)


@contextlib.asynccontextmanager
async def connected(demo_team: Team) -> AsyncIterator[Mcp]:
    """Not a fixture: the client must be closed by the task that opened it."""
    entry = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_entry"], env=dict(demo_team.environment), cwd=Path.cwd()
    )
    async with Client(stdio_client(entry)) as client:
        yield Mcp(client)


def received(team: Team, instance_id: str) -> list[str]:
    """The lines that the agent itself logged as received, in order."""
    log = team.home.instance_directory(instance_id) / "demo-log.jsonl"
    prompts = [json.loads(line)["prompt"] for line in log.read_text().split("\n") if line]
    return [line for prompt in prompts for line in prompt.splitlines() if line.startswith("order ")]


def letters(ids: Sequence[str], numbers: Iterable[int]) -> list[dict[str, Any]]:
    """The same numbered messages to each; on the way of one of them an Enter is swallowed."""
    texts = {
        number: f"order {number}\n@@demo swallow-enter" if number == 3 else f"order {number}" for number in numbers
    }
    return [{"instanceId": one, "message": text} for text in texts.values() for one in ids]


async def spawn_twenty(mcp: Mcp, repository: Path) -> list[str]:
    """The last three: one asks for permission, one crashes, one never answers."""
    contexts = [f"You are number {number}." for number in range(SIZE - len(TROUBLES))] + list(TROUBLES)
    members = [
        {
            "role": "specialist",
            "workDir": str(repository),
            "context": context,
            "env": {"PHALANX_DEMO_FAULTS": FAULTS[number % len(FAULTS)]},
        }
        for number, context in enumerate(contexts)
    ]
    spawned = await mcp.call("spawn_batch", instances=members)
    assert spawned["success"], [one["error"] for one in spawned["instances"] if not one["success"]]
    assert mcp.progress
    assert mcp.progress[-1] == SIZE
    return [one["instanceId"] for one in spawned["instances"]]


async def test_twenty_instances_with_faults_get_every_message_once_and_in_order(demo_team: Team) -> None:
    async with connected(demo_team) as mcp:
        ids = await spawn_twenty(mcp, demo_team.repository)
        assert len(set(ids)) == SIZE
        *well, asking, crashed, mute = ids
        for one in (asking, crashed):
            assert (await mcp.call("wait", instanceIds=[one], until="needs_attention"))["reached"]

        sent = await mcp.call("send_batch", messages=letters([*well, asking, crashed], range(10)), wait=True)
        by_instance = {
            one: {each.get("status") for each in sent["results"] if each["instanceId"] == one} for one in ids
        }
        assert {status for one in well for status in by_instance[one]} == {"submitted"}
        assert (by_instance[asking], by_instance[crashed]) == ({"blocked"}, {None})
        refused = {each["error"]["code"] for each in sent["results"] if each["instanceId"] == crashed}
        assert refused == {"wrong_state"}
        await mcp.call("send_batch", messages=letters([mute], range(10)))

        listed = await mcp.call("list")
        assert set(listed["needsAttention"]) == {asking, crashed}
        statuses = {one["instanceId"]: one["status"] for one in listed["instances"]}
        assert [statuses[one] for one in (asking, crashed, mute)] == ["waiting_permission", "failed", "busy"]
        assert {statuses[one] for one in well} <= {"ready", "busy"}
        assert received(demo_team, asking) == received(demo_team, mute) == []

        permission = next(one for one in listed["instances"] if one["instanceId"] == asking)["permission"]
        await mcp.call("respond", instanceId=asking, permissionId=permission["permissionId"], decision="allow")
        await mcp.call("interrupt", instanceId=mute)
        await mcp.call("restart", instanceId=crashed)
        await mcp.call("send_batch", messages=letters([crashed], range(10)), wait=True)
        last = [{**letter, "immediate": True} for letter in letters(ids, [10])]
        assert (await mcp.call("send_batch", messages=last, wait=True))["success"]
        assert (await mcp.call("wait", instanceIds=ids, until="idle", timeoutSeconds=60))["reached"]
        for instance_id in ids:
            assert received(demo_team, instance_id) == [f"order {number}" for number in range(11)], instance_id

        read = await mcp.call("read", instanceId=ids[0])
        assert [entry["kind"] for entry in read["entries"]][-2:] == ["question", "answer"]
        again = await mcp.call("read", instanceId=ids[0], cursor=read["cursor"])
        assert again["entries"] == []
        listed = await mcp.call("list")
        assert listed["counts"] == {"ready": SIZE}
        assert listed["needsAttention"] == []
        for instance_id in ids:
            ended = await mcp.call("terminate", instanceId=instance_id)
            assert ended["terminated"][0]["workspaceRemoved"], ended
        assert git(demo_team.repository, "branch", "--list", "phalanx/*") == ""


async def test_who_needs_the_lead_comes_first_and_is_answered_deliberately(demo_team: Team) -> None:
    async with connected(demo_team) as mcp:
        dialog = '@@demo dialog Bash {"command": "make release"}'
        members = [
            {"role": "specialist", "workDir": str(demo_team.repository), "context": context}
            for context in ("hello", dialog)
        ]
        quiet, asking = [one["instanceId"] for one in (await mcp.call("spawn_batch", instances=members))["instances"]]
        waited = await mcp.call("wait", instanceIds=[quiet, asking], until="needs_attention")
        assert waited["reached"]
        listed = await mcp.call("list")
        assert listed["needsAttention"] == [asking]
        first = next(one for one in listed["instances"] if one["status"] != "stopped")
        assert (first["instanceId"], first["permission"]["input"]) == (asking, {"command": "make release"})
        assert "waits for no permission" in await mcp.refusal("respond", instanceId=quiet, decision="allow")
        await mcp.call("respond", instanceId=asking, decision="allow")
        assert (await mcp.call("wait", instanceIds=[asking], until="idle"))["reached"]
        for instance_id in (quiet, asking):
            await mcp.call("terminate", instanceId=instance_id)


PROJECT = "PROJECT"
"""Stands for the directory of the team's project."""
BAD_INPUT: list[tuple[str, dict[str, Any], str]] = [
    ("send", {"instanceId": "spec_9_9_9", "message": "x"}, "Call list"),
    ("send", {"instanceId": "../x", "message": "x"}, "instanceId"),
    ("send", {"instanceId": "spec_0_0_1\n", "message": "x"}, "instanceId"),
    ("spawn", {"role": "king", "workDir": "/tmp", "context": "x"}, "role"),
    ("spawn", {"role": "specialist", "workDir": "/no/such/place", "context": "x"}, "not a directory"),
    ("spawn", {"role": "specialist", "workDir": "/usr", "context": "x"}, "outside what is allowed"),
    ("spawn", {"role": "specialist", "workDir": "/", "context": "x"}, "too wide"),
    ("spawn", {"role": "specialist", "workDir": "/tmp", "context": "x", "name": "-x"}, "name"),
    ("spawn", {"role": "specialist", "workDir": "/tmp", "context": "x", "name": "../x"}, "name"),
    ("spawn", {"role": "specialist", "workDir": "/tmp", "context": "x", "name": "a\nb"}, "name"),
    ("spawn", {"role": "specialist", "workDir": "/tmp", "context": "x", "model": "-x"}, "model"),
    ("spawn", {"role": "specialist", "workDir": "/tmp", "context": "x", "colour": "red"}, "colour"),
    ("spawn", {"role": "manager", "workDir": PROJECT, "context": "x", "parentId": "exec_99"}, "exec_99"),
    ("spawn_batch", {"instances": []}, "instances"),
    ("spawn_batch", {"instances": [{"role": "specialist"}] * 10_000}, "instances"),
    ("send_batch", {"messages": []}, "messages"),
    ("wait", {"instanceIds": ["spec_0_0_99"], "until": "doomsday"}, "until"),
    ("read", {"instanceId": "spec_0_0_99"}, "spec_0_0_99"),
    ("terminate", {"instanceId": "spec_0_0_99"}, "spec_0_0_99"),
    ("restart", {}, "instanceId"),
]
"""Tool, arguments, and words that the refusal must hold."""


async def test_bad_input_is_refused_in_words_and_leaves_nothing(demo_team: Team) -> None:
    async with connected(demo_team) as mcp:
        for tool, arguments, words in BAD_INPUT:
            given = {name: str(demo_team.repository) if of is PROJECT else of for name, of in arguments.items()}
            assert words in await mcp.refusal(tool, **given), given
        assert (await mcp.call("list"))["counts"].keys() <= {"stopped"}
        assert list(demo_team.home.worktrees.iterdir()) == []


async def test_a_message_of_five_megabytes_is_refused_and_says_what_to_do_instead(demo_team: Team) -> None:
    async with connected(demo_team) as mcp:
        spawned = await mcp.call("spawn", role="specialist", workDir=str(demo_team.repository), context="hello")
        words = await mcp.refusal("send", instanceId=spawned["instanceId"], message="x" * 5_000_000)
        assert "file" in words
        await mcp.call("terminate", instanceId=spawned["instanceId"])
        assert "was terminated" in await mcp.refusal("send", instanceId=spawned["instanceId"], message="too late")
