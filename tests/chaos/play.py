"""One round from beginning to end: a team, its load, the kills, the time to recover, the verdict."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import copies
from tests.chaos.arrivals import Arrival
from tests.chaos.crews import Crew, demo_crew
from tests.chaos.decider import Decider
from tests.chaos.killer import Killer
from tests.chaos.ledger import Ledger
from tests.chaos.load import LoadClient
from tests.chaos.plan import Call, Kill, expected_length_s, plan_calls, plan_letters
from tests.chaos.prober import Prober
from tests.chaos.survey import Kind, alive
from tests.chaos.verdict import Spawned, Verdict
from tests.chaos.visitor import Visitor
from tests.chaos.visits import Act, plan_visits
from tests.chaos.world import World, brought_up
from tests.people import People
from tests.projects import make_repository

CLIENTS = ("a", "b")
_NAMES = ("ada", "bea", "caf", "dag")
"""Of people; letters that answer no dialog."""
_MOST_VISITS = 1000
_PAUSE_LIMIT_S = 20.0
"""How long a pause between kills waits for recovery."""
_LEAVE_S = 10.0
"""How long clients that have nothing more to do may take to close their entries."""
_POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """``limit_s``: from the last kill until all must have arrived, panes, actors and registry must be the same set, and
    no process may be left over. ``output``: a directory for what explains a failure."""

    seed: int
    kills: Sequence[Kill]
    output: Path
    crew: Crew = field(default_factory=demo_crew)
    instances: int = 20
    messages: int = 2000
    spares: int = 0
    """Spare agents that are kept ready; the first instances are made of them."""
    people: int = 0
    """Who sit at terminals meanwhile. With them agents ask for permissions, which a lead answers."""
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``arrivals`` and the ledger are for the figures. ``recovered_s`` counts from the last kill; None: not in time."""

    seed: int
    problems: list[str]
    ledger: Ledger
    arrivals: list[Arrival]
    recovered_s: float | None
    load: float
    """The machine's load average when the clients had done their work, its other users included."""

    def __str__(self) -> str:
        recovered = "not recovered" if self.recovered_s is None else f"recovered after {self.recovered_s:.1f} s"
        load = f"load average {self.load:.0f} on {os.cpu_count()} cores, {self.ledger.path}"
        people = f", {self.ledger.visits} visits, {self.ledger.decisions} decisions" if self.ledger.visits else ""
        head = f"chaos: seed {self.seed}, {len(self.ledger.kills)} kills{people}, {recovered}, {load}"
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])


async def play(plan: RoundPlan) -> Outcome:
    """Raises only when the team cannot be brought up or spawned at all; all else is in the outcome."""
    ledger = Ledger(plan.output / "ledger.jsonl")
    ledger.note("round", seed=plan.seed, kills=len(plan.kills), messages=plan.messages)
    pool = {"PREWARM_INSTANCES": str(plan.spares)}
    async with brought_up({**plan.crew.environment, **pool}) as world:
        try:
            return await Round(plan, world, ledger).run()
        finally:
            await asyncio.to_thread(world.keep, plan.output)


class Round:
    def __init__(self, plan: RoundPlan, world: World, ledger: Ledger) -> None:
        self._plan = plan
        self._world = world
        self._ledger = ledger
        self._spawned = Spawned(spares=plan.spares)
        self._not_yet: list[str] = []
        """What was still wrong when the team was looked at last."""

    async def run(self) -> Outcome:
        await self._spawn()
        prober = Prober(home=self._world.home, ledger=self._ledger, instance_ids=self._spawned.ids)
        verdict = Verdict(world=self._world, ledger=self._ledger, spawned=self._spawned, prober=prober)
        recovered_s = await self._under_fire(prober, verdict)
        seen, load = self._arrivals(), os.getloadavg()[0]
        ran = self._plan.crew.ran(self._spawned.directories(self._world.home))
        late = [f"time: not recovered within {self._plan.limit_s:.0f} s of the last kill", *self._not_yet]
        return Outcome(
            seed=self._plan.seed,
            problems=(late if recovered_s is None else []) + await verdict.problems(seen, ran),
            ledger=self._ledger,
            arrivals=seen,
            recovered_s=recovered_s,
            load=load,
        )

    async def _spawn(self) -> None:
        """Through an entry, like everything else; the agents that run then must be the ones that run at the end."""
        members: list[dict[str, str]] = [
            {
                "role": "specialist",
                "workDir": str(self._project(number)),
                "context": f"You are number {number}.",
                "permissionMode": "default",
            }
            for number in range(self._plan.instances)
        ]
        request_id = f"team-{self._plan.seed}"
        calls = [Call(due_s=0, tool="spawn_batch", arguments={"instances": members, "requestId": request_id})]
        if self._plan.spares:
            wanted = {"instances": self._plan.spares, "workDir": str(self._world.repository)}
            calls.insert(0, Call(due_s=0, tool="prewarm_resources", arguments=wanted))
        async with self._clients(CLIENTS[:1]) as (client,):
            done = asyncio.Event()
            done.set()
            await client.run(calls, done)
        for member, result in zip(members, client.answers[request_id]["instances"], strict=True):
            if not result["success"]:
                raise RuntimeError(f"a member could not be spawned: {result['error']}")
            self._spawned.contexts[result["instanceId"]] = member["context"]
            self._spawned.sessions[result["sessionName"]] = result["instanceId"]
        if self._plan.spares and not any(each.get("fromPool") for each in client.answers[request_id]["instances"]):
            raise RuntimeError("none of the spare agents was given to a member")
        self._spawned.places.update(copies.places(await asyncio.to_thread(copies.in_file, self._world.home)))
        team, _ = self._spawned.divide(await self._world.survey())
        agents = alive(team, Kind.AGENT)
        self._spawned.agents.update({each.instance_id: each.identity for each in agents})

    def _project(self, number: int) -> Path:
        """Each has one of its own where people resume: Claude Code offers the conversations of a whole repository."""
        if Act.RESUME not in self._plan.crew.acts:
            return self._world.repository
        return make_repository(self._world.repository.with_name(f"project{number}"))

    @asynccontextmanager
    async def _clients(self, names: Sequence[str]) -> AsyncIterator[list[LoadClient]]:
        begun_at = asyncio.get_running_loop().time()
        with (self._plan.output / "entries.log").open("a") as errors:
            yield [
                LoadClient(
                    name=name, entry=self._world.entry(name), ledger=self._ledger, errors=errors, begun_at=begun_at
                )
                for name in names
            ]

    async def _under_fire(self, prober: Prober, verdict: Verdict) -> float | None:
        """Load and kills side by side, then the time to recover. Returns how long that took after the last kill."""
        over, going_home = asyncio.Event(), asyncio.Event()
        async with self._people() as people, self._clients(CLIENTS) as clients, asyncio.TaskGroup() as group:
            probing = group.create_task(prober.run())
            deciding = group.create_task(self._decider.run())
            visiting = [group.create_task(self._visits(person, going_home)) for person in people]
            loads = [group.create_task(client.run(self._calls(client), over)) for client in clients]
            await self._killer(clients).run(self._plan.kills, lambda: self._well(prober))
            going_home.set()
            last_kill_at = max((kill.at for kill in self._ledger.kills), default=time.time())
            if visiting:  # what still stands in an input box holds messages up until somebody clears it
                await asyncio.wait(visiting)
                last_kill_at = time.time()
            for client in clients:
                client.in_a_hurry.set()
            is_well = await self._all_well(prober, verdict, last_kill_at)
            recovered_s = time.time() - last_kill_at if is_well else None
            self._ledger.note("recovered", recovered_s=recovered_s)
            over.set()
            _, unfinished = await asyncio.wait(loads, timeout=_LEAVE_S)
            for task in (probing, deciding, *unfinished):
                task.cancel()
        return recovered_s

    @asynccontextmanager
    async def _people(self) -> AsyncIterator[list[Visitor]]:
        directory = self._world.home.root.parent
        people = People(directory, self._world.environment, self._world.home.tmux_socket)
        sessions = {instance_id: session for session, instance_id in self._spawned.sessions.items()}
        try:
            yield [
                Visitor(name=_NAMES[number], people=people, sessions=sessions, ledger=self._ledger)
                for number in range(self._plan.people)
            ]
        finally:
            await people.close()

    async def _visits(self, person: Visitor, going_home: asyncio.Event) -> None:
        visits = plan_visits(self._plan.seed, person.name, self._spawned.ids, self._plan.crew.acts, _MOST_VISITS)
        await person.run(visits, going_home)

    @property
    def _decider(self) -> Decider:
        return Decider(home=self._world.home, ledger=self._ledger, seed=self._plan.seed)

    def _calls(self, client: LoadClient) -> list[Call]:
        each = self._plan.messages // len(CLIENTS)
        first = 1 + CLIENTS.index(client.name) * each
        asks = self._plan.crew.asks if self._plan.people else None
        letters = plan_letters(self._plan.seed, client.name, self._spawned.ids, range(first, first + each), asks)
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
            arrivals=self._arrivals,
        )

    async def _well(self, prober: Prober) -> None:
        """Waits until what was accepted so far has arrived and everybody is listed and alive; not for ever."""
        since, deadline = time.time(), time.monotonic() + _PAUSE_LIMIT_S
        expected = set(self._ledger.accepted)
        while time.monotonic() < deadline:
            if prober.sees_everybody(since) and expected <= {each.message_id for each in self._arrivals()}:
                return
            await asyncio.sleep(_POLL_S)
        self._ledger.note("not well in a pause", patience_s=_PAUSE_LIMIT_S)

    async def _all_well(self, prober: Prober, verdict: Verdict, last_kill_at: float) -> bool:
        """Whether every letter was sent and has arrived, the list says so, panes, actors and registry agree, and no
        process is left over, all of it within the limit."""
        while time.time() < last_kill_at + self._plan.limit_s:
            self._not_yet = self._not_arrived(prober, last_kill_at) or await verdict.of_the_team(len(CLIENTS))
            if not self._not_yet:
                return True
            await asyncio.sleep(_POLL_S)
        return False

    def _not_arrived(self, prober: Prober, last_kill_at: float) -> list[str]:
        fates = self._ledger.fates.values()
        unsent = sum(not fate.message_id and not fate.refusal for fate in fates)
        if unsent or not prober.sees_everybody_idle(last_kill_at):
            return [f"time: {unsent} messages are not sent, or the list does not show everybody idle"]
        left = self._ledger.accepted.keys() - {each.message_id for each in self._arrivals()}
        return [f"time: {len(left)} accepted messages have not arrived"] if left else []

    def _arrivals(self) -> list[Arrival]:
        return self._plan.crew.read(self._spawned.directories(self._world.home))
