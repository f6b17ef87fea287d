"""An agent's own tools of the team, and which of the user's MCP servers it gets: the real program in each version."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import EntryKind, EventKind
from actors.agents.claude_servers import server_names
from actors.agents.permissions import answer
from actors.marks import TEAM_SERVER
from supervisor.team.access import new_token
from tests.integration.agents.rig import PATIENCE_S, ClaudeRig, DemoRig, until
from tests.projects import git, make_repository
from tests.standin import noting_server
from tests.standin.api import ApiStandIn
from tests.standin.team_tools import TeamToolsStandIn

pytestmark = pytest.mark.each_version

UNKNOWN = "No such tool available"
HEADER = "[phalanx msg_1 from lead]\n"
NAMES = ("of-user", "of-project", "of-checkout", "of-above")


@pytest.fixture
def tools(rig: DemoRig | ClaudeRig) -> Iterator[TeamToolsStandIn]:
    """The agent of ``rig`` is told of them."""
    with TeamToolsStandIn(new_token()) as standin:
        rig.asked.update(token=standin.token, team_url=standin.url)
        yield standin


async def called(rig: DemoRig | ClaudeRig, tool: str = "send", **arguments: object) -> str:
    """What the tool answered in a turn of its own. On a busy machine the first turns may begin before it is known."""
    deadline = time.monotonic() + PATIENCE_S
    while UNKNOWN in (answer := await _called(rig, tool, arguments)):
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(1)
    return answer


async def _called(rig: DemoRig | ClaudeRig, tool: str, arguments: Mapping[str, object]) -> str:
    results = len(rig.entries(EntryKind.TOOL_RESULT)) if rig.events(EventKind.TURN_ENDED) else 0
    turns = len(rig.events(EventKind.TURN_ENDED))
    await rig.submit(HEADER + rig.call_team(tool, **arguments))
    await rig.event(EventKind.TURN_ENDED, turns + 1)
    await until(lambda: len(rig.entries(EntryKind.TOOL_RESULT)) > results)
    return rig.entries(EntryKind.TOOL_RESULT)[-1].text


@pytest.mark.parametrize("mode", ["default", "plan", "dontAsk"])
async def test_an_agent_calls_the_team_with_its_token_and_without_a_question(
    rig: DemoRig | ClaudeRig, tools: TeamToolsStandIn, mode: str
) -> None:
    """In plan mode newer versions let pass only what says that it just reads."""
    rig.asked["permission_mode"] = mode
    await rig.ready()
    tool = "list" if mode == "plan" else "send"

    assert "done: " in await called(rig, tool, instanceId="mgr_1_2")
    assert [(call["name"], call["arguments"]) for call in tools.calls] == [(tool, {"instanceId": "mgr_1_2"})]
    assert rig.events(EventKind.PERMISSION_REQUESTED) == []
    assert tools.refused == 0
    assert tools.calls[0]["_meta"]["claudecode/toolUseId"].startswith("toolu_")


async def test_tools_that_do_not_answer_keep_no_agent_from_its_prompt_and_are_found_when_they_do(
    rig: DemoRig | ClaudeRig, tools: TeamToolsStandIn
) -> None:
    tools.__exit__()
    await rig.ready()
    await rig.submit(HEADER + "hello")
    await rig.event(EventKind.TURN_ENDED)
    tools.__enter__()
    assert "done: " in await called(rig, message="hi")


async def test_the_token_stands_in_no_command_line_and_in_no_file_that_others_can_read(
    rig: DemoRig | ClaudeRig, tools: TeamToolsStandIn
) -> None:
    await rig.ready()
    assert "done: " in await called(rig, message="hi")
    shown = await rig.pane.capture()

    assert tools.token not in Path(f"/proc/{rig.pid}/cmdline").read_text()
    assert tools.token not in Path(f"/proc/{rig.pid}/environ").read_text()
    assert tools.token not in shown
    holding = [path for path in rig.instance_directory.rglob("*") if path.is_file() and tools.token in path.read_text()]
    assert {(path.name, path.stat().st_mode & 0o777) for path in holding} == {("mcp.json", 0o600)}


@pytest.mark.real_claude
class TestClaude:
    async def test_a_tool_of_the_team_stands_before_the_model_without_a_search(
        self, claude: ClaudeRig, api: ApiStandIn
    ) -> None:
        with TeamToolsStandIn(new_token()) as tools:
            claude.asked.update(token=tools.token, team_url=tools.url)
            await claude.ready()
            await called(claude, message="hi")
            question = f"which tools has {claude.session_id}?"
            turns = len(claude.events(EventKind.TURN_ENDED))
            await claude.submit(HEADER + question)
            await claude.event(EventKind.TURN_ENDED, turns + 1)
        (asked, *_) = [request for request in api.requests_with(question) if request.get("tools")]
        assert {f"mcp__phalanx-team__{name}" for name in tools.tools} <= {tool["name"] for tool in asked["tools"]}

    @pytest.mark.parametrize("rule", ["deny", "ask"])
    async def test_a_rule_of_the_user_against_it_holds(self, claude: ClaudeRig, rule: str) -> None:
        claude.user_file("settings.json", {"permissions": {rule: ["mcp__phalanx-team__send"]}})
        with TeamToolsStandIn(new_token()) as tools:
            claude.asked.update(token=tools.token, team_url=tools.url)
            await claude.ready()
            await called(claude, "list")
            tools.calls.clear()
            turns = len(claude.events(EventKind.TURN_ENDED))
            await claude.submit(HEADER + claude.call_team("send", message="hi"))
            if rule == "ask":
                asked = await claude.event(EventKind.PERMISSION_REQUESTED)
                assert asked.tool == "mcp__phalanx-team__send"
                assert tools.calls == []
                answer(claude.instance_directory, asked.request_id, claude.decide(asked, allow=True, message=""))
            await claude.event(EventKind.TURN_ENDED, turns + 1)
            assert len(tools.calls) == (rule == "ask")


class UserServers:
    """One server of the user's in each scope; each notes its process when it is started."""

    def __init__(self, claude: ClaudeRig) -> None:
        self._claude = claude
        self._notes = claude.cwd.parents[1] / "notes"
        self._notes.mkdir()
        config = claude.cwd.parents[1] / "user" / ".claude.json"
        read = json.loads(config.read_text())
        read["mcpServers"] = self._server("of-user")
        checkout = make_repository(claude.cwd.parents[1] / "checkout")
        claude.cwd.rmdir()
        git(checkout, "worktree", "add", "-q", str(claude.cwd))
        read["projects"][str(checkout)] = {"hasTrustDialogAccepted": True, "mcpServers": self._server("of-checkout")}
        config.write_text(json.dumps(read))
        for directory, name in ((claude.cwd, "of-project"), (claude.cwd.parent, "of-above")):
            (directory / ".mcp.json").write_text(json.dumps({"mcpServers": self._server(name)}))
        claude.asked["approvals"] = {"enabledMcpjsonServers": ["of-project", "of-above"]}
        known = server_names({"HOME": str(config.parent)}, claude.cwd, (checkout,))
        assert known == set(NAMES), "as this project reads the files"

    def _server(self, name: str) -> Mapping[str, Any]:
        command = {"command": sys.executable, "args": [noting_server.__file__, str(self._notes / name)]}
        return {name: {"type": "stdio", **command, "env": {}}}

    def take_the_name_of_the_teams(self) -> None:
        """In every scope, and each is approved."""
        directory = self._claude.cwd
        for path in (
            directory.parents[1] / "user" / ".claude.json",
            directory / ".mcp.json",
            directory.parent / ".mcp.json",
        ):
            path.write_text(re.sub(r'"of-[a-z]+": ', f'"{TEAM_SERVER}": ', path.read_text()))
        self._claude.asked["approvals"] = {"enabledMcpjsonServers": [TEAM_SERVER]}

    @property
    def started(self) -> set[str]:
        return {note.name for note in self._notes.iterdir()}


@pytest.mark.real_claude
@pytest.mark.parametrize(
    ("named", "expected"),
    [(None, set(NAMES)), ((), set[str]()), *((some, set(some)) for some in (NAMES[:2], NAMES[2:]))],
    ids=["all", "none", *(" and ".join(some) for some in (NAMES[:2], NAMES[2:]))],
)
async def test_an_agent_gets_the_servers_of_the_user_that_were_asked_for_and_its_own(
    claude: ClaudeRig, named: tuple[str, ...] | None, expected: set[str]
) -> None:
    servers = UserServers(claude)
    with TeamToolsStandIn(new_token()) as tools:
        claude.asked.update(token=tools.token, team_url=tools.url, mcp_servers=named)
        await claude.ready()
        assert "done: " in await called(claude, message="hi")
        await until(lambda: servers.started >= expected)
    assert servers.started == expected


@pytest.mark.real_claude
async def test_no_server_of_a_project_or_of_the_user_takes_the_place_of_the_teams(claude: ClaudeRig) -> None:
    """Tools of that name pass without a question."""
    servers = UserServers(claude)
    servers.take_the_name_of_the_teams()
    with TeamToolsStandIn(new_token()) as tools:
        claude.asked.update(token=tools.token, team_url=tools.url)
        await claude.ready()
        assert "done: " in await called(claude, message="hi")
        assert [call["name"] for call in tools.calls] == ["send"]
    assert servers.started == set()
