from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError, UnavailableError
from actors.following.reports import Report, Snapshot
from actors.nodes import Node
from actors.states import Status
from actors.workspace.values import Workspace
from supervisor.hosts import drainer as drainer_module
from supervisor.hosts.drainer import Drainer
from supervisor.hosts.relocation import MoveParts
from supervisor.hosts.roster import Placement
from supervisor.store.memory import MemoryStore
from supervisor.team.registry import InstanceRecord, Member, Stage
from supervisor.team.roll import Roll
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.stand_ins import READY, draft, recruit

FIRST = "spec_0_0_1"
BUSY = Snapshot(status=Status.BUSY, since=1.0)


def workspace(home: str | None = "/repository/.git") -> Workspace:
    return Workspace(
        mode="isolated",
        directory=Path("/w") / FIRST,
        worktree=Path("/w") / FIRST,
        git_directory=Path("/mirror"),
        branch=f"phalanx/{FIRST}",
        home=Path(home) if home else None,
    )


class World:
    """Roster, hosts, factory, adoption and closing in one; ``deeds`` tells in which order what was done."""

    def __init__(self) -> None:
        self.roll = Roll(MemoryStore())
        self.deeds: list[str] = []
        self.drained = {"old"}
        self.places: dict[str, str] = {}
        self.seen = READY
        self.trouble: dict[str, Exception] = {}
        self.full = False
        self.room = asyncio.Event()
        self.room.set()
        self.wanted: list[Mapping[str, str]] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        this: Any = self
        parts = MoveParts(roll=self.roll, roster=this, hosts=this, factory=this, adoption=this, closing=this)
        self.drainer = Drainer(parts)

    async def do(self, deed: str) -> None:
        await asyncio.sleep(0.1)
        name = deed.partition(" ")[0]
        if name in self.trouble:
            raise self.trouble[name]
        self.deeds.append(deed)

    async def nodes(self) -> tuple[Any, ...]:
        return tuple(Node(name=name, address=name, slots=1) for name in ("old", "new"))

    @asynccontextmanager
    async def placed(self, wanted: Any) -> AsyncIterator[Placement]:
        if self.full:
            raise InvalidRequestError("no other host takes it")
        await self.room.wait()
        self.wanted.append(wanted.labels)
        yield Placement(host="new", address="10.0.0.2", own=False)

    async def carry_conversation(self, instance_id: str, path: str) -> None:
        await self.do("conversation")

    async def carry_home(self, given: Workspace, *, uncommitted: bool) -> str:
        assert uncommitted
        await self.do("work")
        return ""

    async def settle_again(self, instance_id: str, given: Workspace, path: str) -> Workspace:
        await self.do(f"settle on {self.places[instance_id]}")
        return given

    async def clear_behind(self, host: str, place: str, given: Workspace) -> str:
        await self.do(f"clear {host}")
        return ""

    async def end_agent(self, place: str, session: str, grace_s: float) -> None:
        await self.do("end")

    async def destroy(self, name: str) -> None:
        await self.do(f"destroy {name}")

    async def actor(self, record: InstanceRecord) -> Any:
        return self

    async def adopt(self, record: InstanceRecord, port: Any) -> None:
        self.deeds.append("adopt")
        self.follow(record.instance_id)

    async def start_again(self, member: Member) -> None:
        try:
            await self.do(f"start on {member.record.host}")
        except UnavailableError as error:
            await self.roll.mark_ended(member, Stage.FAILED, str(error))
            raise
        await self.lives(member)

    async def resume(self, member: Member) -> None:
        if member.record.resumable:
            await self.start_again(member)

    async def lives(self, member: Member) -> None:
        await self.roll.save(member.record.instance_id, stage=Stage.RUNNING)
        member.snapshot = READY
        self.follow(member.record.instance_id)

    def follow(self, instance_id: str) -> None:
        this: Any = self
        self.roll.members.follow(instance_id, this, "i", this)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        if after >= 0:
            await asyncio.sleep(1000)
        if self.meanwhile is not None:
            await self.meanwhile()
        return Report(incarnation="i", sequence=1, snapshot=self.seen, receipts=())

    async def on_silence(self, instance_id: str, reason: str) -> None:
        """It was left on purpose."""

    async def recruit(self, **changes: Any) -> Member:
        given = {"host": "old", "actor": f"{FIRST}@1", "workspace": workspace(), **changes}
        member = await recruit(self.roll, 1, **given)
        self.places[FIRST] = member.record.host
        self.follow(FIRST)
        return member


ALL = [f"destroy {FIRST}@1", "end", "conversation", "work", "settle on new", "clear old", "start on new"]


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drainer_module, "time", virtual_time.clock())


def played(test: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        world = World()
        world.drainer.begin()
        try:
            await test(world)
        finally:
            await world.drainer.end()
            await world.roll.members.leave_all()

    virtual_time.run(play)


def test_an_idle_instance_is_ended_carried_settled_elsewhere_and_started_there() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        await asyncio.sleep(5)
        assert world.deeds == ALL
        record = member.record
        assert (record.host, record.actor, record.moving_from) == ("new", f"{FIRST}@10.0.0.2", "")
        assert world.drainer.remaining("old") == {}
        await asyncio.sleep(100)
        assert world.deeds == ALL

    played(test)


def test_who_is_at_work_or_has_messages_is_left_alone_until_that_is_done() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        member.snapshot = world.seen = BUSY
        await asyncio.sleep(60)
        assert world.deeds == []
        assert world.drainer.remaining("old")[FIRST].startswith("is at work")
        member.snapshot = world.seen = READY
        await asyncio.sleep(5)
        assert world.deeds == ALL

    played(test)


def test_who_turns_out_to_be_at_work_when_it_is_asked_itself_is_followed_again_undisturbed() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.seen = BUSY
        await asyncio.sleep(2)
        assert world.deeds[:1] == ["adopt"]
        assert not any(deed.startswith(("end", "destroy")) for deed in world.deeds)
        assert world.roll.members.has(FIRST)
        assert member.record.moving_from == ""

    played(test)


def test_a_message_that_comes_while_it_is_asked_keeps_the_agent_where_it_is() -> None:
    async def test(world: World) -> None:
        await world.recruit()

        async def send() -> None:
            (message,) = world.roll.mail.check([draft()], "lead", 1.0)
            assert not isinstance(message, Exception)
            await world.roll.mail.accept([message])

        world.meanwhile = send
        await asyncio.sleep(3)
        assert world.deeds == ["adopt"]

    played(test)


def test_one_whose_work_cannot_be_carried_goes_on_where_it_was_and_is_tried_again() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.trouble["work"] = UnavailableError("the disk hangs")
        await asyncio.sleep(5)
        assert world.deeds[-1] == "start on old"
        assert (member.record.host, member.record.moving_from) == ("old", "")
        assert "the disk hangs" in world.drainer.remaining("old")[FIRST]
        world.trouble.clear()
        await asyncio.sleep(30)
        assert world.deeds[-1] == "start on new"

    played(test)


def test_one_that_cannot_be_settled_elsewhere_belongs_where_it_was() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.trouble["settle"] = UnavailableError("no room on the disk")
        await asyncio.sleep(5)
        assert world.places[FIRST] == member.record.host == "old"
        assert world.deeds[-1] == "start on old"

    played(test)


def test_one_that_does_not_start_elsewhere_is_started_there_later_and_nowhere_else() -> None:
    async def test(world: World) -> None:
        member = await world.recruit()
        world.trouble["start"] = UnavailableError("no prompt")
        await asyncio.sleep(10)
        assert (member.record.host, member.record.stage, member.record.moving_from) == ("new", Stage.FAILED, "old")
        assert FIRST in world.drainer.remaining("old")
        world.trouble.clear()
        await asyncio.sleep(30)
        assert world.deeds == ALL
        assert member.record.moving_from == ""

    played(test)


@pytest.mark.parametrize("host", ["old", "new"])
def test_what_a_crash_has_cut_off_is_gone_on_with(host: str) -> None:
    async def test(world: World) -> None:
        member = await world.recruit(host=host, moving_from="old", stage=Stage.FAILED, actor=f"{FIRST}@1")
        await world.roll.members.leave(FIRST)
        member.snapshot = replace(READY, status=Status.FAILED)
        await asyncio.sleep(10)
        assert world.deeds == (ALL[2:] if host == "old" else ALL[-1:])
        assert (member.record.host, member.record.moving_from) == ("new", "")

    played(test)


def test_a_drain_that_was_taken_back_leaves_its_instances_and_starts_one_again_that_had_been_ended() -> None:
    async def test(world: World) -> None:
        world.drained.clear()
        member = await world.recruit(moving_from="old", stage=Stage.FAILED)
        await world.roll.members.leave(FIRST)
        member.snapshot = replace(READY, status=Status.FAILED)
        await asyncio.sleep(10)
        assert world.deeds == ["start on old"]
        assert member.record.moving_from == ""
        await asyncio.sleep(100)
        assert world.deeds == ["start on old"]

    played(test)


def test_one_that_has_ended_and_may_go_on_some_day_is_taken_along_and_not_started() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(stage=Stage.STOPPED)
        await world.roll.members.leave(FIRST)
        member.snapshot = replace(READY, status=Status.STOPPED)
        await asyncio.sleep(10)
        assert world.deeds == ["conversation", "work", "settle on new", "clear old"]
        assert member.record.host == "new"

    played(test)


def test_who_works_in_a_directory_of_the_host_itself_and_who_was_terminated_stay() -> None:
    async def test(world: World) -> None:
        member = await world.recruit(workspace=workspace(home=None))
        await asyncio.sleep(10)
        assert world.deeds == []
        assert "until it is terminated" in world.drainer.remaining("old")[FIRST]
        await world.roll.save(FIRST, wanted=False, workspace=workspace())
        await asyncio.sleep(10)
        assert world.deeds == []
        member.snapshot = replace(READY, status=Status.STOPPED)
        assert world.drainer.remaining("old") == {}

    played(test)


def test_while_no_other_host_takes_it_an_instance_goes_on_undisturbed_and_the_reason_is_told() -> None:
    async def test(world: World) -> None:
        await world.recruit()
        world.full = True
        await asyncio.sleep(20)
        assert world.deeds == []
        assert "no other host takes it" in world.drainer.remaining("old")[FIRST]

    played(test)


def test_it_is_handed_over_only_to_a_host_with_the_labels_of_its_spawn() -> None:
    async def test(world: World) -> None:
        await world.recruit(labels={"disk": "fast"})
        await asyncio.sleep(5)
        assert world.wanted == [{"disk": "fast"}]
        assert world.deeds == ALL

    played(test)


def test_while_the_hosts_with_its_labels_are_full_it_goes_on_where_it_is_and_says_for_what_it_waits() -> None:
    async def test(world: World) -> None:
        await world.recruit(labels={"disk": "fast"})
        world.room.clear()
        await asyncio.sleep(60)
        assert world.deeds == []
        assert world.drainer.remaining("old")[FIRST] == "waits until there is room on another host that is disk=fast"
        world.room.set()
        await asyncio.sleep(5)
        assert world.deeds == ALL
        assert world.drainer.remaining("old") == {}

    played(test)
