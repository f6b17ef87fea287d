"""A turn that failed at a limit of the account is continued once when that has ended, and starts wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from actors.errors import UnavailableError
from actors.instance.reports import Report
from actors.instance.state import RateLimit
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.team.accounts import account_of
from supervisor.team.rate_limits import GO_ON, RateLimits
from supervisor.team.registry import InstanceStage
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, SECOND, accept, add_member, receipt

RESETS_AT = 9000.0


class Scene:
    def __init__(self, store: MemoryStore, *, continues: bool = True) -> None:
        self.store = store
        self.team = Team(store)
        self.limits = RateLimits(self.team, continues=continues)
        self.actor = FakeInstance()

    async def begin(self) -> None:
        await add_member(self.team)
        await add_member(self.team, 2, account="other")
        self.reach()

    def reach(self) -> None:
        self.team.links.follow(FIRST, self.actor, "first", FakeListener())

    async def hear(
        self, limit: RateLimit | None, instance_id: str = FIRST, status: Status = Status.RATE_LIMITED
    ) -> None:
        snapshot = replace(READY, status=status if limit else Status.READY, limit=limit)
        await self.team.take_in(instance_id, Report(incarnation="i", sequence=1, snapshot=snapshot, receipts=()))
        await turns()

    @property
    def sent(self) -> list[str]:
        return [message.id for message, _ in self.team.outbox.under_way(FIRST) if message.text == GO_ON]

    async def again(self) -> Scene:
        await self.close()
        later = Scene(self.store)
        await later.team.load()
        later.reach()
        return later

    async def close(self) -> None:
        await self.limits.end()
        await self.team.outbox.stop()
        await self.team.links.leave_all()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(MemoryStore())
    await made.begin()
    yield made
    await made.close()


def limit(at: float = 1.5, resets_at: float = RESETS_AT) -> RateLimit:
    return RateLimit(at=at, resets_at=resets_at)


async def test_each_turn_that_failed_is_continued_once_however_often_it_is_reported(scene: Scene) -> None:
    for _ in range(3):
        await scene.hear(limit())
    (first,) = scene.sent
    assert scene.actor.given == [first], "its actor holds it until the limit ends"
    (message,) = [each for each, _ in scene.team.outbox.under_way(FIRST)]
    await scene.team.outbox.take_receipts([receipt(message)])
    await scene.hear(limit())
    assert scene.sent == []
    await scene.hear(limit(at=2.5))
    assert len(scene.sent) == 1
    assert scene.sent != [first]


async def test_the_next_supervisor_does_not_continue_the_same_turn_again(scene: Scene) -> None:
    await scene.hear(limit())
    sent = scene.sent
    later = await scene.again()
    await later.hear(limit())
    assert later.sent == sent
    (message,) = [each for each, _ in later.team.outbox.under_way(FIRST)]
    await later.team.outbox.take_receipts([receipt(message)])
    last = await later.again()
    await last.hear(limit())
    assert last.sent == []
    await last.close()


async def test_a_supervisor_that_was_away_when_the_turn_failed_continues_it(scene: Scene) -> None:
    later = await scene.again()
    await later.hear(limit())
    assert len(later.sent) == 1
    await later.close()


async def test_a_store_that_refuses_it_is_asked_again_with_the_next_report(scene: Scene) -> None:
    await scene.hear(None)
    scene.store.fails()
    await scene.hear(limit())
    assert scene.sent == []
    scene.store.error = None
    await scene.hear(limit())
    assert len(scene.sent) == 1


async def test_when_the_turn_goes_on_without_it_it_is_taken_back(scene: Scene) -> None:
    await scene.hear(limit())
    sent = scene.sent
    await scene.hear(None)
    assert scene.actor.withdrawn == sent


async def test_when_another_turn_fails_before_the_limit_ends_that_one_is_continued(scene: Scene) -> None:
    await scene.hear(limit())
    (first,) = scene.sent
    await scene.hear(limit(at=2.5))
    assert scene.actor.withdrawn == [first]
    assert len(scene.sent) == 2, "the first has no receipt yet"


async def test_messages_of_others_are_never_taken_back(scene: Scene) -> None:
    await accept(scene.team, GO_ON)
    await scene.hear(limit())
    await scene.hear(None)
    assert len(scene.actor.withdrawn) == 1


@pytest.mark.parametrize("continues", [True, False])
async def test_it_is_continued_only_where_the_end_is_told_and_the_setting_says_so(continues: bool) -> None:
    scene = Scene(MemoryStore(), continues=continues)
    await scene.begin()
    await scene.hear(limit(resets_at=0.0))
    assert scene.sent == []
    await scene.hear(limit())
    assert len(scene.sent) == continues
    await scene.close()


async def test_an_agent_that_has_ended_is_not_told_to_go_on(scene: Scene) -> None:
    await scene.hear(limit(), status=Status.FAILED)
    assert scene.sent == []


async def test_a_start_for_the_account_waits_until_the_limit_ends_and_says_so(scene: Scene) -> None:
    told: list[str] = []
    await scene.hear(limit(resets_at=time.time() + 500))
    began = time.time()
    await scene.limits.until_free("other", told.append, 600)
    assert (time.time() - began, told) == (0, [])
    await scene.limits.until_free("", told.append, 600)
    assert time.time() - began == pytest.approx(500, abs=1)
    assert "the limit of its account is reached, and resets at" in told[0]


async def test_a_start_that_would_wait_too_long_is_refused_at_once_with_the_time(scene: Scene) -> None:
    await scene.hear(limit(resets_at=time.time() + 601))
    began = time.time()
    with pytest.raises(UnavailableError, match=r"resets at 1970-.*Start it again then, or with another account"):
        await scene.limits.until_free("", print, 600)
    assert time.time() == began


async def test_a_start_goes_on_as_soon_as_the_limited_instance_works_again(scene: Scene) -> None:
    await scene.hear(limit(resets_at=time.time() + 500), SECOND)
    waiting = asyncio.create_task(scene.limits.until_free("other", print, 600))
    await turns()
    assert not waiting.done()
    await scene.hear(None, SECOND)
    await waiting


def test_an_account_is_what_the_environment_says_and_cannot_be_read_from_it() -> None:
    assert account_of({}) == account_of({"LANG": "C"}) == ""
    own = {"ANTHROPIC_API_KEY": "sk-ant-1"}
    accounts = {account_of(own), account_of({"ANTHROPIC_API_KEY": "sk-ant-2"}), account_of({"CLAUDE_CONFIG_DIR": "/c"})}
    assert len(accounts - {""}) == 3
    assert account_of({**own, "LANG": "C"}) == account_of(own)
    assert "sk-ant" not in account_of(own)


async def test_a_receipt_that_says_failed_ends_it_too(scene: Scene) -> None:
    await scene.hear(limit())
    (message,) = [each for each, _ in scene.team.outbox.under_way(FIRST)]
    await scene.team.outbox.take_receipts([receipt(message, MessageStatus.FAILED, "gone")])
    await scene.hear(limit())
    assert scene.sent == []


async def test_a_limit_holds_up_no_start_once_who_met_it_has_ended_or_left(scene: Scene) -> None:
    await add_member(scene.team, 3)
    await scene.hear(limit())
    await scene.hear(limit(), "spec_0_0_3")
    await scene.team.mark_ended(scene.team.registry.get(FIRST), InstanceStage.STOPPED, "")
    with pytest.raises(UnavailableError):
        await scene.limits.until_free("", lambda _: None, 90)
    await scene.team.remove("spec_0_0_3")

    await scene.limits.until_free("", lambda _: None, 90)


async def test_a_turn_of_the_account_that_ended_well_afterwards_ends_its_limit_for_starts(scene: Scene) -> None:
    await add_member(scene.team, 3)
    well = replace(READY, answer="done")
    for at, free in ((1.0, False), (2.0, True)):
        await scene.hear(limit())
        report = Report(incarnation="i", sequence=1, snapshot=replace(well, turn_at=at), receipts=())
        await scene.team.take_in("spec_0_0_3", report)
        await scene.hear(limit())  # its own turn still waits
        if free:
            await scene.limits.until_free("", lambda _: None, 90)
        else:
            with pytest.raises(UnavailableError):
                await scene.limits.until_free("", lambda _: None, 90)
