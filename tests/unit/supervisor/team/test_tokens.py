"""Limits of tokens: told at 80 %, held at 100 % with all below, until raised; also for the next supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from actors.agents.base import TokenUse
from actors.errors import RefusedError, StoreError
from actors.instance.reports import InstanceSnapshot, Report
from actors.status import Status
from supervisor.api import requests, results
from supervisor.api.requests import Role
from supervisor.api.verbs import Caller
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.store import keys
from supervisor.team import views
from supervisor.team.adoption import Batching
from supervisor.team.registry import Limits, Member
from supervisor.team.team import Team
from supervisor.team.tokens import TokenLimits
from tests.fakes.clock import turns
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import record

EXEC, MGR, SPEC, OTHER = "exec_1", "mgr_1_2", "spec_1_2_3", "spec_1_2_4"
LINE: dict[str, tuple[Role, str | None]] = {
    EXEC: (Role.EXECUTIVE, None),
    MGR: (Role.MANAGER, EXEC),
    SPEC: (Role.SPECIALIST, MGR),
    OTHER: (Role.SPECIALIST, MGR),
}


class Scene:
    """An executive, a manager and two specialists, each with an actor."""

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        self.records: dict[str, bytes] = {} if records is None else records
        self.store = MemoryStore(self.records)
        self.team = Team(self.store)
        live = LiveSettings(TunableValues.of(Settings()))
        self.limits = TokenLimits(self.team, Batching(live, self.team), self.store)
        self.actors: dict[str, FakeInstance] = {}

    async def published(self) -> list[tuple[str | None, str]]:
        """By all supervisors of this team."""
        heard = await self.team.events.after("0", lambda event: event.kind == "limit_reached", 0.0)
        return [(event.instance_id, event.text) for event in heard.events]

    async def begin(self) -> None:
        for number, (instance_id, (role, parent)) in enumerate(LINE.items(), 1):
            executive = 0 if parent is None else 1
            made = record(number, instance_id=instance_id, role=role, parent_id=parent, executive=executive)
            self.team.registry.restore(made, now=1.0)
            await self.team.save(instance_id)
        await self.limits.begin()
        self.follow()

    def follow(self) -> None:
        for instance_id in LINE:
            if instance_id in self.team.registry:
                self.actors[instance_id] = FakeInstance()
                self.team.links.follow(instance_id, self.actors[instance_id], "first", FakeListener())

    async def again(self) -> Scene:
        """The next supervisor, after a kill."""
        await self.close()
        return await Scene.after(self.records)

    @classmethod
    async def after(cls, records: dict[str, bytes]) -> Scene:
        """Over what an earlier supervisor has stored."""
        later = cls(records)
        await later.team.load()
        await later.limits.begin()
        later.follow()
        return later

    async def close(self) -> None:
        await self.limits.end()
        await self.team.links.leave_all()
        await self.team.events.stop()

    def member(self, instance_id: str) -> Member:
        return self.team.registry.get(instance_id)

    async def limit(self, instance_id: str, **limits: Any) -> results.LimitResult:
        request = requests.LimitRequest(instance_id=instance_id, limits=requests.Limits(**limits))
        return await self.limits.limit(request, Caller(sender="lead"))

    async def use(self, instance_id: str, tokens: int, status: Status = Status.READY) -> None:
        """The instance says how many it has used so far."""
        use = TokenUse(input_tokens=tokens, cache_read_tokens=10 * tokens)
        snapshot = InstanceSnapshot(status=status, since=5.0, tokens=use)
        await self.team.take_in(instance_id, Report(incarnation="i", sequence=1, snapshot=snapshot, receipts=()))
        await turns()

    @property
    def held(self) -> set[str]:
        """Whose actors hold messages."""
        assert {each for each in self.actors if self.member(each).hold} == {
            each for each, actor in self.actors.items() if actor.hold
        }
        return {each for each, actor in self.actors.items() if actor.hold}


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.begin()
    yield made
    await made.close()


async def test_at_80_percent_it_is_told_once_and_at_100_held_until_raised(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=1000)
    await scene.use(SPEC, 799)
    assert await scene.published() == []
    for used in (800, 900):
        await scene.use(SPEC, used)
    ((who, near),) = await scene.published()
    assert who == SPEC
    assert "80 % of the token limit of 1000" in near
    assert scene.held == set()
    for used in (1000, 1100):
        await scene.use(SPEC, used)
    assert scene.held == {SPEC}
    assert len(await scene.published()) == 2
    assert scene.actors[SPEC].hold == (
        "its token limit of 1000 is used up (own 1000, with all below 1000): raise it with limit "
        f"(`phalanx limit {SPEC} --tokens NUMBER`)"
    )
    raised = await scene.limit(SPEC, tokens=2000)
    await turns()
    assert (raised.reason, scene.held) == (None, set())
    await scene.use(SPEC, 1600)
    await scene.use(SPEC, 2000)
    assert [who for who, _ in await scene.published()] == [SPEC] * 4


async def test_a_leap_over_both_steps_is_told_as_the_higher_one_alone(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=1000)
    await scene.use(SPEC, 5000)
    ((_, words),) = await scene.published()
    assert "is used up (own 5000" in words


async def test_a_limit_counts_all_below_and_holds_all_below_and_nobody_else(scene: Scene) -> None:
    await scene.limit(MGR, tokens=1000)
    await scene.use(EXEC, 5000)
    await scene.use(MGR, 300)
    await scene.use(SPEC, 300)
    assert scene.held == set()
    await scene.use(OTHER, 400)
    assert scene.held == {MGR, SPEC, OTHER}
    assert "own 300, with all below 1000" in scene.actors[MGR].hold
    assert scene.actors[SPEC].hold.startswith(f"the token limit of {MGR}, above it, of 1000")
    await scene.limit(MGR, tokens=1001)
    await turns()
    assert scene.held == set()


async def test_of_two_limits_that_are_used_up_the_nearest_is_named_and_both_must_be_raised(scene: Scene) -> None:
    await scene.limit(MGR, tokens=1000)
    await scene.limit(SPEC, tokens=500)
    await scene.use(SPEC, 1000)
    assert scene.actors[SPEC].hold.startswith("its token limit of 500")
    await scene.limit(SPEC, tokens=2000)
    await turns()
    assert scene.actors[SPEC].hold.startswith(f"the token limit of {MGR}")
    await scene.limit(MGR, tokens=2000)
    await turns()
    assert scene.held == set()


async def test_who_is_held_needs_attention_and_the_list_says_why_and_how_much(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=100)
    await scene.use(SPEC, 150)
    member = scene.member(SPEC)
    info = views.instance_info(member, followed=True, needs_attention=scene.team.needs_attention(member))
    assert info.needs_attention
    assert "token limit of 100" in (info.reason or "")
    assert (info.tokens.input, info.tokens.cache_read, info.tokens.counted, info.tokens.limit) == (150, 1500, 150, 100)


async def test_the_next_supervisor_knows_who_is_held_before_it_hears_of_anybody(scene: Scene) -> None:
    await scene.limit(MGR, tokens=1000)
    await scene.use(SPEC, 600)
    await scene.use(OTHER, 400)
    later = await scene.again()
    assert {each for each in LINE if later.member(each).hold} == {MGR, SPEC, OTHER}
    await later.use(SPEC, 200)  # an actor that is still reading
    assert later.member(MGR).total == 1000
    await later.use(SPEC, 700)
    assert later.member(MGR).total == 1100
    assert len(await later.published()) == 1, "it was told by the one before"
    await later.close()


async def test_what_was_not_told_before_a_kill_is_told_after_it(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=100)
    scene.store.fails()
    with pytest.raises(StoreError):
        await scene.use(SPEC, 90)
    scene.store.error = None
    await scene.use(SPEC, 90)
    assert len(await scene.published()) == 1
    later = await scene.again()
    await later.use(SPEC, 95)
    assert len(await later.published()) == 1
    await later.close()


async def test_a_kill_after_any_write_loses_and_doubles_nothing_that_is_told(scene: Scene) -> None:
    copies: list[dict[str, bytes]] = []
    scene.store.subscribe(lambda: copies.append(dict(scene.records)))
    await scene.limit(SPEC, tokens=100)
    for used in (85, 100):
        await scene.use(SPEC, used)
    await scene.limit(SPEC, tokens=120)
    await scene.use(SPEC, 120)
    assert len(copies) >= 6
    for records in copies:
        later = await Scene.after(records)
        limit = later.member(SPEC).record.limits.tokens or 0
        await later.use(SPEC, limit)
        of_limit = [text for _, text in await later.published() if f"limit of {limit} of" in text]
        assert len([text for text in of_limit if "is used up" in text]) == 1
        assert len(of_limit) <= 2
        await later.close()


async def test_what_cannot_be_stored_when_it_happens_is_told_by_itself_later(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=100)
    await scene.use(SPEC, 10)
    scene.store.refuses = keys.EVENT_PREFIX
    await scene.use(SPEC, 90)
    assert await scene.published() == []
    await scene.team.save(SPEC, summary="more recent")
    scene.store.refuses = None
    await asyncio.sleep(60)
    assert len(await scene.published()) == 1
    later = await scene.again()
    assert later.member(SPEC).record.summary == "more recent"
    await later.use(SPEC, 95)
    assert len(await later.published()) == 1
    await later.close()


async def test_of_one_that_has_left_the_team_nothing_stays_stored(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=100)
    await scene.use(SPEC, 100)
    await scene.limit(OTHER, tokens=100)
    await scene.use(OTHER, 100)
    await scene.team.remove(SPEC)
    del scene.actors[SPEC]
    await turns()
    assert set(await scene.store.load(keys.LIMIT_TOLD_PREFIX)) == {keys.limit_told(OTHER)}
    await scene.store.save({}, [keys.instance(OTHER)])  # a supervisor that died before it cleared up
    later = await scene.again()
    await turns()
    assert await later.store.load(keys.LIMIT_TOLD_PREFIX) == {}
    await later.close()


async def test_tokens_of_those_that_have_left_the_team_go_on_to_count(scene: Scene) -> None:
    await scene.limit(EXEC, tokens=1000)
    await scene.use(SPEC, 900)
    for instance_id in (SPEC, MGR):
        await scene.team.remove(instance_id)
        del scene.actors[instance_id]
    assert scene.member(EXEC).record.tokens_of_removed == 900
    later = await scene.again()
    assert later.member(EXEC).total == 900
    await later.use(EXEC, 100)
    assert later.member(EXEC).hold
    await later.close()


async def test_tokens_go_to_the_nearest_lead_that_is_left(scene: Scene) -> None:
    await scene.limit(EXEC, tokens=1000)
    await scene.use(SPEC, 900)
    await scene.use(MGR, 50)
    for instance_id in (MGR, SPEC):
        await scene.team.remove(instance_id)
        del scene.actors[instance_id]
    assert scene.member(EXEC).record.tokens_of_removed == 950
    later = await scene.again()
    assert later.member(EXEC).total == 950
    await later.close()


async def test_nothing_is_started_below_a_limit_that_is_used_up_whoever_asks(scene: Scene) -> None:
    await scene.limit(EXEC, tokens=100)
    scene.limits.check_start(MGR)
    await scene.use(SPEC, 100)
    for parent in (EXEC, MGR):
        with pytest.raises(RefusedError, match=f"Nothing is started below {EXEC}"):
            scene.limits.check_start(parent)
    scene.limits.check_start(None)


async def test_a_limit_that_is_lowered_below_what_was_used_holds_at_once(scene: Scene) -> None:
    await scene.use(SPEC, 500)
    told = await scene.limit(SPEC, tokens=400)
    await turns()
    assert scene.held == {SPEC}
    assert "is used up" in (told.reason or "")
    assert len(await scene.published()) == 1


async def test_an_actor_that_cannot_be_reached_is_told_when_it_answers_again(scene: Scene) -> None:
    await scene.limit(SPEC, tokens=100)
    await scene.team.links.leave(SPEC)
    await scene.use(SPEC, 100)
    assert scene.member(SPEC).hold
    assert scene.actors[SPEC].hold == "", "its next actor is told when it takes the agent over"


async def test_a_limit_that_cannot_be_stored_is_not_in_force(scene: Scene) -> None:
    scene.store.fails()
    with pytest.raises(StoreError):
        await scene.limit(SPEC, tokens=1)
    assert scene.member(SPEC).record.limits == Limits()


async def test_only_limited_instances_have_their_use_stored_with_each_turn(scene: Scene) -> None:
    saves = scene.store.saves
    await scene.use(SPEC, 100)
    assert scene.store.saves == saves
    await scene.limit(MGR, tokens=1000)
    saves = scene.store.saves
    await scene.use(SPEC, 200, Status.BUSY)
    assert scene.store.saves == saves
    await scene.use(SPEC, 200)
    assert (scene.store.saves, scene.member(SPEC).record.tokens.counted) == (saves + 1, 200)


async def test_the_use_of_one_that_ends_unlimited_is_stored_with_its_end(scene: Scene) -> None:
    await scene.use(SPEC, 300, Status.FAILED)
    later = await scene.again()
    assert later.member(SPEC).tokens.counted == 300
    later.member(SPEC).snapshot = replace(READY, status=Status.STARTING)
    assert later.member(SPEC).tokens.counted == 300
    await later.close()


async def test_many_answers_at_once_hold_once(scene: Scene) -> None:
    await scene.limit(MGR, tokens=1000)
    await asyncio.gather(*(scene.use(each, 600) for each in (SPEC, OTHER)))
    assert scene.held == {MGR, SPEC, OTHER}
    published = await scene.published()
    assert [who for who, _ in published] == [MGR] * len(published)
    assert 1 <= len(published) <= 2


async def test_a_limit_that_is_used_up_when_it_is_set_holds_for_the_next_supervisor_before_any_report() -> None:
    scene = Scene()
    await scene.begin()
    await scene.use(SPEC, 500)
    await scene.limit(EXEC, tokens=400)
    later = await scene.again()
    assert later.member(EXEC).total == 500
    assert all(later.member(each).hold for each in LINE)
    await later.close()
