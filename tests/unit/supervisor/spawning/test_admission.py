"""Which starts may begin and when: by permits, by memory and slots, and in which directories."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, UnavailableError, WrongStateError
from actors.home import Home
from supervisor.spawning import admission
from supervisor.spawning.admission import LOOK_S, FairSemaphore, MemoryAdmission, WorkDirPolicy
from tests.fakes.clock import turns
from tests.fakes.hosts import CATALOG, FakeHost, host_load


class Permits:
    """Holders of one semaphore, by name. ``order``: the names of those that got a permit, as they got it."""

    def __init__(self, limit: int) -> None:
        self.semaphore = FairSemaphore(limit)
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._let_go: dict[str, asyncio.Event] = {}

    def ask(self, *names: str, caller: str | None = "") -> None:
        """Each holds its permit until it is let go. ``caller`` None: in the background."""
        for name in names:
            hold = self.semaphore.hold_in_background() if caller is None else self.semaphore.hold(caller)
            self._let_go[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._hold(name, hold))

    async def _hold(self, name: str, hold: AbstractAsyncContextManager[None]) -> None:
        async with hold:
            self.order.append(name)
            await self._let_go[name].wait()

    async def let_go(self, *names: str) -> None:
        for name in names:
            await turns(5)
            self._let_go[name].set()
            await self.tasks[name]
        await turns(5)


async def test_no_more_than_the_limit_hold_at_once_and_the_first_come_is_the_first_served() -> None:
    permits = Permits(2)
    permits.ask(*"abcd")
    await turns(5)
    assert (permits.order, permits.semaphore.held, permits.semaphore.waiting) == (["a", "b"], 2, 2)
    await permits.let_go("b")
    assert (permits.order, permits.semaphore.held) == (["a", "b", "c"], 2)
    await permits.let_go("a", "c", "d")
    assert (permits.order, permits.semaphore.held) == (["a", "b", "c", "d"], 0)


async def test_a_larger_limit_admits_those_that_wait_at_once() -> None:
    permits = Permits(1)
    permits.ask(*"abc")
    await turns(5)
    permits.semaphore.resize(3)
    await turns(5)
    assert permits.order == ["a", "b", "c"]
    await permits.let_go(*"abc")


async def test_a_holder_that_stops_waiting_or_fails_frees_its_permit() -> None:
    permits = Permits(1)
    permits.ask(*"abc")
    for name in "ba":
        await turns(5)
        permits.tasks[name].cancel()
    await turns(5)
    assert permits.order == ["a", "c"]
    await permits.let_go("c")
    assert permits.semaphore.held == 0


async def test_a_caller_that_stops_waiting_takes_nothing_from_those_that_came_after_it() -> None:
    permits = Permits(1)
    permits.ask("first", "waiter", caller="a")
    await turns(5)
    # In one turn of the loop, in this order: the holder ends, others come, and the one that waited goes away.
    permits.tasks["first"].cancel()
    permits.ask("later", "last", caller="a")
    permits.tasks["waiter"].cancel()
    await turns(5)
    assert (permits.order, permits.semaphore.held, permits.semaphore.waiting) == (["first", "later"], 1, 1)
    await permits.let_go("later")
    assert permits.order == ["first", "later", "last"]
    await permits.let_go("last")
    assert permits.semaphore.held == 0


async def test_callers_take_turns_however_much_one_of_them_asks_for() -> None:
    permits = Permits(1)
    permits.ask("a0", "a1", "a2", "a3", caller="a")
    await turns(5)
    for name in "bc":
        permits.ask(name, caller=name)
    await permits.let_go("a0", "a1", "b", "c", "a2", "a3")
    assert permits.order == ["a0", "a1", "b", "c", "a2", "a3"]
    assert (permits.semaphore.held, permits.semaphore.waiting) == (0, 0)


async def test_the_background_begins_when_no_caller_waits_or_holds_and_leaves_one_free() -> None:
    permits = Permits(2)
    permits.ask("urgent")
    permits.ask("refill 1", "refill 2", caller=None)
    await turns(5)
    assert (permits.order, permits.semaphore.waiting) == (["urgent"], 0)
    await permits.let_go("urgent")
    assert permits.order == ["urgent", "refill 1"]
    permits.ask("late")
    await permits.let_go("refill 1")
    assert (permits.order[2:], permits.semaphore.held) == (["late"], 1), "no refill begins beside a caller's work"
    await permits.let_go("late")
    assert permits.order[-1] == "refill 2"
    await permits.let_go("refill 2")


async def test_with_a_limit_of_one_the_background_still_gets_its_turn() -> None:
    permits = Permits(1)
    permits.ask("refill", caller=None)
    await permits.let_go("refill")
    assert permits.order == ["refill"]


async def test_once_it_is_closed_those_that_wait_and_those_that_ask_later_are_refused() -> None:
    permits = Permits(1)
    permits.ask("first")
    permits.ask("second", caller="other")
    permits.ask("refill", caller=None)
    await turns(5)
    permits.semaphore.close("it ends")
    permits.ask("third")
    refused = await asyncio.gather(
        *(permits.tasks[name] for name in ("second", "refill", "third")), return_exceptions=True
    )
    assert [(type(error), str(error)) for error in refused] == [(WrongStateError, "it ends")] * 3
    assert permits.semaphore.held == 1
    await permits.let_go("first")
    assert permits.semaphore.held == 0


def machine_with(free_mb: int) -> FakeHost:
    host = FakeHost()
    host.load_now = host_load(free_mb)
    return host


def memory(machine: FakeHost) -> MemoryAdmission:
    return MemoryAdmission(machine, CATALOG, agent_mb=300, reserve_mb=500)


async def test_a_start_that_does_not_fit_waits_says_so_and_goes_on_once_there_is_memory() -> None:
    machine = machine_with(1400)
    where, told = memory(machine), list[str]()
    async with AsyncExitStack() as started:
        for _ in range(3):
            await started.enter_async_context(where.hold("claude"))
        late = asyncio.create_task(started.enter_async_context(where.hold("claude", told.append)))
        await asyncio.sleep(5)
        assert not late.done()
        assert "0 MB are free beside the reserve" in told[-1]
        assert where.warning.startswith("1 agent waits to be started")
        assert not await where.fits("demo")
        machine.available_mb += 300
        await late
        assert where.warning == ""


async def test_starts_that_wait_are_served_in_order_and_a_small_one_does_not_overtake() -> None:
    machine, order = machine_with(500), list[str]()
    where = memory(machine)

    async def start(name: str, agent: str) -> None:
        async with where.hold(agent):
            order.append(name)

    starts = [asyncio.create_task(start("first", "claude")), asyncio.create_task(start("second", "demo"))]
    await asyncio.sleep(1)
    machine.available_mb = 700
    await asyncio.sleep(1)
    assert order == []
    machine.available_mb = 900
    await asyncio.gather(*starts)
    assert order == ["first", "second"]


async def test_what_is_only_kept_ready_is_given_up_for_a_start_that_waits() -> None:
    machine = machine_with(500)
    where = memory(machine)

    async def give_up() -> None:
        while True:
            assert await where.full_hosts() == {""}
            machine.available_mb += 150

    giving = asyncio.create_task(give_up())
    async with where.hold("claude"):
        assert machine.available_mb == 800
    giving.cancel()


async def test_what_is_only_kept_ready_is_given_up_while_other_programs_take_of_the_reserve() -> None:
    machine = machine_with(600)
    full = asyncio.create_task(memory(machine).full_hosts())
    await asyncio.sleep(3 * LOOK_S)
    assert not full.done()
    machine.available_mb = 499
    assert await full == {""}


async def test_a_start_that_finds_no_room_for_very_long_is_refused_in_words_and_holds_nothing() -> None:
    machine = machine_with(600)
    where = memory(machine)
    words = (
        "There was no memory for another agent for 90 s: 100 MB are free beside the reserve of 500 MB, and one "
        "needs up to 300 MB. Terminate instances whose work is done, then start it again. Or lower agent_memory_mb"
    )
    with pytest.raises(UnavailableError, match=re.escape(words)):
        async with where.hold("claude"):
            raise AssertionError("it did not fit")
    assert asyncio.get_running_loop().time() - 1000.0 < 100.0
    assert where.warning == ""
    machine.available_mb = 800
    assert await where.fits("claude")


async def refused_after(where: MemoryAdmission, agent: str = "claude") -> float:
    """Seconds."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    with pytest.raises(UnavailableError):
        async with where.hold(agent):
            raise AssertionError("it did not fit")
    return clock() - begun


async def test_a_batch_beyond_memory_is_refused_together_and_not_a_few_at_a_time() -> None:
    where, told = memory(machine_with(500)), list[str]()
    permits = FairSemaphore(5)

    async def start() -> float:
        async with permits.hold():
            return await refused_after(where)

    starts = [asyncio.create_task(start()) for _ in range(50)]
    watching = asyncio.create_task(where.hold("claude", told.append).__aenter__())
    await asyncio.sleep(1)
    assert where.warning.startswith("6 agents wait to be started until there is memory for them: 0 MB are free")
    assert told
    waited = await asyncio.gather(*starts)
    assert asyncio.get_running_loop().time() - 1000.0 < 100.0
    assert sorted(waited)[44] < 1.0
    with pytest.raises(UnavailableError):
        await watching


async def test_as_long_as_some_are_started_the_others_go_on_waiting() -> None:
    machine = machine_with(500)
    where = memory(machine)
    async with AsyncExitStack() as started:
        starts = [asyncio.create_task(started.enter_async_context(where.hold("claude"))) for _ in range(4)]
        for _ in range(4):
            await asyncio.sleep(80)
            machine.available_mb += 300
        await asyncio.gather(*starts)


async def test_a_start_that_comes_later_or_after_one_that_went_away_waits_its_own_time() -> None:
    where = memory(machine_with(500))
    gone = asyncio.create_task(where.hold("claude").__aenter__())
    await asyncio.sleep(60)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert await refused_after(where) > 89
    assert await refused_after(where) < 1
    await asyncio.sleep(10)
    assert await refused_after(where) > 89


async def test_on_another_host_only_its_slots_count_and_spares_there_give_way_one_after_the_other() -> None:
    left, asked, told = {"other": -2, "full": -1}, list[str](), list[str]()
    where = MemoryAdmission(
        machine_with(0), CATALOG, agent_mb=300, reserve_mb=500, slots_left=lambda host: left.get(host, 1)
    )

    async def give_up() -> None:
        while True:
            for host in await where.full_hosts():
                asked.append(host)
                left[host] += host == "other"

    giving = asyncio.create_task(give_up())
    full = asyncio.create_task(where.hold("claude", told.append, "full").__aenter__())
    async with where.hold("claude", host="other"):
        assert asked.count("other") == 2
    async with where.hold("claude", host="third"):
        assert not full.done()
    assert told[-1].startswith("waits for room on full: each slot of this host is taken")
    left["full"] = 0
    await full
    giving.cancel()


async def test_a_start_in_the_place_of_one_that_ends_for_it_need_not_wait_and_no_other_gets_that_place() -> None:
    machine = machine_with(500)
    where = memory(machine)
    async with where.hold("claude", replaces=True):
        machine.available_mb += 300  # the earlier one has ended
        assert not await where.fits("demo")
        machine.available_mb -= 300  # the next one has grown as large
    assert not await where.fits("demo")
    machine.available_mb += 60
    assert await where.fits("demo")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A user's home with Phalanx's home, projects and a way out of them."""
    for directory in ("user/.phalanx/worktrees/spec_0_0_1", "user/.phalanx/instances", "user/src/shop", "other/shop"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "user/src/away").symlink_to(tmp_path / "other")
    (tmp_path / "user/src/loop").symlink_to(tmp_path / "user/src/loop")
    (tmp_path / "user/src/a file").write_text("")
    (tmp_path / "user/src-of-somebody").mkdir()
    return tmp_path


def policy(place: Path, *allowed: str) -> WorkDirPolicy:
    return WorkDirPolicy(Home(place / "user/.phalanx"), place / "user", [place / one for one in allowed])


@pytest.mark.parametrize("directory", ["user/src/shop", "other/shop", "user/.phalanx/worktrees/spec_0_0_1"])
async def test_without_a_limit_every_project_and_worktree_may_be_worked_on(place: Path, directory: str) -> None:
    assert await policy(place).checked(str(place / directory)) == place / directory


@pytest.mark.parametrize(
    ("work_dir", "words"),
    [
        ("{}/user", "too wide"),
        ("{}/user/src/..", "too wide"),
        ("{}/user/.phalanx", "belongs to Phalanx"),
        ("{}/user/.phalanx/instances", "belongs to Phalanx"),
        ("{}/user/src/missing", "not a directory"),
        ("{}/user/src/a file", "not a directory"),
        ("{}/user/src/loop", "cannot be used|not a directory"),
        ("{}/user/src/shop\0", "absolute path"),
        ("/", "too wide"),
        ("src/shop", "absolute"),
        ("~/src", "absolute"),
    ],
)
def test_what_is_no_project_is_refused_in_words(place: Path, work_dir: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        policy(place).check(work_dir.format(place))


@pytest.mark.parametrize("directory", ["user/src", "user/src/shop", "user/.phalanx/worktrees/spec_0_0_1"])
def test_inside_what_is_allowed_and_in_worktrees_of_the_team_one_may_work(place: Path, directory: str) -> None:
    assert policy(place, "user/src", "other/none").check(str(place / directory)) == place / directory


@pytest.mark.parametrize(
    "directory", ["other/shop", "user/src/../src-of-somebody", "user/src/away/shop", "user/src-of-somebody"]
)
def test_outside_of_what_is_allowed_the_refusal_names_what_is(place: Path, directory: str) -> None:
    with pytest.raises(InvalidRequestError, match="outside what is allowed") as refused:
        policy(place, "user/src").check(f"{place}/{directory}")
    assert str(place / "user/src") in str(refused.value)
    assert "allowed_work_dirs" in str(refused.value)


def test_an_allowed_directory_may_itself_be_reached_by_a_link(place: Path) -> None:
    assert policy(place, "user/src/away").check(str(place / "other/shop")) == place / "other/shop"


@pytest.mark.real_time
async def test_a_directory_whose_file_system_hangs_is_refused_and_holds_up_nobody(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    checked = policy(place)
    monkeypatch.setattr(admission, "ANSWERS_S", 0.05)
    monkeypatch.setattr(checked, "check", lambda *_: answers.wait(20))
    with pytest.raises(InvalidRequestError, match="hangs"):
        await checked.checked(str(place / "user/src/shop"))
    answers.set()
