"""One agent in a real pane, started as the host starts it, seen through the agent's own parsers."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from actors.agents.base import (
    Agent,
    AgentEvent,
    Composer,
    ConversationItem,
    Decision,
    EntryKind,
    EventKind,
    LaunchRequest,
    Screen,
)
from actors.agents.launch import write_launch
from actors.agents.spool import SPOOL_NAME
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane, PaneState
from actors.tmux.server import TmuxServer

Condition = Callable[[], object] | Callable[[], Awaitable[object]]
PATIENCE_S = 40.0
"""Generous: a real program on a busy machine. It tells coming from not coming and measures nothing."""


async def until(condition: Condition, timeout_s: float = PATIENCE_S) -> None:
    """Returns when the condition has come true."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


class Rig:
    """``directory`` must be short and is the test's own. Start it once; ``restart`` goes on with the conversation."""

    def __init__(self, agent: Agent, server: TmuxServer, tmux: TmuxClient, directory: Path) -> None:
        self.agent = agent
        self.server = server
        self._tmux = tmux
        self.instance_directory = directory / "i"
        self.cwd = directory / "trees" / "w"
        self.cwd.mkdir(parents=True)
        self.session_id = str(uuid.uuid4())
        self.asked: dict[str, Any] = {}
        """Further fields of the request by which it is started."""
        self._lives = 0
        self.pane: Pane
        self.pane_id, self.pid = "", 0

    def start(self, environment: Mapping[str, str] | None = None, *, resume: bool = False) -> None:
        launch = self.agent.launch(
            LaunchRequest(
                instance_id="spec_1",
                session_id=self.session_id,
                resume=resume,
                instance_directory=self.instance_directory,
                system_prompt="You are a test.",
                environment=environment or {},
                **self.asked,
            )
        )
        command = write_launch(self.instance_directory, launch, self.cwd, python=sys.executable)
        self._lives += 1
        opened = self.server.open_session(f"rig{self._lives}", command, self.cwd)
        self.pane = Pane(self._tmux, opened.pane_id)
        self.pane_id, self.pid = opened.pane_id, opened.pid

    async def ready(self, **environment: str) -> Rig:
        """Starts the agent and waits for its empty input box."""
        self.start(environment)
        await self.shows_empty_composer()
        return self

    def events(self, kind: EventKind | None = None) -> list[AgentEvent]:
        spool = self.instance_directory / SPOOL_NAME
        # Without the last line, which may be half written.
        lines = spool.read_bytes().split(b"\n")[:-1] if spool.exists() else []
        read = [self.agent.read_event(line) for line in lines if line]
        return [event for event in read if event and kind in {None, event.kind}]

    def kinds(self) -> list[EventKind]:
        return [event.kind for event in self.events()]

    async def event(self, kind: EventKind, number: int = 1) -> AgentEvent:
        """The ``number``-th event of a kind, once it is there."""
        await until(lambda: len(self.events(kind)) >= number)
        return self.events(kind)[number - 1]

    def entries(self, kind: EntryKind | None = None) -> list[ConversationItem]:
        path = Path(next(event.transcript_path for event in self.events()))
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        read = [entry for line in lines if line for entry in self.agent.read_transcript(line)]
        return [entry for entry in read if kind in {None, entry.kind}]

    async def screen(self) -> Screen:
        return self.agent.read_screen(await self.pane.capture(styled=True))

    async def shows(self, condition: Callable[[Screen], object]) -> Screen:
        """The screen, once it meets the condition."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(screen := await self.screen()):
            assert time.monotonic() < deadline, f"{screen} is shown:\n{await self.pane.capture()}"
            await asyncio.sleep(0.02)
        return screen

    async def shows_empty_composer(self) -> None:
        await self.shows(lambda screen: screen.composer is Composer.EMPTY and not screen.busy)

    async def shows_dialog(self) -> None:
        await self.shows(lambda screen: screen.dialog and screen.composer is Composer.ABSENT)

    async def paste(self, text: str) -> None:
        """Pastes into the empty input box and waits for the draft; a prompt just submitted may stand there a while."""
        await self.shows(lambda screen: screen.composer is Composer.EMPTY)
        await self.pane.paste(text)
        await self.shows(lambda screen: screen.composer is Composer.DRAFT)

    async def submit(self, text: str) -> AgentEvent:
        """Pastes, presses Enter and waits for the proof. Ends as the deliverer does it, so that Enter always
        submits."""
        already = len(self.events(EventKind.PROMPT_SUBMITTED))
        await self.paste(text + "\n")
        await self.press_until_taken(already)
        return await self.event(EventKind.PROMPT_SUBMITTED, already + 1)

    async def press_until_taken(self, already: int) -> None:
        """The real program swallows an Enter now and then just after its start."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.events(EventKind.PROMPT_SUBMITTED)) == already:
            assert time.monotonic() < deadline, await self.pane.capture()
            if (await self.screen()).composer is Composer.DRAFT:
                await self.pane.press("Enter")
            for _ in range(25):
                if len(self.events(EventKind.PROMPT_SUBMITTED)) > already:
                    return
                await asyncio.sleep(0.02)

    async def window_columns(self) -> int:
        return int(await self._tmux.run("display-message", "-p", "-t", "rig1:", "#{window_width}"))

    async def pane_terminal(self) -> str:
        return (await self._tmux.run("display-message", "-p", "-t", "rig1:", "#{pane_tty}")).strip()

    async def keys(self, *words: str) -> None:
        """What a person types, through tmux."""
        await self._tmux.run("send-keys", "-t", self.pane_id, *words)

    async def suspend(self) -> None:
        """What Ctrl-Z does when it reaches the agent."""
        await self._tmux.run("send-keys", "-t", "rig1:", "C-z")

    async def ended(self) -> PaneState:
        await until(self._is_dead)
        return await self.pane.state()

    async def _is_dead(self) -> bool:
        return (await self.pane.state()).dead

    def user_file(self, name: str, content: str | Mapping[str, object]) -> Path:
        """Writes a file of the user's own configuration."""
        path = self.cwd.parents[1] / "user" / ".claude" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o700)
        return path

    def waiting_hooks(self) -> list[Path]:
        return list(self.instance_directory.glob("permission-*"))

    def decide(self, asked: AgentEvent, *, allow: bool, message: str) -> str:
        """What the agent's waiting hook has to print for this decision."""
        decision = Decision(allow=allow, message=message, tool=asked.tool, tool_input=asked.tool_input)
        return self.agent.permission_answer(decision)


class DemoRig(Rig):
    """What the demo has to be told to do a thing, and how it shows that it did it."""

    def use_tool(self, command: str) -> str:
        return f"@@demo dialog Bash {json.dumps({'command': command})}"

    def call_team(self, tool: str, **arguments: object) -> str:
        return f"@@demo team {tool} {json.dumps(arguments)}"

    def work(self, seconds: float) -> str:
        return f"@@demo busy {seconds}"

    def rate_limit(self) -> str:
        return "@@demo fail rate_limit"

    def has_run(self, command: str) -> bool:
        log = self.instance_directory / "ran.jsonl"
        lines = log.read_text().splitlines() if log.exists() else []
        return any(json.loads(line)["tool_input"]["command"] == command for line in lines)


class ClaudeRig(Rig):
    """The same for the real program before the API stand-in; its commands make the file that they name."""

    def use_tool(self, command: str) -> str:
        return f"@@tool Bash {json.dumps({'command': command, 'description': 'd'})}"

    def call_team(self, tool: str, **arguments: object) -> str:
        return f"@@tool mcp__phalanx-team__{tool} {json.dumps(arguments)}"

    def work(self, seconds: float) -> str:
        return f"@@slow {seconds}"

    def rate_limit(self) -> str:
        return "@@status 429\n@@header x-should-retry false"

    def has_run(self, command: str) -> bool:
        return (self.cwd / command.removeprefix("touch ")).exists()


def path_only() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
