"""Kills of single processes of a team's Ray at chosen moments, while somebody waits for an answer of the team.

``Strikes`` carries plans out over a real entry: it lets calls of ``list`` follow each other, kills meanwhile, and tells
how long a call had to wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

import psutil
from mcp.client.client import Client

from actors.home import Home
from actors.processes import is_running

ANSWER_S = 120.0
_APPEARS_S = 60.0
_ENDED_S = 10.0
_ALL_IS_THERE_S = 2.0
"""Since the team answers: who has not appeared by then does not come."""
_LOOK_EVERY_S = 0.01
_CALL_EVERY_S = 0.05
_LATEST_S = 1.5
"""A kill comes at most so long after its victim appeared: by then the next part of Ray is starting."""
_WORDS = 6


class Victim(StrEnum):
    """Which process, by a word of its title or of the beginning of its command line."""

    BRING_UP = "supervisor.runtime"
    BOOT = "supervisor.boot"
    HEAD = "ray_processes.ray_start"
    HEAD_WAITS = "ray_processes/head_wait.py"
    GCS = "/gcs_server"
    RAYLET = "/raylet/raylet"
    NODE_AGENT = "/dashboard/agent.py"
    ENVIRONMENT_AGENT = "runtime_env/agent/main.py"
    FORK_SERVER = "ray_processes.fork_server"
    WORKER = "ray_processes/worker.py"
    SUPERVISOR = "ray::_Supervisor"
    SUPERVISOR_BEGINS = "ray::supervisor:"
    HOST = "ray::_Host"
    HOST_BEGINS = "ray::host:"


STARTING = tuple(Victim)
RUNNING = tuple(each for each in Victim if each not in (Victim.BRING_UP, Victim.BOOT, Victim.HEAD))
_TITLES = {"ray::DashboardAgent": Victim.NODE_AGENT, "ray::RuntimeEnvAgent": Victim.ENVIRONMENT_AGENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """``after_s``: since the victim appeared, or for one that was there since the last kill."""

    victim: Victim
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``while_starting``: all of Ray is killed first, so that the kills hit the Ray that the call brings back."""

    while_starting: bool
    kills: tuple[Kill, ...]

    def __str__(self) -> str:
        kills = ", then ".join(f"{each.victim.name.lower()} +{each.after_s:.2f} s" for each in self.kills)
        return f"{'starting' if self.while_starting else 'running'}: {kills}"


_CALLED = "optimize_settings"
"""A tool that acts, because one that only reads starts no first team; without arguments it changes nothing."""


def plans(seed: int, count: int) -> list[Plan]:
    """Every victim in turn, in the order that the seed gives; every second one is struck twice."""
    chance = Random(seed)  # noqa: S311 - a schedule, no secret
    made: list[Plan] = []
    while len(made) < count:
        starting = [(True, victim) for victim in chance.sample(STARTING, len(STARTING))]
        running = [(False, victim) for victim in chance.sample(RUNNING, len(RUNNING))]
        order = [*starting, *running]
        chance.shuffle(order)
        for while_starting, victim in order:
            times = chance.choice((1, 2))
            kills = tuple(Kill(victim=victim, after_s=chance.uniform(0, _LATEST_S)) for _ in range(times))
            made.append(Plan(while_starting=while_starting, kills=kills))
    return made[:count]


def find(home: Home, victim: Victim) -> list[psutil.Process]:
    """The living ones of this home."""
    mark = f"PHALANX_HOME={home.root}".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, psutil.Error):
            command = (directory / "cmdline").read_bytes().split(b"\0")[:_WORDS]
            if _is(victim, command) and mark in (directory / "environ").read_bytes().split(b"\0"):
                process = psutil.Process(int(directory.name))
                found += [process] if is_running(process) else []
    return found


def _is(victim: Victim, command: Sequence[bytes]) -> bool:
    words = [word.decode(errors="replace") for word in command]
    if any(words[:1] == [title] or words[0].startswith(f"{title} ") for title in _TITLES):
        return _TITLES[words[0].split()[0]] is victim
    return any(word.startswith(victim) if victim.startswith("ray::") else victim in word for word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What came of a plan. ``killed`` may be less than planned: not everybody is there each time. ``longest_s``: that a
    call waited for its answer, counted from the last kill before it."""

    plan: Plan
    killed: int
    longest_s: float
    refusals: tuple[str, ...]

    def __str__(self) -> str:
        refused = f"; refused: {self.refusals[0]}" if self.refusals else ""
        return f"{self.longest_s:6.1f} s  {self.killed} killed  {self.plan}{refused}"


class Strikes:
    """``is_whole``: whether nothing of the team is missing; it blocks."""

    def __init__(self, home: Home, client: Client, is_whole: Callable[[], bool]) -> None:
        self._home = home
        self._client = client
        self._is_whole = is_whole
        self._struck_at = 0.0
        self._longest_s = 0.0
        self._answered_at = math.inf
        self._refusals: list[str] = []

    async def carry_out(self, plan: Plan) -> Struck:
        """Returns when the team is whole and has answered once more."""
        if plan.while_starting:
            await asyncio.to_thread(kill_all, self._home)
        self._struck_at, self._longest_s, self._answered_at = time.monotonic(), 0.0, math.inf
        self._refusals = []
        last_kill_done = asyncio.Event()
        calling = asyncio.create_task(self._call_until_answered_after(last_kill_done))
        struck: set[psutil.Process] = set()
        for kill in plan.kills:
            process = await self._appeared(kill.victim, struck)
            if process is None:
                break
            await asyncio.sleep(kill.after_s)
            with suppress(psutil.NoSuchProcess):
                process.kill()
                self._struck_at, self._answered_at = time.monotonic(), math.inf
                struck.add(process)
        last_kill_done.set()
        await calling
        return Struck(
            plan=plan, killed=len(struck), longest_s=self._longest_s, refusals=tuple(dict.fromkeys(self._refusals))
        )

    async def _appeared(self, victim: Victim, before: Collection[psutil.Process]) -> psutil.Process | None:
        """None when none comes: what brings the team up is not there in each case, nor again after each kill."""
        begun = time.monotonic()
        while time.monotonic() < min(begun + _APPEARS_S, self._answered_at + _ALL_IS_THERE_S):
            fresh = [each for each in find(self._home, victim) if each not in before]
            if fresh:
                return fresh[0]
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def _call_until_answered_after(self, last_kill_done: asyncio.Event) -> None:
        while not last_kill_done.is_set():
            await self._call()
            await asyncio.sleep(_CALL_EVERY_S)
        await self._call()
        async with asyncio.timeout(ANSWER_S):
            while not await asyncio.to_thread(self._is_whole):  # a Ray that has lost a part still answers for a moment
                await self._call()
                await asyncio.sleep(_CALL_EVERY_S)
        await self._call()

    async def _call(self) -> None:
        begun = time.monotonic()
        async with asyncio.timeout(ANSWER_S):
            answer = await self._client.call_tool(_CALLED, {}, read_timeout_seconds=2 * ANSWER_S)
        now = time.monotonic()
        self._longest_s = max(self._longest_s, now - max(begun, self._struck_at))
        if begun > self._struck_at or now - self._struck_at > _CALL_EVERY_S:
            self._answered_at = min(self._answered_at, now)
        if answer.is_error:
            self._refusals.append("".join(getattr(block, "text", "") for block in answer.content))


def kill_all(home: Home) -> None:
    """All of Ray, and nothing of the agents and their terminal; returns when they have ended."""
    mark = f"RAY_AUTH_TOKEN_PATH={home.ray_token_file}".encode()
    killed = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, psutil.Error):
            if mark in (directory / "environ").read_bytes().split(b"\0"):
                killed.append(psutil.Process(int(directory.name)))
                killed[-1].kill()
    psutil.wait_procs(killed, _ENDED_S)


def table(struck: Sequence[Struck]) -> str:
    """By victim and phase: how many kills, and how long the longest wait of each plan was."""
    rows = [f"{'killed':32} {'kills':>5} {'p50':>7} {'most':>7}"]
    by_name: dict[str, list[Struck]] = {}
    for each in struck:
        phase = "while starting" if each.plan.while_starting else "while running"
        victim = each.plan.kills[0].victim.name.lower() if each.plan.kills else "nothing else"
        by_name.setdefault(f"{victim} {phase}", []).append(each)
    for name, those in [*sorted(by_name.items()), ("all", list(struck))]:
        waits = sorted(each.longest_s for each in those)
        kills = sum(each.killed for each in those)
        rows.append(f"{name:32} {kills:5} {waits[len(waits) // 2]:5.1f} s {waits[-1]:5.1f} s")
    return "\n".join(rows)
