"""``python -m scripts.benchmarks.comparison``: awkward messages to the real Claude Code, by Phalanx and by bare tmux.

Bare tmux is what scripts and session managers over tmux do: ``tmux send-keys -l TEXT``, a short pause, and Enter.
Whether a text arrived is read from Claude Code's own transcript in both cases. Writes docs/comparison.md and prints its
table. The memory of an entry that nobody uses is measured in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from actors.agents.base import Composer, Screen
from actors.agents.claude_screen import read_screen
from actors.messages import MessageStatus
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from mcp_entry.cli.doctor import NEWEST
from scripts.benchmarks.bench import Bench
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.conversations import Conversations

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/comparison.md"
_PAUSE_S = 0.3
"""Between the text and Enter, as session managers wait."""
_ARRIVES_S = 10.0
_PATIENCE_S = 60.0
_POLL_S = 0.05
_IDLE_S = 20.0
_WORDS = f"""# Compared with bare terminals

Made by `python -m scripts.benchmarks.comparison`, with Claude Code {NEWEST} and a stand-in of the API. Each text was
sent once to a Claude Code that has had its first turn, by *bare tmux* (`tmux send-keys -l TEXT`, {_PAUSE_S} s,
`tmux send-keys Enter`, which is how scripts and session managers over tmux type), and once by Phalanx. *Arrived* means
that Claude Code's own transcript shows this text as what it was told; {_ARRIVES_S:.0f} s were waited for it, and with
Phalanx until no message was on its way.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``while_asking``: a permission request waits; ``at_start``: sent as soon as the program was started."""

    what: str
    text: str
    while_asking: bool = False
    at_start: bool = False


CASES: Sequence[Case] = (
    Case(what="plain words", text="Tell me about the parser."),
    Case(what="begins with a slash", text="/clear the old cache files, then build."),
    Case(what="begins with an exclamation mark", text="!touch shell-ran"),
    Case(what="ends with a backslash", text="The files are in C:\\temp\\"),
    Case(what="several lines", text="Do these:\n1. the parser\n2. the tests"),
    Case(what="100 kB", text="Read this log. " + "line of a log " * 7000 + "end"),
    Case(what="sent as soon as the program is started", text="Begin with the parser.", at_start=True),
    Case(what="sent while a permission request waits", text="Wait for the tests.", while_asking=True),
)
ASKED = '@@tool Bash {"command": "touch tool-ran", "description": "touch"}'


@dataclass(frozen=True, slots=True)
class Outcome:
    arrived: bool
    also: str = ""
    """What happened that nobody asked for."""

    @property
    def words(self) -> str:
        return ("arrived" if self.arrived else "did not arrive") + (f"; {self.also}" if self.also else "")


def was_told(user_home: Path, directory: Path, text: str) -> bool:
    """Whether the Claude Code that works in the directory was told this text. Marks around it do not count."""
    return any(text in said.text for said in Conversations(user_home, directory).said())


async def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _ARRIVES_S
    while not (met := condition()) and time.monotonic() < deadline:  # noqa: ASYNC110 - a transcript tells nobody
        await asyncio.sleep(_POLL_S)
    return met


class BareTmux:
    """One fresh Claude Code for each case, in a session of a private tmux server."""

    def __init__(self, claude: Path, team: Team, scratch: Path) -> None:
        self._claude = claude
        self._socket = scratch / "bare.sock"
        self._directory = team.home.worktrees  # trusted, as the directories of instances are
        self._user_home = Path(team.environment["HOME"])
        self._server = TmuxServer(self._socket)
        self._server.start(team.environment)

    def end(self) -> None:
        self._server.stop()

    async def try_case(self, case: Case) -> Outcome:
        directory = self._directory / f"bare-{uuid.uuid4().hex[:8]}"
        directory.mkdir()
        command = [str(self._claude), "--permission-mode", "default"]
        opened = self._server.open_session(directory.name, command, directory)
        pane = Pane(TmuxClient(self._socket), opened.pane_id)
        if case.while_asking:
            await self._first_turn(pane, directory, ASKED)
            await self._shows(pane, lambda screen: screen.dialog is not None)
        elif not case.at_start:
            await self._first_turn(pane, directory, "hello")
            await self._shows(pane, lambda screen: screen.composer is Composer.EMPTY and not screen.busy)
        refused = await self._type(opened.pane_id, case.text)
        arrived = not refused and await until(lambda: was_told(self._user_home, directory, case.text))
        outcome = Outcome(arrived, refused or unasked(directory))
        self._server.close_session(directory.name)
        return outcome

    async def _first_turn(self, pane: Pane, directory: Path, text: str) -> None:
        """With care, so that what follows meets a program that works."""
        await self._shows(pane, lambda screen: screen.composer is Composer.EMPTY)
        await pane.paste(text)
        await self._shows(pane, lambda screen: screen.composer is Composer.DRAFT)
        await pane.press("Enter")
        while not await until(lambda: was_told(self._user_home, directory, text)):
            await pane.press("Enter")  # right at the start one is swallowed

    async def _type(self, pane: str, text: str) -> str:
        """Why tmux refuses; empty when it does not."""
        for keys in (("-l", "--", text), ("Enter",)):
            command = ["tmux", "-S", str(self._socket), "send-keys", "-t", pane, *keys]
            ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
            if ended.returncode:
                return f"tmux refuses it ({ended.stderr.strip()})"
            await asyncio.sleep(_PAUSE_S)
        return ""

    async def _shows(self, pane: Pane, condition: Callable[[Screen], bool]) -> None:
        async with asyncio.timeout(_PATIENCE_S):
            while not condition(read_screen(await pane.capture(styled=True))):  # noqa: ASYNC110 - a pane tells nobody
                await asyncio.sleep(_POLL_S)


def unasked(directory: Path) -> str:
    """What ran although nobody allowed it."""
    if (directory / "shell-ran").exists():
        return "it ran as a shell command"
    return "it allowed the tool call" if (directory / "tool-ran").exists() else ""


async def by_phalanx(client: SupervisorClient, team: Team, case: Case) -> Outcome:
    first = case.text if case.at_start else ASKED if case.while_asking else "hello"
    spawned = await client.spawn(team.specialist(first, permission_mode="default"))
    one = spawned.instance_id
    also = ""
    if not case.at_start:
        if case.while_asking:
            await client.wait(requests.WaitRequest(instance_ids=[one], until="needs_attention"))
        sent = await client.send(requests.SendRequest(instance_id=one, message=case.text, wait=True))
        if sent.status is MessageStatus.BLOCKED:
            also = "held until the request was answered"
            await client.respond(requests.RespondRequest(instance_id=one, decision="deny"))
    await client.wait(requests.WaitRequest(instance_ids=[one], timeout_seconds=_PATIENCE_S))
    directory = Path(spawned.working_directory)
    arrived = await until(lambda: was_told(Path(team.environment["HOME"]), directory, case.text))
    ran = unasked(directory)
    await client.terminate(requests.TerminateRequest(instance_id=one))
    return Outcome(arrived, ran or also)


def idle_entry(team: Team) -> str:
    """What a registered entry costs that nobody uses: it has listed its tools, in a home without a team."""
    home = str(Path(team.environment["HOME"]) / "n")
    with subprocess.Popen(
        [sys.executable, "-m", "mcp_entry"],
        cwd=ROOT,
        env={**os.environ, "PHALANX_HOME": home},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as entry:
        if entry.stdin is None or entry.stdout is None:
            raise RuntimeError("the entry has no pipes")
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        for number, (method, params) in enumerate((("initialize", client), ("tools/list", {}))):
            asked = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            entry.stdin.write(json.dumps(asked).encode() + b"\n")
            entry.stdin.flush()
            entry.stdout.readline()
        process = psutil.Process(entry.pid)
        time.sleep(3)  # what it does after it was asked is not idleness
        before = process.cpu_times()
        time.sleep(_IDLE_S)
        after = process.cpu_times()
        memory, children = process.memory_full_info().pss / 1e6, len(process.children(recursive=True))
        entry.stdin.close()
        entry.wait(_PATIENCE_S)
    cpu = 100 * (sum(after[:2]) - sum(before[:2])) / _IDLE_S
    return f"{memory:.0f} MB (PSS), {abs(cpu):.1f} % of a core over {_IDLE_S:.0f} s, {children} other processes"


async def compare() -> str:
    bench = Bench()
    rows = ["| message | bare tmux | Phalanx |", "|---|---|---|"]
    counts = [0, 0]
    async with bench.team() as team, await team.connect() as client:
        await client.spawn(team.specialist())  # makes Claude Code trust the directory of the worktrees
        with bench.scratch() as scratch:
            bare = BareTmux(bench.claude, team, scratch)
            try:
                for case in CASES:
                    bench.say(case.what)
                    outcomes = [await bare.try_case(case), await by_phalanx(client, team, case)]
                    rows.append(f"| {case.what} | {outcomes[0].words} | {outcomes[1].words} |")
                    counts = [count + each.arrived for count, each in zip(counts, outcomes, strict=True)]
            finally:
                bare.end()
        rows.append(f"| **all that arrived** | **{counts[0]} of {len(CASES)}** | **{counts[1]} of {len(CASES)}** |")
        bench.say("an entry that nobody uses")
        idle = await asyncio.to_thread(idle_entry, team)
    table = "\n".join(rows)
    load = f"Load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end."
    return f"{_WORDS}{table}\n\n{load}\n\nA Claude that Phalanx is registered with, and that does not use it: {idle}.\n"


def main() -> None:
    page = asyncio.run(compare())
    PAGE.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
