"""What the model of a real Claude Code reads that leads ten: with the tools of Phalanx, and with its own agent teams.

A stand-in of the API plays the model and sees every request. The last one of the lead holds all that it was given.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mcp_entry.sizes import CHARACTERS_A_TOKEN
from mcp_entry.tools import INSTRUCTIONS
from scripts.benchmarks.bench import Bench
from tests.acceptance.team import Team
from tests.projects import make_repository
from tests.standin.api import Answer, ApiStandIn, Json, text_block, tool_block, tool_results, turn_text
from tests.standin.claude_home import make_claude_home, standin_environment

_LEAD = "You lead a team of ten."
_OVER = "All of it is merged."
_PREFIX = "mcp__phalanx__"
_PATIENCE_S = 400.0
_POLL_S = 0.5
_MERGE = (
    "for branch in $(git for-each-ref --format='%(refname:short)' refs/heads | grep -v '^main$'); "
    "do git merge -q --no-edit $branch; done; git log --oneline | head -3; ls"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """In tokens."""

    tools: int
    """The definitions of the tools for leading, with their instructions."""
    heard: int
    """All that comes after its first answer: results of tools, notifications, reminders."""

    @property
    def all(self) -> int:
        return self.tools + self.heard


class _LeadingApi(ApiStandIn):
    """Plays the lead of ten; whoever else asks does what its prompt says."""

    def __enter__(self) -> Self:
        ApiStandIn.__enter__(self)
        return self

    def answer(self, request: Json) -> Answer:
        if not _is_lead(request):
            return ApiStandIn.answer(self, request)
        return Answer(self.next_step(request["messages"]))

    def next_step(self, messages: list[Json]) -> list[Json]:
        raise NotImplementedError

    def last(self) -> Json | None:
        """The newest request of the lead, once it has said that all is over."""
        asked = [each for each in list(self.requests) if each.get("tools") and _is_lead(each)]
        over = asked and self.next_step(asked[-1]["messages"])[0].get("text") == _OVER
        return asked[-1] if over else None


class _WithOwnTeams(_LeadingApi):
    def __init__(self, members: int, every_s: float) -> None:
        super().__init__()
        self._members = members
        self._every_s = every_s

    def next_step(self, messages: list[Json]) -> list[Json]:
        if len(messages) == 1 or not _calls(messages):
            return [self._member(number) for number in range(1, self._members + 1)]
        heard = _heard(messages)
        if "MERGED\n" in heard:
            return [text_block(_OVER)]
        if all(f"REPORT-{number}." in heard for number in range(1, self._members + 1)):
            return [tool_block("Bash", {"command": f"{_MERGE}; echo MERGED; ls", "description": "Merge all branches"})]
        return [text_block("They work.")]

    def _member(self, number: int) -> Json:
        said = f"REPORT-{number}. I have written part_{number}.md, one page on part {number} of the project."
        command = (
            f"echo 'The page on {number}.' > part_{number}.md && git add . && git commit -q -m 'Write part {number}' "
            f"&& echo '{said}'"
        )
        directive = json.dumps({"command": command, "description": "Write and commit it"})
        # It is slow twice: to call the tool, and to answer.
        task = (
            f"Write part_{number}.md, one page on part {number} of the project. Commit it when it is good, and say in "
            f"a sentence what you have found.\n@@slow {self._every_s * number / 2}\n@@tool Bash {directive}"
        )
        named = {"description": f"Write part {number}", "name": f"part-{number}", "isolation": "worktree"}
        call = {**named, "prompt": task}
        return {**tool_block("Agent", call), "id": f"toolu_member_{number}"}


class _WithPhalanx(_LeadingApi):
    def __init__(self, members: list[Json], wait_s: float) -> None:
        super().__init__()
        self._spawn = members
        self._wait_s = wait_s

    def next_step(self, messages: list[Json]) -> list[Json]:
        called = _calls(messages)
        ids = list(dict.fromkeys(re.findall(r"spec_\d+_\d+_\d+", _heard(messages))))[: len(self._spawn)]
        if not called:
            return [_tool("spawn_batch", instances=self._spawn)]
        if called[-1] == "spawn_batch" or (called[-1] == "wait" and not _is_reached(messages)):
            return [_tool("wait", instanceIds=ids, timeoutSeconds=self._wait_s)]
        if called[-1] == "wait":
            reads = [_tool("read", instanceId=each, lines=1) for each in ids]
            return [{**block, "id": f"toolu_read_{number}"} for number, block in enumerate(reads)]
        if called[-1] == "read":  # not among the tools that are loaded from the beginning
            return [tool_block("ToolSearch", {"query": f"select:{_PREFIX}merge", "max_results": 1})]
        if called[-1] == "ToolSearch":
            return [_tool("merge", instanceIds=ids)]
        return [text_block(_OVER)]


def _tool(name: str, **arguments: Any) -> Json:
    return tool_block(f"{_PREFIX}{name}", arguments)


def _is_lead(request: Json) -> bool:
    return _LEAD in turn_text(request["messages"][0])


def _calls(messages: list[Json]) -> list[str]:
    """The tools that were called, the first one first."""
    blocks = [block for each in messages if each["role"] == "assistant" for block in each["content"]]
    return [block["name"].removeprefix(_PREFIX) for block in blocks if block.get("type") == "tool_use"]


def _is_reached(messages: list[Json]) -> bool:
    results = [result for each in messages if each["role"] == "user" for result in tool_results(each)]
    return re.search(r'"reached":\s*true', results[-1]) is not None


def _heard(messages: list[Json]) -> str:
    """All that the model is given after its first answer."""
    first = next((number for number, each in enumerate(messages) if each["role"] == "assistant"), len(messages))
    return "\n".join(_text(each) for each in messages[first:] if each["role"] != "assistant")


def _text(message: Json) -> str:
    if isinstance(message["content"], str):
        return message["content"]
    texts = [block["text"] for block in message["content"] if "text" in block]
    return "\n".join([*tool_results(message), *texts])


def _read(last: Json, names: re.Pattern[str], instructions: str) -> Read:
    tools = [tool for tool in last["tools"] if names.match(tool["name"])]
    if instructions and instructions.split("\n", maxsplit=1)[0] not in json.dumps(last, ensure_ascii=False):
        raise RuntimeError("the instructions of the server are not in the request")
    characters = sum(len(json.dumps(tool, ensure_ascii=False, separators=(",", ":"))) for tool in tools)
    return Read(
        tools=round((characters + len(instructions)) / CHARACTERS_A_TOKEN),
        heard=round(len(_heard(last["messages"])) / CHARACTERS_A_TOKEN),
    )


async def with_own_teams(bench: Bench, members: int, every_s: float) -> Read:
    """Ten teammates of Claude's own, each in a worktree. Raises ``RuntimeError`` when it does not come to its end."""
    with bench.scratch() as directory, _WithOwnTeams(members, every_s) as api:
        project = make_repository(directory / "project")
        variables = {"CLAUDE_CODE_EXPERIMENTAL_AGENT_TEAMS": "1"}
        with _claude(bench, api, directory, project, variables) as screen:
            last = await _end_of(api, screen)
        return _read(last, re.compile("Agent$|SendMessage$"), "")


async def with_phalanx(bench: Bench, team: Team, members: list[Json], wait_s: float) -> Read:
    """Ten members of this team. Raises ``RuntimeError`` when it does not come to its end."""
    with bench.scratch() as directory, _WithPhalanx(members, wait_s) as api:
        entry = {"command": sys.executable, "args": ["-m", "mcp_entry"], "env": dict(team.environment)}
        config = directory / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"phalanx": entry}}))
        variables = {"PYTHONPATH": str(Path.cwd())}
        with _claude(bench, api, directory, team.repository, variables, "--mcp-config", str(config)) as screen:
            last = await _end_of(api, screen)
        return _read(last, re.compile(re.escape(_PREFIX)), INSTRUCTIONS)


@contextmanager
def _claude(
    bench: Bench, api: ApiStandIn, directory: Path, project: Path, variables: Mapping[str, str], *options: str
) -> Iterator[list[str]]:
    """A Claude Code in a terminal of its own that is told to lead; the command that shows its screen."""
    user = make_claude_home(directory / "user")
    known = json.loads((user / ".claude.json").read_text())
    known["projects"] = {str(project): {"hasTrustDialogAccepted": True}}
    (user / ".claude.json").write_text(json.dumps(known))
    settings = directory / "settings.json"
    settings.write_text(json.dumps({"permissions": {"allow": ["Bash", "Agent", f"{_PREFIX}*"]}}))
    words = [
        *("env", *(f"{name}={value}" for name, value in {**standin_environment(api.url, user), **variables}.items())),
        *(str(bench.claude), "--settings", str(settings), "--permission-mode", "default", *options),
        *("--", _LEAD),
    ]
    tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
    size = ("-x", "160", "-y", "50")
    subprocess.run([*tmux, "new-session", "-d", "-s", "lead", *size, "-c", str(project), *words], check=True)
    try:
        yield [*tmux, "capture-pane", "-p", "-t", "=lead:"]
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


async def _end_of(api: _LeadingApi, screen: list[str]) -> Json:
    deadline = time.monotonic() + _PATIENCE_S
    while (last := api.last()) is None:
        if time.monotonic() > deadline:
            shown = await asyncio.to_thread(subprocess.run, screen, check=False, capture_output=True, text=True)
            raise RuntimeError(f"the lead did not come to its end within {_PATIENCE_S:.0f} s:\n{shown.stdout}")
        await asyncio.sleep(_POLL_S)
    return last
