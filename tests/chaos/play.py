"""One round from beginning to end: a team, its load, the kills, the time to recover, the verdict."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import copies
from tests.chaos.arrivals import Arrival
from tests.chaos.crews import Crew, demo_crew
from tests.chaos.decider import Decider
from tests.chaos.evidence import Evidence
from tests.chaos.killer import Killer
from tests.chaos.ledger import Ledger
from tests.chaos.load import LoadClient
from tests.chaos.plan import Call, Kill, expected_length_s, plan_calls, plan_letters
from tests.chaos.prober import Prober
from tests.chaos.spawned import Spawned
from tests.chaos.survey import Kind, alive
from tests.chaos.tree import Errands, Members, Place, flat, last_call, levels, plan_orders
from tests.chaos.verdict import Verdict
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
_LONGEST_BATCH_OF_A_TREE = 4
_LETTERS_A_HAND = 10
"""In a tree so many letters come to one that starts a hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundPlan:
    """``limit_s``: from the last kill until all must have arrived, panes, actors and registry must be the same set, and
    no process may be left over. ``output``: a directory for what explains a failure."""

    seed: int
    kills: Sequence[Kill]
    output: Path
    crew: Crew = field(default_factory=demo_crew)
    instances: int = 20
    tree: Sequence[Place] = ()
    """Who leads whom among the instances; empty: the clients lead all of them. In a tree the messages have them call
    the team by their own tools."""
    messages: int = 2000
    spares: int = 0
    """Spare agents that are kept ready; the first instances are made of them."""
    people: int = 0
    """Who sit at terminals meanwhile. With them agents ask for permissions, which a lead answers."""
    limit_s: float = 60.0

    @property
    def places(self) -> Sequence[Place]:
        return self.tree or flat(self.instances)


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
    errands: Errands
    """What members did by their tools."""

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
        self._errands = Errands()
        self._not_yet: list[str] = []
        """What was still wrong when the team was looked at last."""

    async def run(self) -> Outcome:
        await self._spawn()
        calls = {name: self._calls(name) for name in CLIENTS}
        hands = {hand.name for hand in self._errands.hands}
        prober = Prober(home=self._world.home, ledger=self._ledger, instance_ids=self._spawned.ids, passing=hands)
        verdict = Verdict(
            world=self._world, ledger=self._ledger, spawned=self._spawned, prober=prober, evidence=self._evidence
        )
        recovered_s = await self._under_fire(calls, prober, verdict)
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
            errands=self._errands,
        )

    async def _spawn(self) -> None:
        """Through an entry, like everything else; the agents that run then must be the ones that run at the end."""
        results: dict[int, dict[str, Any]] = {}
        for level in levels(self._plan.places):
            members = [self._member(number, results) for number in level]
            results |= zip(level, await self._spawn_together(members), strict=True)
        for number, result in sorted(results.items()):
            instance_id = result["instanceId"]
            self._spawned.contexts[instance_id] = _context(number)
            self._spawned.sessions[result["sessionName"]] = instance_id
            place = self._plan.places[number]
            self._spawned.roles[instance_id] = place.role
            if place.lead is not None:
                self._spawned.leads[instance_id] = results[place.lead]["instanceId"]
        if self._plan.spares and not any(each.get("fromPool") for each in results.values()):
            raise RuntimeError("none of the spare agents was given to a member")
        self._spawned.places.update(copies.places(await asyncio.to_thread(copies.in_file, self._world.home)))
        team, _ = self._spawned.divide(await self._world.survey())
        agents = alive(team, Kind.AGENT)
        self._spawned.agents.update({each.instance_id: each.identity for each in agents})

    def _member(self, number: int, results: Mapping[int, Mapping[str, Any]]) -> dict[str, str]:
        """``results``: of those that lead."""
        place = self._plan.places[number]
        member = {
            "role": place.role,
            "workDir": str(self._project(number)),
            "context": _context(number),
            "permissionMode": "default",
        }
        return member if place.lead is None else {**member, "parentId": results[place.lead]["instanceId"]}

    async def _spawn_together(self, members: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        request_id = f"team-{self._plan.seed}-{members[0].get('parentId', 'top')}"
        calls = [Call(due_s=0, tool="spawn_batch", arguments={"instances": members, "requestId": request_id})]
        if self._plan.spares:
            wanted = {"instances": self._plan.spares, "workDir": str(self._world.repository)}
            calls.insert(0, Call(due_s=0, tool="prewarm_resources", arguments=wanted))
        async with self._clients(CLIENTS[:1]) as (client,):
            done = asyncio.Event()
            done.set()
            await client.run(calls, done)
        results: list[dict[str, Any]] = client.answers[request_id]["instances"]
        for result in results:
            if not result["success"]:
                raise RuntimeError(f"a member could not be spawned: {result['error']}")
        return results

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

    async def _under_fire(self, calls: Mapping[str, Sequence[Call]], prober: Prober, verdict: Verdict) -> float | None:
        """Load and kills side by side, then the time to recover. Returns how long that took after the last kill."""
        over, going_home = asyncio.Event(), asyncio.Event()
        async with self._people() as people, self._clients(CLIENTS) as clients, asyncio.TaskGroup() as group:
            probing = group.create_task(prober.run())
            deciding = group.create_task(self._decider.run())
            visiting = [group.create_task(self._visits(person, going_home)) for person in people]
            loads = [group.create_task(client.run(calls[client.name], over)) for client in clients]
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

    def _calls(self, client: str) -> list[Call]:
        each, seed, place = self._plan.messages // len(CLIENTS), self._plan.seed, CLIENTS.index(client)
        numbers = range(1 + place * each, 1 + (place + 1) * each)
        length_s = expected_length_s(self._plan.kills)
        if not self._plan.tree:
            asks = self._plan.crew.asks if self._plan.people else None
            calls = plan_calls(seed, client, plan_letters(seed, client, self._spawned.ids, numbers, asks), length_s)
        else:
            members = Members(
                roles=self._spawned.roles, leads=self._spawned.leads, directory=str(self._world.repository)
            )
            letters, errands = plan_orders(seed, client, members, numbers, each // _LETTERS_A_HAND)
            last = last_call(seed, client, errands, 1 + (len(CLIENTS) + place) * self._plan.messages)
            calls = [*plan_calls(seed, client, letters, length_s, _LONGEST_BATCH_OF_A_TREE), last]
            self._errands.words.extend(errands.words)
            self._errands.hands.extend(errands.hands)
        self._ledger.expect([letter for call in calls for letter in call.letters])
        return calls

    @property
    def _evidence(self) -> Evidence:
        return Evidence(world=self._world, crew=self._plan.crew, spawned=self._spawned, errands=self._errands)

    def _killer(self, clients: Sequence[LoadClient]) -> Killer:
        return Killer(
            home=self._world.home,
            run_id=self._world.run_id,
            seed=self._plan.seed,
            ledger=self._ledger,
            redis=self._world.redis,
            clients=clients,
            arrivals=self._arrivals,
            calling=self._evidence.calling,
            paced=clients if self._plan.tree else (),
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
            self._not_yet = (
                self._not_arrived(prober, last_kill_at)
                or await asyncio.to_thread(self._evidence.problems, self._arrivals())
                or await verdict.of_the_team(len(CLIENTS))
            )
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


def _context(number: int) -> str:
    return f"You are number {number}."
