"""What a short command of ``phalanx`` takes, start to end, and ``phalanx send`` until its message is proved."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from scripts.benchmarks.bare_claude import BareClaudes
from scripts.benchmarks.bench import Bench, start_batch, timed
from scripts.benchmarks.section import Figure, Part, Section, of_figures
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_WORDS = """
The programs are started as a shell starts them, one after another, each pair of ours and its floor in turn. *floor* of
what types nothing, and of a message to a demo agent: a Python that does nothing. *floor* of a message to Claude: the
bare program in a tmux session, pasted into and entered, until its own transcript holds the text. `send --wait` ends
when the message is proved to be in the conversation. A short command runs in a fork of the command server, which the
first one left behind (the first pair of each row does not count), and else loads the command line itself.
"""
_PAIRS = 15
_LIMIT_S = 60.0
_SIZE = 20
_BY_ITSELF = {"PYTHONIOENCODING": "utf-8"}
"""A command server runs only commands of programs whose Python is set as its own."""
PHALANX = str(Path(sys.executable).with_name("phalanx"))


async def _measure(bench: Bench) -> Section:
    async with bench.team() as team, await team.connect() as client:
        environment = {**os.environ, **team.environment, "PHALANX_HOME": str(team.home.root)}
        bench.say(f"commands beside {_SIZE} demo agents")
        ids = (await start_batch(client, [team.specialist(agent="demo")] * _SIZE)).ids
        await client.wait(requests.WaitRequest(instance_ids=ids))
        figures = [
            await _figure("`phalanx --version`", ["--version"], environment),
            await _figure("`phalanx --help`", ["--help"], environment, aim="≤ 150 ms"),
            await _figure(f"`phalanx list` of {_SIZE} instances", ["list"], environment, aim="≤ 250 ms"),
            await _figure("the same without a command server", ["list"], {**environment, **_BY_ITSELF}),
            await _figure("`phalanx status`", ["status"], environment),
            await _send_to_demo(ids[0], environment),
        ]
        for each in ids:
            await client.terminate(requests.TerminateRequest(instance_id=each))
        bench.say("messages to a real Claude, and to the bare program in turn")
        with bench.scratch() as scratch, BareClaudes(bench.claude, scratch / "bare.sock", team.environment) as bare:
            figures.append(await _send_to_claude(client, team, bare, environment))
    return of_figures(figures, _WORDS)


async def _figure(what: str, words: Sequence[str], environment: Mapping[str, str], aim: str = "") -> Figure:
    return await _pairs(
        f"{what}; floor: a bare Python", lambda _: _run([PHALANX, *words], environment), environment, aim
    )


async def _pairs(
    what: str, ours: Callable[[int], Awaitable[None]], environment: Mapping[str, str], aim: str = ""
) -> Figure:
    """Beside a Python that does nothing. The first pair does not count."""
    samples, floor = [], []
    for number in range(_PAIRS + 1):
        ours_ms = (await timed(ours(number)))[0]
        bare_ms = (await timed(_run([sys.executable, "-c", "pass"], environment)))[0]
        if number:
            samples.append(ours_ms)
            floor.append(bare_ms)
    return Figure(what=what, aim=aim, samples=samples, floor=floor)


async def _send_to_demo(instance_id: str, environment: Mapping[str, str]) -> Figure:
    async def send(number: int) -> None:
        await _run([PHALANX, "send", instance_id, f"message {number}", "--wait"], environment)

    return await _pairs("`phalanx send --wait` to a demo agent; floor: a bare Python", send, environment)


async def _send_to_claude(
    client: SupervisorClient, team: Team, bare: BareClaudes, environment: Mapping[str, str]
) -> Figure:
    spawned = await client.spawn(team.specialist())
    alone = await bare.start(Path(spawned.working_directory).parent)
    samples, floor = [], []
    for number in range(_PAIRS + 1):
        await client.wait(requests.WaitRequest(instance_ids=[spawned.instance_id]))
        begun = time.perf_counter()
        await _run([PHALANX, "send", spawned.instance_id, f"message {number}", "--wait"], environment)
        ours_ms = (time.perf_counter() - begun) * 1000
        await alone.idle()
        bare_ms = (await timed(alone.message(f"message {number}.")))[0]
        if number:
            samples.append(ours_ms)
            floor.append(bare_ms)
    await client.terminate(requests.TerminateRequest(instance_id=spawned.instance_id))
    bare.end(alone)
    return Figure(
        what="`phalanx send --wait` to an idle Claude; floor: the bare program",
        aim="≤ 300 ms",
        samples=samples,
        floor=floor,
    )


async def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Raises ``CalledProcessError`` unless it ends with 0."""
    await asyncio.to_thread(
        subprocess.run, command, env=environment, stdout=subprocess.PIPE, timeout=_LIMIT_S, check=True
    )


PART = Part(name="commands", title="Short commands", measure=_measure)
