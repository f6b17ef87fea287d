"""What it costs a lead in tokens to lead: being told of what happens below it, or asking again and again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_entry.cli.lead_watch import LeadWatch
from mcp_entry.sizes import CHARACTERS_A_TOKEN, size_of
from mcp_entry.tools import TOOLS
from scripts.benchmarks import claude_leads
from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from tests.acceptance.team import Team, bring_up

_MEMBERS, _MANY = 10, 100
_A_TASK_ENDS_EVERY_S = 12
_ASK_EVERY_S = 15
_PATIENCE_S = 300.0
_WAIT_S = 100
"""Claude Code sends a call to the background that takes over 120 s."""
_WORDS = f"""
All text that the model of a lead reads, where {CHARACTERS_A_TOKEN} characters are taken for a token: the descriptions
of the tools with the instructions, and the answers to its calls as the entry sends them (of an answer with structured
content that content, which is what Claude Code shows its model). *Leading ten*: {_MEMBERS} demo agents are started in
one call, each with a task that ends in a commit, one every {_A_TASK_ENDS_EVERY_S} s; the lead reads what each has said
at its end, and merges all branches in one call. *Told by notices*: the lines of the plugin's monitor. *Told by `wait`*:
a call until all are done, of at most {_WAIT_S} s, again and again. *Asking*: `list` every {_ASK_EVERY_S} s. What asking
costs grows with the time that the tasks take, what being told costs does not. *In the requests of Claude Code*: a real
one leads, with a stand-in of the API for its model, which sees what the lead is given: the definitions of the tools for
leading with what explains them (of Phalanx the instructions and the tools that are loaded; of Claude's own teams the
tools Agent and SendMessage), and all that comes after its first answer, whatever it is. Its own teammates work in
worktrees, and it merges their branches with one shell command; what it tells them to end is not in it.
"""


async def _measure(bench: Bench) -> Section:
    bench.say(f"a wait on {_MANY} of which two have settled")
    waited = await _wait_on_many(bench)
    bench.say(
        f"leading {_MEMBERS}: in three ways over the entry, and a real Claude Code with Phalanx and with its own teams"
    )
    led = asyncio.gather(*(_lead_ten(bench, way) for way in _WAYS.values()))
    of_claude = asyncio.gather(
        _claude_with_phalanx(bench), claude_leads.with_own_teams(bench, _MEMBERS, _A_TASK_ENDS_EVERY_S)
    )
    return _section(waited, dict(zip(_WAYS, await led, strict=True)), *await of_claude)


def _section(waited: int, led: Mapping[str, _Lead], ours: claude_leads.Read, own: claude_leads.Read) -> Section:
    (before,) = {each.before for each in led.values()}
    asking = led[_ASKING].all
    task = "leading ten through a task each and merging"
    rows = [
        ("tools/list and instructions of a lead", f"{before:,}", "", "≤ 5,000"),
        (f"`wait` on {_MANY} of which two have settled", f"{waited:,}", "", "≤ 600"),
        *(
            (f"{task}: {name}", f"{each.all:,}", f"{each.heard:,}", "" if name == _ASKING else f"≤ {asking // 2:,}")
            for name, each in led.items()
        ),
        (f"{task}: Claude Code with Phalanx, told by `wait`", f"{ours.all:,}", f"{ours.heard:,}", f"< {own.all:,}"),
        (f"{task}: Claude Code with its own agent teams", f"{own.all:,}", f"{own.heard:,}", ""),
    ]
    samples = {name: [float(each.before), float(each.heard)] for name, each in led.items()}
    samples |= {"Claude Code with Phalanx": [float(ours.tools), float(ours.heard)]}
    samples |= {"Claude Code with its own agent teams": [float(own.tools), float(own.heard)]}
    return Section(
        columns=("what a lead reads", "tokens", "of which after it has begun", "aim"),
        rows=rows,
        words=_WORDS,
        samples={f"{name}: tokens before, then heard": tokens for name, tokens in samples.items()},
    )


class _Lead:
    """A client of the entry that counts what its model would read, in characters."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._before = 0
        self._heard = 0

    @property
    def before(self) -> int:
        return round(self._before / CHARACTERS_A_TOKEN)

    @property
    def heard(self) -> int:
        return round(self._heard / CHARACTERS_A_TOKEN)

    @property
    def all(self) -> int:
        return self.before + self.heard

    async def reads_the_tools(self) -> None:
        tools = (await self._client.list_tools()).tools
        listed = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
        self._before = size_of(listed) + len(self._client.instructions or "")

    async def calls(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Raises ``RuntimeError`` when the call is refused."""
        result = await self._client.call_tool(tool, arguments)
        text = "".join(getattr(block, "text", "") for block in result.content)
        if result.is_error:
            raise RuntimeError(f"{tool} was refused: {text}")
        content: dict[str, Any] = result.structured_content or {}
        self._heard += len(text) if TOOLS[tool].text_is_answer else size_of(content)
        return content

    def hears(self, line: str) -> None:
        self._heard += len(line)


Way = Callable[[Team, _Lead, Sequence[str]], Awaitable[None]]
"""How a lead learns that its members are done; it has read the answer of each when this returns."""


async def _lead_ten(bench: Bench, way: Way) -> _Lead:
    async with _demo_team(bench, _MEMBERS) as team, _lead(team) as lead:
        await lead.reads_the_tools()
        spawned = await lead.calls("spawn_batch", instances=_members(team))
        ids = [str(each["instanceId"]) for each in spawned["instances"]]
        async with asyncio.timeout(_PATIENCE_S):
            await way(team, lead, ids)
        merged = await lead.calls("merge", instanceIds=ids)
        if not merged["success"]:
            raise RuntimeError(f"not merged: {merged}")
        return lead


def _members(team: Team) -> list[dict[str, Any]]:
    return [
        {
            "role": "specialist",
            "workDir": str(team.repository),
            "context": f"Write part_{number}.md, one page on part {number} of the project. Commit it when it is good, "
            f"and say in a sentence what you have found.\n@@demo busy {_A_TASK_ENDS_EVERY_S * number}\n"
            f"@@demo commit part_{number}.md The page on {number}.",
        }
        for number in range(1, _MEMBERS + 1)
    ]


async def _claude_with_phalanx(bench: Bench) -> claude_leads.Read:
    async with _demo_team(bench, _MEMBERS) as team:
        return await claude_leads.with_phalanx(bench, team, _members(team), _WAIT_S)


async def _told_by_notices(team: Team, lead: _Lead, ids: Sequence[str]) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    watch = asyncio.create_task(LeadWatch(team.connect, lines.put_nowait).run(), name="the plugin's monitor")
    try:
        left = set(ids)
        while left:
            line = await lines.get()
            lead.hears(line)
            done = [each for each in ids if each in left and each in line]
            for each in done:
                await lead.calls("read", instanceId=each, lines=1)
            left.difference_update(done)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _told_by_wait(_team: Team, lead: _Lead, ids: Sequence[str]) -> None:
    while not (await lead.calls("wait", instanceIds=list(ids), timeoutSeconds=_WAIT_S))["reached"]:
        pass
    for each in ids:
        await lead.calls("read", instanceId=each, lines=1)


async def _asking(_team: Team, lead: _Lead, ids: Sequence[str]) -> None:
    left = set(ids)
    while left:
        await asyncio.sleep(_ASK_EVERY_S)
        listed = (await lead.calls("list"))["instances"]
        ready = [each["instanceId"] for each in listed if each["status"] == "ready" and each["instanceId"] in left]
        for each in ready:
            await lead.calls("read", instanceId=each, lines=1)
        left.difference_update(ready)


_ASKING = "asking by `list`"
_WAYS: Mapping[str, Way] = {"told by notices": _told_by_notices, "told by `wait`": _told_by_wait, _ASKING: _asking}


async def _wait_on_many(bench: Bench) -> int:
    """Tokens of the longer of two answers: until one is done, and until all are, which takes longer than one waits."""
    async with _demo_team(bench, _MANY) as team, await team.connect() as client, _lead(team) as lead:
        contexts = ["Say hello."] * 2 + [f"Work.\n@@demo busy {_PATIENCE_S * 2}"] * (_MANY - 2)
        ids = (await start_batch(client, [team.specialist(each) for each in contexts])).ids
        await client.wait(requests.WaitRequest(instance_ids=ids[:2], timeout_seconds=_PATIENCE_S))
        answers = []
        for until, seconds in (("any_idle", _WAIT_S), ("idle", 1)):
            before = lead.heard
            waited = await lead.calls("wait", until=until, timeoutSeconds=seconds)
            if {each["instanceId"] for each in waited["instances"]} != set(ids[:2]):
                raise RuntimeError(f"others have settled: {waited}")
            answers.append(lead.heard - before)
        return max(answers)


@asynccontextmanager
async def _demo_team(bench: Bench, size: int) -> AsyncIterator[Team]:
    with bench.scratch() as directory:
        settings = {"PHALANX_AGENT": "demo", "MAX_CONCURRENT_SPAWNS": str(size)}
        team = await asyncio.to_thread(bring_up, directory, **settings)
        try:
            yield team
        finally:
            await asyncio.to_thread(team.runtime.down, lambda step: None)


@asynccontextmanager
async def _lead(team: Team) -> AsyncIterator[_Lead]:
    entry = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_entry"], env=dict(team.environment), cwd=Path.cwd()
    )
    async with Client(stdio_client(entry)) as client:
        yield _Lead(client)


PART = Part(name="leading", title="What it costs to lead", measure=_measure, page="leading")
