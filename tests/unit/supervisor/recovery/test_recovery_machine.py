"""Whatever dies in whatever order: no agent is doubled, none that is wanted is ended, and in the end all agrees."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.errors import PhalanxError
from supervisor.api.requests import TerminateRequest
from supervisor.team.registry import InstanceStage, is_instance_id
from tests.fakes.clock import VirtualTimeLoop, show_virtual_time
from tests.fakes.supervisor import Killed, Machine, SupervisorRun

CONVERGED_WITHIN_S = 400.0
CALM_S = 40.0
SHORT = st.sampled_from((0.005, 0.015, 0.025, 0.035, 0.055, 0.1, 0.3, 2.0))
WHICH = st.integers(0, 5)


class Team(RuleBasedStateMachine):
    """The virtual loop goes on only within a rule; what is under way stays where it is between two of them."""

    @initialize()
    def begin(self) -> None:
        self.patches = pytest.MonkeyPatch()
        show_virtual_time(self.patches)
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.machine = Machine()
        self.records: dict[str, bytes] = {}
        self.pids: dict[str, int] = {}
        self.made: dict[str, str] = {}
        self.calls = 0
        self.run(self.new_run())
        for _ in range(2):
            self.somebody_spawns()
        self.run(asyncio.sleep(CALM_S))
        assert len(self.machine.acknowledged) == 2

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def new_run(self) -> None:
        self.supervisor = SupervisorRun(self.machine, self.records)
        await self.supervisor.begin()

    def ask(self, work: Coroutine[Any, Any, Any]) -> None:
        """In the background; whoever asks sees only that it was refused, or that the team has died."""

        async def asked() -> None:
            try:
                await work
            except (PhalanxError, Killed):
                return
            except Exception as error:  # noqa: BLE001 - nobody else would notice
                self.machine.violations.append(f"a fault of ours: {error!r}")

        async def begin() -> None:
            asyncio.get_running_loop().create_task(asked())
            await asyncio.sleep(0)

        self.run(begin())

    @property
    def known(self) -> list[str]:
        return sorted(self.machine.acknowledged)

    def one(self, which: int) -> str:
        return self.known[which % len(self.known)]

    @rule(after_s=SHORT)
    def time_passes(self, after_s: float) -> None:
        self.run(asyncio.sleep(after_s))

    @rule()
    def somebody_spawns(self) -> None:
        self.calls += 1
        self.ask(self.spawned(f"r{self.calls}"))

    @precondition(lambda self: self.calls > 0)
    @rule(which=WHICH)
    def a_spawn_is_repeated(self, which: int) -> None:
        self.ask(self.spawned(f"r{1 + which % self.calls}"))

    async def spawned(self, request_id: str) -> None:
        record = await self.supervisor.spawn(request_id)
        before = self.made.setdefault(request_id, record.instance_id)
        if before != record.instance_id:
            self.machine.violations.append(f"{request_id} made {before} and {record.instance_id}")
        self.machine.acknowledged.add(record.instance_id)

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def somebody_terminates(self, which: int) -> None:
        instance_id = self.one(which)
        self.machine.may_end.add(instance_id)
        self.ask(self.supervisor.lifecycle.terminate(TerminateRequest(instance_id=instance_id)))

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def somebody_restarts(self, which: int) -> None:
        instance_id = self.one(which)
        if instance_id in self.supervisor.team.registry:
            self.machine.may_end.add(instance_id)
            member = self.supervisor.team.registry.get(instance_id)
            self.ask(self.supervisor.lifecycle.restart(member, member.record))

    @precondition(lambda self: self.known)
    @rule(which=WHICH)
    def an_agent_dies(self, which: int) -> None:
        instance_id = self.one(which)
        if instance_id in self.machine.sessions:
            self.machine.sessions[instance_id].alive = False
            self.machine.may_end.add(instance_id)
            self.run(self.noticed())

    async def noticed(self) -> None:
        self.machine.look_at_agents()

    @rule(which=WHICH)
    def an_actor_dies_and_ray_brings_it_back(self, which: int) -> None:
        if self.machine.actors:
            self.run(self.restarted(sorted(self.machine.actors)[which % len(self.machine.actors)]))

    async def restarted(self, name: str) -> None:
        self.machine.actors[name].restart()

    @rule()
    def all_of_ray_dies(self) -> None:
        self.run(self.supervisor.kill())
        self.machine.actors.clear()
        self.run(self.new_run())

    @rule()
    def the_supervisor_dies(self) -> None:
        self.run(self.supervisor.kill())
        self.run(self.new_run())

    @rule(part=st.sampled_from(("host", "Ray", "actors")))
    def a_part_goes_away(self, part: str) -> None:
        self.machine.away |= {part}

    @rule()
    def everything_is_back_and_nothing_happens_for_a_while(self) -> None:
        self.machine.away.clear()
        self.run(asyncio.sleep(CALM_S))

    @rule(name=st.sampled_from(("spec_0_0_71", "spec_0_0_72", "notes")))
    def a_session_of_nobody_is_there(self, name: str) -> None:
        if name not in self.machine.sessions:
            self.machine.open_session(name)

    @invariant()
    def nothing_forbidden_was_done(self) -> None:
        assert self.machine.violations == []

    def teardown(self) -> None:
        try:
            self.machine.away.clear()
            self.run(asyncio.sleep(CONVERGED_WITHIN_S))
            assert self.machine.violations == []
            self.check_agreement()
        finally:
            self.run(self.supervisor.kill())
            self.runner.close()
            self.patches.undo()

    def check_agreement(self) -> None:
        team = self.supervisor.team
        there = {member.record.instance_id: member for member in team.registry}
        running = {name for name, member in there.items() if member.record.stage is InstanceStage.RUNNING}
        alive = {name: agent for name, agent in self.machine.sessions.items() if agent.alive and is_instance_id(name)}
        assert set(alive) == running
        assert {name for name in there if team.links.has(name) and there[name].alive} == running
        assert {name: there[name].record.pid for name in running} == {name: agent.pid for name, agent in alive.items()}
        assert running <= set(self.machine.actors) <= {member.record.actor_name for member in team.registry}
        assert not [m for m in there.values() if m.record.stage in (InstanceStage.STARTING, InstanceStage.ENDING)]
        assert self.machine.acknowledged <= set(there)
        assert self.machine.acknowledged - self.machine.may_end <= running
        assert not [member for member in there.values() if member.silence]
        assert all(
            conversation == sorted(set(conversation), key=conversation.index)
            for conversation in self.machine.conversations.values()
        )


TestTeam = Team.TestCase
TestTeam.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_restart_that_is_cut_off_before_the_end_was_finished_leaves_no_instance_half_ended() -> None:
    state = Team()
    state.begin()
    state.the_supervisor_dies()
    state.a_part_goes_away(part="host")
    state.somebody_terminates(which=1)
    state.somebody_restarts(which=1)
    state.the_supervisor_dies()
    state.teardown()
