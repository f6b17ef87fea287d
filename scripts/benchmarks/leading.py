"""What it costs a lead in tokens to be told of what happens below it, against asking again and again."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from actors.home import Home
from mcp_entry.sizes import CHARACTERS_A_TOKEN
from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.section import Part, Section
from scripts.benchmarks.telling import until_idle
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up
from tests.standin.api import Answer, ApiStandIn, Json, text_block, tool_block, tool_results
from tests.standin.claude_home import make_claude_home, standin_environment

_MEMBERS = 10
_TASKS_END_EVERY_S = (5, 15)
_ASK_EVERY_S = 5
_WORDS = f"""
A manager, a real Claude Code against a stand-in of the API, leads {_MEMBERS} specialists through one task each; the
tasks end one after another. Told, it answers each message of the team. Asking, it runs `phalanx list` with pauses of
{_ASK_EVERY_S} s in one turn, and `phalanx read` for who has become idle. Tokens are those of the manager's requests as
its transcript has them, where the stand-in counts {CHARACTERS_A_TOKEN} characters of a request as one; nothing is taken
off for a cache, and most of each request is Claude Code's own. A request costs the whole conversation again, so what
counts is how many there are: told, one for each message at most, however long the tasks take; asking, one a look. On a
machine that is busy a look takes longer, so there are fewer.
"""


async def _measure(bench: Bench) -> Section:
    rows, samples = [], {}
    for every_s in _TASKS_END_EVERY_S:
        costs = []
        for asks in (False, True):
            bench.say(f"leading {_MEMBERS} whose tasks end every {every_s} s by {'asking' if asks else 'being told'}")
            async with _counting_team(bench) as (api, team), await team.connect() as client:
                costs.append(await _Leading(api, team, client).cost(every_s, asks=asks))
        (_, told), (_, asking) = costs
        cells = [f"{count} requests, {tokens:,} tokens" for count, tokens in costs]
        rows.append((f"a task ends every {every_s} s", *cells, f"{asking / told:.1f}"))
        name = f"requests and tokens, told, then asking, a task ends every {every_s} s"
        samples[name] = [float(number) for cost in costs for number in cost]
    columns = ("ten members, one task each", "told", "asking", "tokens, asking to told")
    return Section(columns=columns, rows=rows, words=_WORDS, samples=samples)


class _CountingApi(ApiStandIn):
    """Says of each request how long it was."""

    def answer(self, request: Json) -> Answer:
        answer = ApiStandIn.answer(self, request)
        answer.input_tokens = round(len(json.dumps(request)) / CHARACTERS_A_TOKEN)
        return answer


@asynccontextmanager
async def _counting_team(bench: Bench) -> AsyncIterator[tuple[ApiStandIn, Team]]:
    with bench.scratch() as directory, _CountingApi() as api:
        user = make_claude_home(directory / "user")
        (user / ".claude").mkdir(exist_ok=True)
        (user / ".claude" / "settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash"]}}))
        environment = standin_environment(api.url, user)
        settings = {"PHALANX_CLAUDE_COMMAND": str(bench.claude), "MAX_CONCURRENT_SPAWNS": str(_MEMBERS)}
        team = await asyncio.to_thread(bring_up, directory, **environment, **settings)
        try:
            yield api, team
        finally:
            await asyncio.to_thread(team.runtime.down, lambda step: None)


class _Leading:
    """A manager and its specialists."""

    def __init__(self, api: ApiStandIn, team: Team, client: SupervisorClient) -> None:
        self._api = api
        self._team = team
        self._client = client

    async def cost(self, every_s: int, *, asks: bool) -> tuple[int, int]:
        """Requests to the model and tokens that the manager took for the task."""
        lead = (await self._client.spawn(self._team.specialist("You lead.", role=Role.MANAGER))).instance_id
        parent = None if asks else lead
        members = [self._team.specialist("Wait for your task.", parent_id=parent)] * _MEMBERS
        ids = (await start_batch(self._client, members)).ids
        await until_idle(self._client, [lead, *ids])
        before = await self._tokens(lead), len(self._of(lead))
        messages = [
            requests.BatchMessage(instance_id=one, message=f"@@slow {every_s * number}\nThe report of {one}.")
            for number, one in enumerate(ids, 1)
        ]
        if asks:
            self._api.scripts["ask"] = [_Asking(self._team.home, ids).step]
            messages.append(requests.BatchMessage(instance_id=lead, message="@@script ask"))
        await self._client.send_batch(requests.SendBatchRequest(messages=messages, wait=True))
        await until_idle(self._client, [lead, *ids])
        return len(self._of(lead)) - before[1], await self._tokens(lead) - before[0]

    def _of(self, instance_id: str) -> list[Json]:
        """The lead's requests that go on with its conversation."""
        words = f"You are {instance_id},"
        return [each for each in self._api.requests if each.get("tools") and words in json.dumps(each.get("system"))]

    async def _tokens(self, instance_id: str) -> int:
        listed = await self._client.list(requests.ListRequest(instance_ids=[instance_id]))
        use = listed.instances[0].tokens
        return use.input + use.output + use.cache_read + use.cache_creation


class _Asking:
    """What a lead does that asks: it lists all, reads who has become idle, and ends when it has read each."""

    def __init__(self, home: Home, ids: Sequence[str]) -> None:
        self._phalanx = f"PHALANX_HOME={shlex.quote(str(home.root))} {Path(sys.executable).parent / 'phalanx'}"
        self._ids = ids
        self._idle: list[str] = []
        self._read: set[str] = set()

    def step(self, messages: list[Json]) -> Json:
        for line in "\n".join(tool_results(messages[-1])).splitlines():
            words = line.split()
            if words and words[0] in self._ids and "ready" in words and words[0] not in self._idle:
                self._idle.append(words[0])
        unread = [one for one in self._idle if one not in self._read]
        self._read.update(unread)
        if len(self._read) == len(self._ids) and not unread:
            return text_block("All have reported.")
        commands = [f"{self._phalanx} read {one} --lines 1" for one in unread]
        if not unread:
            commands = [f"sleep {_ASK_EVERY_S}", f"{self._phalanx} list"]
        return tool_block("Bash", {"command": "; ".join(commands), "description": "See how they are"})


PART = Part(name="leading", title="What it costs to lead", measure=_measure, page="leading")
