"""The main job as its users see it: a Claude in a terminal leads real Claude Code instances over MCP.

The lead is a real Claude Code in a tmux pane of its own. All that is not real is the model: the API stand-in answers
the lead's prompt with one tool call after the other, each made from what the last one returned.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from mcp_entry.__main__ import LOG_NAME
from supervisor.api.requests import ReadRequest
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import Runtime
from supervisor.settings import Settings
from tests.projects import git, make_repository, shell_environment
from tests.standin.api import ApiStandIn, Json, text_block, tool_block, tool_results
from tests.standin.claude_home import make_claude_home, standin_environment

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]
TEAM_UP_S = 180.0
DONE_S = 120.0


class LeadScript:
    """What the lead's model does; each step sees the result of the one before and keeps it."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.results: dict[str, Any] = {}
        self.latest = ""
        """The last answer as it came: an error of a tool is no JSON."""
        self.steps = [
            *(self.spawn, self.send, self.wait, self.read_first, self.read_second),
            *(self.merge, self.wait_for_owner, self.merge_again, self.report),
        ]

    def go_on(self, messages: list[Json]) -> Json:
        """The step that is due. The first call is made again while this Claude Code connects to the server still."""
        answers = [found[-1] for message in messages if (found := tool_results(message))]
        refused = sum("is still connecting" in each or "No such tool available" in each for each in answers)
        return self.steps[min(len(answers) - refused, len(self.steps) - 1)](messages)

    def _last(self, messages: list[Json], name: str) -> Any:
        text = next(found[-1] for message in reversed(messages) if (found := tool_results(message)))
        self.latest = text
        self.results[name] = json.loads(text)
        return self.results[name]

    def spawn(self, messages: list[Json]) -> Json:
        members = [
            {"role": "specialist", "workDir": str(self._repository), "context": f"You are the {which} one."}
            for which in ("first", "second")
        ]
        return tool_block("mcp__phalanx__spawn_batch", {"instances": members})

    def send(self, messages: list[Json]) -> Json:
        spawned = self._last(messages, "spawn_batch")
        letters = [
            {"instanceId": member["instanceId"], "message": f"tell me about part {number}"}
            for number, member in enumerate(spawned["instances"], 1)
        ]
        return tool_block("mcp__phalanx__send_batch", {"messages": letters, "wait": True})

    def wait(self, messages: list[Json]) -> Json:
        self._last(messages, "send_batch")
        return tool_block("mcp__phalanx__wait", {"instanceIds": self._ids(), "until": "idle", "timeoutSeconds": 60})

    def read_first(self, messages: list[Json]) -> Json:
        self._last(messages, "wait")
        return tool_block("mcp__phalanx__read", {"instanceId": self._ids()[0]})

    def read_second(self, messages: list[Json]) -> Json:
        self._last(messages, "read_first")
        return tool_block("mcp__phalanx__read", {"instanceId": self._ids()[1]})

    def merge(self, messages: list[Json]) -> Json:
        """Of work that conflicts."""
        self._last(messages, "read_second")
        for member, text in zip(self.results["spawn_batch"]["instances"], ("one\n", "two\n"), strict=True):
            (Path(member["workingDirectory"]) / "shop.txt").write_text(text)
        return self._merge()

    def wait_for_owner(self, messages: list[Json]) -> Json:
        self._last(messages, "merge")
        return tool_block("mcp__phalanx__wait", {"instanceIds": self._ids(), "timeoutSeconds": 60})

    def merge_again(self, messages: list[Json]) -> Json:
        """After the conflict is resolved."""
        self._last(messages, "wait_for_owner")
        second = self.results["spawn_batch"]["instances"][1]
        (Path(second["workingDirectory"]) / "shop.txt").write_text("one\n")
        return self._merge()

    def _merge(self) -> Json:
        return tool_block("mcp__phalanx__merge", {"instanceIds": self._ids(), "commitMessage": "Work on the shop"})

    def report(self, messages: list[Json]) -> Json:
        self._last(messages, "merge_again")
        return text_block("THE LEAD IS DONE")

    def _ids(self) -> list[str]:
        return [member["instanceId"] for member in self.results["spawn_batch"]["instances"]]


async def until(condition: Any, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.2)


async def test_a_claude_leads_two_claudes_over_mcp_and_reads_their_answers(
    short_tmp: Path, claude_command: Path
) -> None:
    home = Home(short_tmp / "h")
    repository = make_repository(short_tmp / "project")
    user = make_claude_home(short_tmp / "user")
    with ApiStandIn() as api:
        script = LeadScript(repository)
        api.scripts["lead"] = [script.go_on]
        own = {"PHALANX_CLAUDE_COMMAND": str(claude_command), **standin_environment(api.url, user)}
        environment = shell_environment(home, **own)
        lead = Lead(short_tmp, claude_command, environment, repository)
        pane = lead.start()
        try:
            await until(lambda: _shows(pane, "❯"), TEAM_UP_S, "the lead's input box")
            await until(lambda: _has_tools(home), TEAM_UP_S, "the lead has the tools")
            await pane.paste("Lead a team of two.\n@@script lead\n")
            await until(lambda: _shows(pane, "script lead"), 10.0, "the lead's draft")
            await until(lambda: _enter_is_taken(pane, api), 10.0, "the lead takes its task")
            await until(lambda: _shows(pane, "THE LEAD IS DONE"), DONE_S, "the lead's report")
            await _check(script.results, home, repository)
        except AssertionError as error:
            error.add_note(f"{await pane.capture(history_lines=100)}\nthe latest answer of a tool: {script.latest}")
            raise
        finally:
            lead.end()
            await asyncio.to_thread(Runtime(home, Settings.load(home, environment)).down, lambda step: None)


class Lead:
    """A real Claude Code with Phalanx as its MCP server, as ``phalanx mcp add`` registers it."""

    def __init__(self, directory: Path, claude: Path, environment: dict[str, str], repository: Path) -> None:
        self._server = TmuxServer(directory / "lead.sock")
        self._socket = directory / "lead.sock"
        self._repository = repository
        mcp = {"mcpServers": {"phalanx": {"command": sys.executable, "args": ["-m", "mcp_entry"]}}}
        trusted = json.loads((directory / "user" / ".claude.json").read_text())
        trusted["projects"] = {str(repository): {"hasTrustDialogAccepted": True}}
        (directory / "user" / ".claude.json").write_text(json.dumps(trusted))
        (directory / "mcp.json").write_text(json.dumps(mcp))
        (directory / "lead.json").write_text(json.dumps({"permissions": {"allow": ["mcp__phalanx"]}}))
        self._command = [
            *(str(claude), "--mcp-config", str(directory / "mcp.json")),
            *("--settings", str(directory / "lead.json")),
        ]
        self._environment = environment

    def start(self) -> Pane:
        self._server.start(self._environment)
        info = self._server.open_session("lead", self._command, self._repository)
        return Pane(TmuxClient(self._socket), info.pane_id)

    def end(self) -> None:
        self._server.stop()


async def _has_tools(home: Home) -> bool:
    """An older Claude Code connects to its servers while a person types already."""
    log = home.logs / LOG_NAME
    return log.exists() and "has the tools" in log.read_text()


async def _shows(pane: Pane, text: str) -> bool:
    return text in await pane.capture()


async def _enter_is_taken(pane: Pane, api: ApiStandIn) -> bool:
    if any("@@script lead" in json.dumps(request["messages"]) for request in api.requests):
        return True
    await pane.press("Enter")
    return False


async def _check(results: dict[str, Any], home: Home, repository: Path) -> None:
    spawned = results["spawn_batch"]["instances"]
    assert [member["success"] for member in spawned] == [True, True]
    assert len({member["branch"] for member in spawned}) == 2
    for member in spawned:
        assert git(repository, "rev-parse", "--verify", member["branch"])
    assert [sent["status"] for sent in results["send_batch"]["results"]] == ["submitted", "submitted"]
    assert results["wait"]["reached"]
    for number, name in enumerate(("read_first", "read_second"), 1):
        answers = [entry["text"] for entry in results[name]["entries"] if entry["kind"] == "answer"]
        assert answers[-1] == f"echo: tell me about part {number}"
    first, second = (member["instanceId"] for member in spawned)
    assert results["merge"]["conflicts"] == [{"between": [first, second], "files": ["shop.txt"]}]
    assert [each.get("told", False) for each in results["merge"]["instances"]] == [False, True]
    assert results["wait_for_owner"]["reached"]
    assert results["merge_again"]["moved"]
    assert (repository / "shop.txt").read_text() == "one\n"
    async with await SupervisorClient.connect(home, sender="operator") as client:
        told = await client.read(ReadRequest(instance_id=second))
        assert any("git merge phalanx/" in entry.text for entry in told.entries if entry.kind == "question")
        status = await client.status()
        assert status.counts == {"ready": 2}
