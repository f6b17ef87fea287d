"""Kills of single processes of a team's Ray at chosen moments, while somebody waits for an answer of the team.

``Strikes`` carries one plan out over a real entry: it lets calls of ``list`` follow each other without a pause, kills,
and tells how long a call had to wait, counted from the last kill before its answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random

import psutil
from mcp.client.client import Client

from actors.home import Home
from actors.processes import is_running

ANSWER_S = 120.0
_APPEARS_S = 15.0
_LOOK_EVERY_S = 0.01
_CALL_EVERY_S = 0.05
_LATEST_S = 1.5
"""A kill comes at most so long after its victim appeared: by then the next part of Ray is starting."""
_WORDS = 6


class Victim(StrEnum):
    """Which process, by a word of its title or of the beginning of its command line."""

    BRING_UP = "supervisor.runtime"
    BOOT = "supervisor.boot"
    HEAD = "ray.scripts.scripts"
    GCS = "/gcs_server"
    DASHBOARD = "dashboard/dashboard.py"
    RAYLET = "/raylet/raylet"
    NODE_AGENT = "/dashboard/agent.py"
    ENVIRONMENT_AGENT = "runtime_env/agent/main.py"
    WORKER = "/workers/default_worker.py"
    SUPERVISOR = "ray::_Supervisor"
    SUPERVISOR_BEGINS = "ray::supervisor:"
    HOST = "ray::_Host"
    HOST_BEGINS = "ray::host:"


STARTING = tuple(Victim)
RUNNING = tuple(each for each in Victim if each not in (Victim.BRING_UP, Victim.BOOT))
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


@dataclass(slots=True, kw_only=True)
class Strikes:
    """``waits_s``: one for each plan, the longest that a call waited after a kill."""

    home: Home
    client: Client
    refusals: list[str] = field(default_factory=list)
    _struck_at: float = 0.0
    _longest_s: float = 0.0
    _answered_at: float = 0.0

    async def carry_out(self, plan: Plan) -> tuple[int, float]:
        """How many were killed, and the longest wait for an answer after a kill, in seconds."""
        self._longest_s = self._answered_at = 0.0
        if plan.while_starting:
            self._kill_all()
        self._struck_at = time.monotonic()
        done = asyncio.Event()
        calling = asyncio.create_task(self._call(done))
        struck: set[psutil.Process] = set()
        for kill in plan.kills:
            process = await self._appeared(kill.victim, struck)
            if process is None:
                break
            await asyncio.sleep(kill.after_s)
            if is_running(process):
                process.kill()
                self._struck_at = time.monotonic()
            struck.add(process)
        done.set()
        await calling
        return len(struck), self._longest_s

    async def _appeared(self, victim: Victim, before: set[psutil.Process]) -> psutil.Process | None:
        deadline = time.monotonic() + _APPEARS_S
        while time.monotonic() < deadline:
            fresh = [each for each in find(self.home, victim) if each not in before]
            if fresh:
                return fresh[0]
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def _call(self, done: asyncio.Event) -> None:
        """Until two calls were answered that were made after the last kill, a while apart."""
        answered = 0
        while not (done.is_set() and answered > 1):
            begun = time.monotonic()
            async with asyncio.timeout(ANSWER_S):
                answer = await self.client.call_tool("list", {}, read_timeout_seconds=2 * ANSWER_S)
            now = time.monotonic()
            self._longest_s = max(self._longest_s, now - max(begun, self._struck_at))
            if answer.is_error:
                self.refusals.append("".join(getattr(block, "text", "") for block in answer.content))
            answered = answered + 1 if done.is_set() and begun > self._struck_at else 0
            await asyncio.sleep(_CALL_EVERY_S if not done.is_set() or answered == 0 else 3.0)

    def _kill_all(self) -> None:
        mark = f"RAY_AUTH_TOKEN_PATH={self.home.ray_token_file}".encode()
        for directory in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, psutil.Error):
                if mark in (directory / "environ").read_bytes().split(b"\0"):
                    psutil.Process(int(directory.name)).kill()
