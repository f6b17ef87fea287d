"""The plugin as users get it: by the real ``claude plugin``, in a session of the real Claude Code, beside a team."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.home import Home
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from supervisor.api.requests import SendRequest, WaitRequest
from supervisor.versions import VERSION
from tests.acceptance.team import Team, bring_up
from tests.processes import command_of, environment_of
from tests.projects import make_repository, shell_environment
from tests.standin.api import Answer, ApiStandIn, Json, text_block, tool_block, tool_results, turn_text
from tests.standin.claude_home import make_claude_home, standin_environment
from tests.standin.claude_versions import installed_claude

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
PLUGIN = "phalanx@phalanx"
TOOL = "mcp__plugin_phalanx_phalanx__"
TEACH = '@@tool Skill {"skill": "phalanx:lead"}'
PATIENCE_S = 90.0
"""Generous: two cores of a busy machine."""
AGAIN_S = 10.0


async def until(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.1)


def plugin_command(claude: Path, user: Path, *words: str, url: str = "http://127.0.0.1:9") -> str:
    """The output of ``claude plugin``, with a home of its own. ``url``: of the API; by default nothing is there."""
    environment = {**shell_environment(Home(user / "none")), **standin_environment(url, user)}
    done = subprocess.run(
        [claude, "plugin", *words],
        check=False,
        env=environment,
        cwd=user,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(claude: Path, user: Path) -> Path:
    make_claude_home(user)
    plugin_command(claude, user, "marketplace", "add", str(ROOT))
    plugin_command(claude, user, "install", PLUGIN)
    return user


class Session:
    """A Claude Code at a terminal, of a user who has installed the plugin and trusts the repository."""

    def __init__(self, directory: Path, claude: Path, environment: dict[str, str], repository: Path) -> None:
        config = directory / "user" / ".claude.json"
        known = json.loads(config.read_text())
        known["projects"] = {str(repository): {"hasTrustDialogAccepted": True}}
        config.write_text(json.dumps(known))
        settings = directory / "lead.json"
        settings.write_text(json.dumps({"permissions": {"allow": [f"{TOOL}*", "Skill"], "defaultMode": "acceptEdits"}}))
        self._server = TmuxServer(directory / "lead.sock")
        self._server.start(environment)
        info = self._server.open_session("lead", [str(claude), "--settings", str(settings)], repository)
        self.pane = Pane(TmuxClient(directory / "lead.sock"), info.pane_id)

    async def shows(self, text: str) -> bool:
        return text in await self.pane.capture(history_lines=100)

    async def ready(self) -> None:
        await until(lambda: self.shows("❯"), "the input box")

    async def type(self, text: str, arrived: Callable[[], bool]) -> None:
        """Types until ``arrived``: just after its start Claude Code may lose keys."""
        await self.pane.paste(text)
        await until(lambda: self.shows(text.splitlines()[0][:40]), "the draft")

        async def is_taken() -> bool:
            if not arrived():
                await self.pane.press("Enter")
                await asyncio.sleep(0.5)
            return arrived()

        await until(is_taken, f"Claude Code takes {text!r}")

    def end(self) -> None:
        self._server.stop()


@pytest.fixture(scope="module")
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


def environment_in(home: Home, api: ApiStandIn, user: Path) -> dict[str, str]:
    """With our programs on the PATH, as an installation leaves them."""
    patient = {"MCP_CONNECTION_NONBLOCKING": "0", "MCP_TIMEOUT": "120000"}
    own = {**standin_environment(api.url, user), **patient}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**shell_environment(home, **own), "PATH": path}


def tools_of(request: Json) -> set[str]:
    return {tool.get("name", "") for tool in request.get("tools") or ()}


def texts_of(requests: Sequence[Json]) -> str:
    return json.dumps([[each.get("system"), each["messages"]] for each in requests], ensure_ascii=False)


def monitors_of(user: Path) -> list[psutil.Process]:
    running = [each for each in psutil.process_iter() if environment_of(each).get("HOME") == str(user)]
    return [each for each in running if "--for-lead" in command_of(each)]


def test_its_version_is_that_of_the_program() -> None:
    manifest = json.loads((ROOT / "plugin/.claude-plugin/plugin.json").read_text())
    assert manifest["version"] == VERSION


@pytest.mark.each_version
def test_it_is_valid_and_can_be_installed_from_the_repository(short_tmp: Path, claude_command: Path) -> None:
    user = make_claude_home(short_tmp / "user")
    for what in (ROOT, ROOT / "plugin"):
        assert "Validation passed" in plugin_command(claude_command, user, "validate", str(what))
    install(claude_command, user)
    listed: list[dict[str, Any]] = json.loads(plugin_command(claude_command, user, "list", "--json"))
    (one,) = [each for each in listed if each["id"] == PLUGIN]
    assert (one["version"], one["enabled"]) == (VERSION, True)
    details = plugin_command(claude_command, user, "details", "phalanx")
    assert "lead, status, team" in details
    plugin_command(claude_command, user, "uninstall", PLUGIN)


async def test_a_session_has_the_tools_the_skill_and_the_commands(
    team: Team, short_tmp: Path, claude_command: Path
) -> None:
    user = install(claude_command, short_tmp / "user")
    with ApiStandIn() as api:
        session = Session(short_tmp, claude_command, environment_in(team.home, api, user), team.repository)
        try:
            await session.ready()

            async def has_tools() -> bool:
                asked = len(api.requests)
                await session.type("hello", lambda: len(api.requests) > asked)
                return any(f"{TOOL}list" in tools_of(each) for each in api.requests[asked:])

            await until(has_tools, "the tools with which a lead begins")
            shown = set[str]().union(*map(tools_of, api.requests))
            begins = {name.removeprefix(TOOL) for name in shown if name.startswith(TOOL)}
            assert {"spawn", "spawn_batch", "send", "wait", "list", "read"} <= begins
            assert "phalanx:lead" in texts_of(api.requests)

            call = f"@@tool {TOOL}list {{}}"
            await session.type(call, lambda: bool(api.requests_with(call)))
            await until(lambda: _says(api, call, '\\"counts\\"'), "the team in the answer of list")

            await session.type(TEACH, lambda: bool(api.requests_with(TEACH)))
            await until(lambda: _says(api, "", "# Leading a team"), "the skill")

            await session.type("/phalanx:status", lambda: "Call list of the Phalanx server" in texts_of(api.requests))
        except AssertionError as error:
            error.add_note(await session.pane.capture(history_lines=100))
            raise
        finally:
            session.end()


async def _says(api: ApiStandIn, typed: str, words: str) -> bool:
    return words in texts_of(api.requests_with(typed))


async def test_the_monitor_wakes_whoever_has_begun_to_lead_when_an_instance_becomes_idle_and_ends_with_it(
    team: Team, short_tmp: Path
) -> None:
    claude = installed_claude("newest")
    user = install(claude, short_tmp / "user")
    with ApiStandIn() as api:
        session = Session(short_tmp, claude, environment_in(team.home, api, user), team.repository)
        try:
            await session.ready()
            assert monitors_of(user) == [], "a session that does not lead is not woken"
            await session.type(TEACH, lambda: bool(api.requests_with(TEACH)))
            await until(lambda: _monitors(user, 1), "the monitor")
            async with await team.connect() as client:
                spawned = await client.spawn(team.specialist("hello", name="cart"))
                is_idle = f"{spawned.instance_id} (cart) is idle"

                async def is_woken() -> bool:
                    """By one of several answers: the monitor may have begun to listen only after the first."""
                    await client.send(SendRequest(instance_id=spawned.instance_id, message="again", wait=True))
                    await client.wait(WaitRequest(instance_ids=[spawned.instance_id]))
                    with suppress(AssertionError):
                        await until(lambda: _woken(api, is_idle), "the notification", AGAIN_S)
                        return True
                    return False

                await until(is_woken, "the lead is woken")
            await until(lambda: session.shows("Monitor event"), "the notification on the screen")
        except AssertionError as error:
            error.add_note(await session.pane.capture(history_lines=100))
            raise
        finally:
            session.end()
        await until(lambda: _monitors(user, 0), "the end of the monitor", 30.0)


async def _monitors(user: Path, number: int) -> bool:
    return len(monitors_of(user)) == number


async def _woken(api: ApiStandIn, words: str) -> bool:
    notices = [turn for each in api.requests for turn in each["messages"] if "task-notification" in json.dumps(turn)]
    return words in json.dumps(notices, ensure_ascii=False)


@pytest.mark.each_version
async def test_without_the_program_it_says_what_to_install(short_tmp: Path, claude_command: Path) -> None:
    user = install(claude_command, short_tmp / "user")
    repository = make_repository(short_tmp / "project")
    with ApiStandIn() as api:
        environment = environment_in(Home(short_tmp / "h"), api, user)
        environment["PATH"] = os.pathsep.join(
            each for each in environment["PATH"].split(os.pathsep) if not (Path(each) / "phalanx").exists()
        )
        session = Session(short_tmp, claude_command, environment, repository)
        try:
            await until(lambda: session.shows("The plugin phalanx has no tools"), "the words")
            assert not await _woken(api, "task-notification")
        finally:
            session.end()


async def test_an_instance_of_a_team_gets_neither_its_tools_nor_its_monitor(
    make_short_tmp: Callable[[], Path], claude_command: Path
) -> None:
    directory = make_short_tmp()
    user = install(claude_command, directory / "user")
    with ApiStandIn() as api:
        environment = environment_in(Home(directory / "h"), api, user)
        own = {name: environment[name] for name in environment if name != "PHALANX_HOME"}
        own["PHALANX_CLAUDE_COMMAND"] = str(claude_command)
        team = await asyncio.to_thread(partial(bring_up, directory, **own))
        try:
            async with await team.connect() as client:
                spawned = await client.spawn(team.specialist("hello"))
                await client.wait(WaitRequest(instance_ids=[spawned.instance_id]))
            (first, *_) = api.requests_with("hello")
            assert not [name for name in tools_of(first) if name.startswith(TOOL)]
            assert "phalanx:lead" not in texts_of(api.requests)
            assert monitors_of(user) == []
        finally:
            await asyncio.to_thread(team.runtime.down, lambda step: None)


class ModelWithSkills(ApiStandIn):
    """Looks up how to lead when it is asked for a team and knows of the skill; to anything else it says a word."""

    def answer(self, request: Json) -> Answer:
        asked = turn_text(next(each for each in request["messages"] if each["role"] == "user"))
        is_first = not any(map(tool_results, request["messages"]))
        if is_first and "team of instances" in asked and "phalanx:lead" in texts_of([request]):
            return Answer([tool_block("Skill", {"skill": "phalanx:lead"})])
        return Answer([text_block("Done.")])


def test_its_cases_are_scored_by_claude_plugin_eval(short_tmp: Path) -> None:
    claude = installed_claude("newest")
    copy = Path(shutil.copytree(ROOT / "plugin", short_tmp / "plugin", ignore=shutil.ignore_patterns("results")))
    user = make_claude_home(short_tmp / "user")
    with ModelWithSkills() as api:
        scored = plugin_command(
            claude, user, "eval", str(copy), "--runs", "1", "--trust-plugin", "--no-publish", "--json", url=api.url
        )
    scores = {case["name"]: case["aggregates"] for case in json.loads(scored)["cases"]}
    assert set(scores) == {each.parent.name for each in (ROOT / "plugin/evals").glob("*/prompt.md")}
    assert {name: score["score"] for name, score in scores.items()} == dict.fromkeys(scores, 1)
    assert scores["uses-the-skill"]["delta"] == 1, "without the plugin nobody knows the skill"
