from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.agents.base import RunningAgent
from supervisor.recovery.reconciler import Act, Adopt, EndActor, EndAgent, FinishTermination, NoteEnd, Undo, plan
from supervisor.team.registry import InstanceRecord, InstanceStage
from tests.fakes.team import record

NUMBERS = range(1, 6)


@dataclass
class World:
    """What the acts change. ``busy`` is held by somebody else all the while."""

    records: dict[str, InstanceRecord] = field(default_factory=dict)
    sessions: dict[str, RunningAgent] = field(default_factory=dict)
    actors: set[str] = field(default_factory=set)
    followed: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)

    def plan(self) -> tuple[Act, ...]:
        records, sessions = list(self.records.values()), list(self.sessions.values())
        return plan(records, sessions, self.actors, followed=self.followed, busy=self.busy)

    def carry_out(self, act: Act) -> None:
        match act:
            case Adopt(instance_id, pane_id, pid):
                running = replace(self.records[instance_id], stage=InstanceStage.RUNNING, pane_id=pane_id, pid=pid)
                self.records[instance_id] = running
                self.actors.add(self.records[instance_id].actor_name)
                self.followed.add(instance_id)
            case NoteEnd(instance_id, _):
                self.records[instance_id] = replace(self.records[instance_id], stage=InstanceStage.FAILED)
                self.actors.discard(self.records[instance_id].actor_name)
            case FinishTermination(instance_id):
                self.records[instance_id] = replace(self.records[instance_id], stage=InstanceStage.STOPPED)
                self._clear(self.records[instance_id])
            case Undo(instance_id):
                self._clear(self.records.pop(instance_id))
            case EndAgent(session_name):
                del self.sessions[session_name]
            case EndActor(actor):
                self.actors.discard(actor)

    def _clear(self, record: InstanceRecord) -> None:
        self.sessions.pop(record.session_name, None)
        self.actors.discard(record.actor_name)
        self.followed.discard(record.instance_id)

    def needed(self, instance_ids: Collection[str]) -> set[str]:
        """The names of their actors."""
        return {known.actor_name for known in self.records.values() if known.instance_id in instance_ids}

    def converge(self) -> tuple[Act, ...]:
        acts = self.plan()
        for act in acts:
            self.carry_out(act)
        return acts

    def live(self, instance_id: str) -> RunningAgent | None:
        session = self.sessions.get(instance_id)
        return session if session is not None and session.alive else None


def touched(act: Act) -> str:
    match act:
        case EndAgent(session_name):
            return session_name
        case EndActor(actor):
            return actor
        case _:
            return act.instance_id


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World()
    for number in NUMBERS:
        instance_id = f"spec_0_0_{number}"
        if draw(st.booleans()):
            world.records[instance_id] = record(
                number,
                stage=draw(st.sampled_from(InstanceStage)),
                wanted=draw(st.booleans()),
                pane_id=f"%{draw(st.integers(0, 2))}",
                pid=draw(st.integers(0, 2)),
                actor=draw(st.sampled_from(["", f"spare_{number}"])),
            )
        if draw(st.booleans()):
            world.sessions[instance_id] = RunningAgent(
                session_name=instance_id,
                pane_id=f"%{draw(st.integers(1, 2))}",
                pid=draw(st.integers(1, 2)),
                alive=draw(st.booleans()),
            )
        for group, name in ((world.actors, instance_id), (world.actors, f"spare_{number}"), (world.busy, instance_id)):
            if draw(st.booleans()):
                group.add(name)
        if instance_id in world.records and draw(st.booleans()):
            world.followed.add(instance_id)
    return world


def wanted_and_alive(world: World) -> dict[str, RunningAgent]:
    """A spawn counts once its agent, whose process stands in the record, was given its first message."""
    found = {}
    for instance_id, known in world.records.items():
        session = world.live(instance_id)
        begun = session is not None and (known.stage is not InstanceStage.STARTING or session.pid == known.pid)
        if session is not None and begun and known.wanted and instance_id not in world.busy:
            found[instance_id] = session
    return found


@given(worlds())
def test_who_lives_and_is_wanted_goes_on_where_it_is_and_is_followed(world: World) -> None:
    alive = wanted_and_alive(world)
    acts, needed = world.converge(), world.needed(alive)
    assert not any(act.actor in needed for act in acts if isinstance(act, EndActor))
    others = [act for act in acts if not isinstance(act, EndActor)]
    assert all(isinstance(act, Adopt) for act in others if touched(act) in alive)
    for instance_id, session in alive.items():
        assert world.sessions[instance_id] == session
        assert instance_id in world.followed
        assert (world.records[instance_id].pane_id, world.records[instance_id].pid) == (session.pane_id, session.pid)


@given(worlds())
def test_who_is_known_and_followed_rightly_is_not_touched(world: World) -> None:
    world.converge()
    for instance_id, session in wanted_and_alive(world).items():
        world.records[instance_id] = replace(world.records[instance_id], pane_id=session.pane_id, pid=session.pid)
    assert world.plan() == ()


@given(worlds())
def test_the_busy_are_left_alone(world: World) -> None:
    assert not {touched(act) for act in world.plan()} & (world.busy | world.needed(world.busy))


@given(worlds())
def test_nobody_is_given_two_acts(world: World) -> None:
    names = [touched(act) for act in world.plan() if not isinstance(act, EndAgent | EndActor)]
    assert len(names) == len(set(names))
    assert not {act.actor for act in world.plan() if isinstance(act, EndActor)} & world.needed(names)
    assert not {act.session_name for act in world.plan() if isinstance(act, EndAgent)} & set(names)


@given(worlds())
@settings(max_examples=500)
def test_after_the_acts_the_plan_is_empty(world: World) -> None:
    world.converge()
    assert world.plan() == ()


@given(worlds())
def test_nothing_of_nobody_stays(world: World) -> None:
    world.converge()
    assert world.sessions.keys() <= world.records.keys() | world.busy
    assert world.actors <= world.needed(world.followed) | world.needed(world.busy) | world.busy


@given(worlds())
def test_who_is_not_wanted_has_ended_for_good(world: World) -> None:
    world.converge()
    for instance_id, known in world.records.items():
        if not known.wanted and instance_id not in world.busy:
            assert world.live(instance_id) is None
            assert known.stage is InstanceStage.STOPPED
            assert instance_id not in world.followed


@given(worlds())
def test_only_a_spawn_that_never_finished_is_forgotten(world: World) -> None:
    before = dict(world.records)
    world.converge()
    gone = before.keys() - world.records.keys()
    assert all(before[instance_id].stage in {InstanceStage.STARTING, InstanceStage.SPARE} for instance_id in gone)
    assert not gone & world.busy
    idle = world.records.keys() - world.busy
    assert all(world.records[instance_id].stage is not InstanceStage.STARTING for instance_id in idle)


@given(worlds(), st.sets(st.sampled_from([f"spec_0_0_{number}" for number in NUMBERS])))
def test_acts_that_were_not_carried_out_come_again(world: World, done: Collection[str]) -> None:
    """A crash between two acts: the next plan finishes what is left."""
    first = world.plan()
    for act in first:
        if touched(act) in done:
            world.carry_out(act)
    assert set(world.plan()) == {act for act in first if touched(act) not in done}


@pytest.mark.parametrize("wanted", [True, False])
def test_a_spawn_that_was_cut_off_before_its_first_message_is_undone(wanted: bool) -> None:
    begun = record(stage=InstanceStage.STARTING, wanted=wanted)
    agent = RunningAgent(session_name="spec_0_0_1", pane_id="%1", pid=7, alive=True)
    assert plan([begun], [agent], ["spec_0_0_1"], followed=(), busy=()) == (Undo("spec_0_0_1"),)


def test_a_session_with_a_name_that_no_instance_has_is_somebody_else_s() -> None:
    sessions = [
        RunningAgent(session_name=name, pane_id="%1", pid=7, alive=True) for name in ("notes", "spec_1", "spec_0_0_7")
    ]
    assert plan([], sessions, [], followed=(), busy=()) == (EndAgent("spec_0_0_7"),)


def test_an_agent_that_died_unseen_is_failed_with_a_reason() -> None:
    (act,) = plan([record(pid=7, pane_id="%1")], [], [], followed=(), busy=())
    assert isinstance(act, NoteEnd)
    assert "restart" in act.reason
