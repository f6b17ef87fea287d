"""One round from beginning to end: a team, its load, the kills, the time to recover, the checks."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from actors.processes import is_running
from tests.chaos import arrivals, checks, copies
from tests.chaos.killer import Killer
from tests.chaos.ledger import Ledger
from tests.chaos.load import LoadClient
from tests.chaos.plan import Call, Kill, expected_length_s, plan_calls, plan_letters
from tests.chaos.prober import Prober
from tests.chaos.survey import Found, Kind, alive
from tests.chaos.world import World, brought_up

CLIENTS = ("a", "b")
_WORK_S = "0.2"
"""How long an agent works on what it got; what comes meanwhile is held back and goes in one paste."""
_PAUSE_LIMIT_S = 20.0
"""How long a pause between kills waits for recovery."""
_SETTLE_S = 10.0
"""How long processes that are on their way out, or copies that are being brought up to date, are given at the end."""
_IDLE_FOR_S = 2.0
_IDLE_CORES = 0.5
_POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """``limit_s``: from the last kill until everything must be well. ``output``: a directory for what explains a
    failure."""

    seed: int
    kills: Sequence[Kill]
    output: Path
    instances: int = 20
    messages: int = 2000
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``arrivals`` and the ledger are for the figures. ``recovered_s`` counts from the last kill; None: not in time."""

    seed: int
    problems: list[str]
    ledger: Ledger
    arrivals: list[arrivals.Arrival]
    recovered_s: float | None

    def __str__(self) -> str:
        head = f"chaos: seed {self.seed}, ledger {self.ledger.path}, {len(self.ledger.kills)} kills"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


async def play(plan: RoundPlan) -> Outcome:
    """Raises only when the team cannot be brought up or spawned at all; all else is in the outcome."""
    ledger = Ledger(plan.output / "ledger.jsonl")
    ledger.note("round", seed=plan.seed, kills=len(plan.kills), messages=plan.messages)
    async with brought_up(PHALANX_DEMO_WORK_S=_WORK_S) as world:
        try:
            return await Round(plan, world, ledger).run()
        finally:
            await asyncio.to_thread(_keep, world, plan.output)


class Round:
    def __init__(self, plan: RoundPlan, world: World, ledger: Ledger) -> None:
        self._plan = plan
        self._world = world
        self._ledger = ledger
        self._sessions: dict[str, str] = {}
        """Instance by session."""
        self._contexts: dict[str, str] = {}
        self._agents: dict[str, tuple[int, float]] = {}
        self._problems: list[str] = []

    @property
    def _ids(self) -> list[str]:
        return list(self._contexts)

    async def run(self) -> Outcome:
        await self._spawn()
        prober = Prober(home=self._world.home, ledger=self._ledger, instance_ids=self._ids)
        recovered_s = await self._under_fire(prober)
        seen = self._arrivals()
        self._check_messages(seen)
        await self._check_team(prober)
        await self._check_store()
        await self._check_down()
        return Outcome(
            seed=self._plan.seed,
            problems=self._problems,
            ledger=self._ledger,
            arrivals=seen,
            recovered_s=recovered_s,
        )

    async def _spawn(self) -> None:
        """Through an entry, like everything else; the agents that run then must be the ones that run at the end."""
        members: list[dict[str, str]] = [
            {"role": "specialist", "workDir": str(self._world.repository), "context": f"You are number {number}."}
            for number in range(self._plan.instances)
        ]
        request_id = f"team-{self._plan.seed}"
        call = Call(due_s=0, tool="spawn_batch", arguments={"instances": members, "requestId": request_id})
        async with self._clients(CLIENTS[:1]) as (client,):
            done = asyncio.Event()
            done.set()
            await client.run([call], done)
        spawned = client.answers[request_id]["instances"]
        for member, result in zip(members, spawned, strict=True):
            if not result["success"]:
                raise RuntimeError(f"a member could not be spawned: {result['error']}")
            self._contexts[result["instanceId"]] = member["context"]
            self._sessions[result["sessionName"]] = result["instanceId"]
        self._agents = {each.instance_id: each.identity for each in alive(await self._world.survey(), Kind.AGENT)}

    @asynccontextmanager
    async def _clients(self, names: Sequence[str]) -> AsyncIterator[list[LoadClient]]:
        with (self._plan.output / "entries.log").open("a") as errors:
            yield [self._client(name, errors) for name in names]

    def _client(self, name: str, errors: TextIO) -> LoadClient:
        return LoadClient(
            name=name,
            entry=self._world.entry(name),
            ledger=self._ledger,
            errors=errors,
            begun_at=asyncio.get_running_loop().time(),
        )

    async def _under_fire(self, prober: Prober) -> float | None:
        """Load and kills side by side, then the time to recover. Returns how long that took after the last kill."""
        all_sent = asyncio.Event()
        async with self._clients(CLIENTS) as clients, asyncio.TaskGroup() as group:
            probing = group.create_task(prober.run())
            loads = [group.create_task(client.run(self._calls(client), all_sent)) for client in clients]
            killer = self._killer(clients)
            await killer.run(self._plan.kills, lambda: self._well(prober, _PAUSE_LIMIT_S))
            last_kill_at = max((kill.at for kill in self._ledger.kills), default=time.time())
            is_well = await self._all_arrived(prober, last_kill_at + self._plan.limit_s)
            recovered_s = time.time() - last_kill_at if is_well else None
            self._ledger.note("recovered", recovered_s=recovered_s)
            all_sent.set()
            _, unfinished = await asyncio.wait(loads, timeout=_SETTLE_S)
            for task in (probing, *unfinished):
                task.cancel()
        if recovered_s is None:
            self._problems.append(f"time: not recovered within {self._plan.limit_s:.0f} s of the last kill")
        return recovered_s

    def _calls(self, client: LoadClient) -> list[Call]:
        each = self._plan.messages // len(CLIENTS)
        first = 1 + CLIENTS.index(client.name) * each
        letters = plan_letters(self._plan.seed, client.name, self._ids, range(first, first + each))
        self._ledger.expect(letters)
        return plan_calls(self._plan.seed, client.name, letters, expected_length_s(self._plan.kills))

    def _killer(self, clients: Sequence[LoadClient]) -> Killer:
        return Killer(
            home=self._world.home,
            run_id=self._world.run_id,
            seed=self._plan.seed,
            ledger=self._ledger,
            redis=self._world.redis,
            clients=clients,
            instance_ids=self._ids,
        )

    async def _well(self, prober: Prober, patience_s: float) -> None:
        """Waits until what was accepted so far has arrived and everybody is listed and alive."""
        deadline = time.monotonic() + patience_s
        expected = self._ledger.accepted.keys()
        while time.monotonic() < deadline:
            there = {each.message_id for each in self._arrivals()}
            if prober.last is not None and not prober.last.needs_attention and expected <= there:
                return
            await asyncio.sleep(_POLL_S)
        self._ledger.note("not well in a pause", patience_s=patience_s)

    async def _all_arrived(self, prober: Prober, until: float) -> bool:
        """Whether every letter was sent and has arrived, and the list says so, before ``until`` (s since the epoch)."""
        while time.time() < until:
            fates = self._ledger.fates.values()
            if all(fate.message_id or fate.refusal for fate in fates) and prober.is_well:
                there = {each.message_id for each in self._arrivals()}
                if self._ledger.accepted.keys() <= there:
                    return True
            await asyncio.sleep(_POLL_S)
        return False

    def _arrivals(self) -> list[arrivals.Arrival]:
        return arrivals.read_demo(self._world.home.instances, self._ids)

    def _check_messages(self, seen: Sequence[arrivals.Arrival]) -> None:
        fates = list(self._ledger.fates.values())
        self._problems += [
            *checks.every_call_was_answered(self._ledger),
            *checks.every_accepted_message_stands_once(fates, seen),
            *checks.every_text_is_exact(fates, seen),
            *checks.nothing_else_arrived(fates, seen, self._contexts),
            *checks.order_is_kept(fates, seen),
            *checks.list_never_told_a_wrong_story(self._ledger),
        ]

    async def _check_team(self, prober: Prober) -> None:
        problems = await self._team_problems(prober)
        deadline = time.monotonic() + _SETTLE_S
        while problems and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
            problems = await self._team_problems(prober)
        self._problems += problems
        found = await self._world.survey()
        self._problems += checks.idle_team_is_quiet(await _cores_used(found), _IDLE_CORES)

    async def _team_problems(self, prober: Prober) -> list[str]:
        found = await self._world.survey()
        listed = await prober.probe()
        panes = await self._world.sessions()
        return [
            *checks.no_agent_was_restarted(
                self._agents, [(each.instance_id, each.identity) for each in alive(found, Kind.AGENT)]
            ),
            *checks.registry_panes_and_actors_agree(
                self._ids,
                listed=[each.instance_id for each in listed.instances] if listed else [],
                panes=[self._sessions.get(session, session) for session in panes],
                actors=[each.instance_id for each in alive(found, Kind.INSTANCE)],
            ),
            *checks.no_orphan(found, self._plan.instances),
        ]

    async def _check_store(self) -> None:
        """Waits a moment for Redis to be brought up to date."""
        deadline = time.monotonic() + _SETTLE_S
        while True:
            both = await copies.read(self._world.home, self._world.redis.url)
            problems = checks.copies_are_equal(both.file, both.redis) if both else []
            if not problems or time.monotonic() > deadline:
                break
            await asyncio.sleep(_POLL_S)
        self._problems += problems
        if both:
            self._problems += checks.receipts_say_submitted(self._ledger.fates.values(), copies.statuses(both.file))

    async def _check_down(self) -> None:
        await asyncio.to_thread(self._world.runtime.down)
        self._problems += checks.nothing_is_left(await self._world.survey())


async def _cores_used(found: Sequence[Found]) -> float:
    team = [each.process for each in found if each.kind is not Kind.REDIS]

    def used_s() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in team if is_running(process))

    before = await asyncio.to_thread(used_s)
    await asyncio.sleep(_IDLE_FOR_S)
    return (await asyncio.to_thread(used_s) - before) / _IDLE_FOR_S


def _keep(world: World, output: Path) -> None:
    """What explains a failure, before the home goes: its logs and state, the instances' records, Ray's logs."""
    home = world.home
    for directory in (home.logs, home.instances, *home.ray_directory.glob("session_2*/logs")):
        if directory.is_dir():
            shutil.copytree(
                directory, output / directory.parent.name / directory.name, ignore=_sockets, dirs_exist_ok=True
            )
    for path in (*home.root.glob("state.db*"), home.team_file):
        if path.exists():
            shutil.copy2(path, output / path.name)


def _sockets(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if not (Path(directory) / name).is_file() and not (Path(directory) / name).is_dir()]
