"""Calls to actors: how long one may take, whether it is made again, what is asked before, and who understands whom."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from ray.exceptions import ActorUnavailableError

from actors import ray_client
from actors.agents.catalog import AgentCatalog
from actors.errors import UnavailableError, VersionError
from actors.host.actor import HostProxy
from actors.host.host import Host
from actors.instance.actor import InstanceProxy
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.ray_client import ActorProxy, actor_class, make_actor, meet
from actors.remote import remote, remote_methods
from actors.transfer.service import TransferService
from actors.versions import ACTOR_PROTOCOL, PROTOCOL, check_protocol
from tests.fakes.clock import turns


class Depot:
    @remote(timeout_s=1.0, retry=True)
    async def store(self, what: str, *, twice: bool = False) -> str:
        return what


class Machine:
    REMOTE_PARTS: ClassVar[Mapping[str, type]] = {"depot": Depot}
    depot: Depot

    @remote(timeout_s=0.05, plus="patience_s", retry=True)
    async def look(self, patience_s: float) -> str:
        return ""

    @remote(timeout_s=1.0)
    async def give(self, name: str) -> str:
        return name

    @remote(timeout_s=1.0, ping=True)
    async def build(self, what: str) -> str:
        return what

    async def private(self) -> None:
        """No other process may call it."""


class Actor:
    """A Ray actor's handle: notes what it was called, and answers with the name or as ``answers`` say."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.answers: dict[str, Callable[[], Any]] = {}

    def __getattr__(self, name: str) -> Any:
        actor = self

        class Remote:
            async def remote(self, *given: object, **named: object) -> Any:
                actor.calls.append((name, *given, *named.items()))
                return await actor.answers[name]() if name in actor.answers else name

        return Remote()

    def is_away(self, name: str, times: int) -> None:
        """The next calls of this method find it just being restarted."""
        left = iter(range(times))

        async def answer() -> str:
            if next(left, None) is not None:
                raise ActorUnavailableError("restarting", None)
            return "at last"

        self.answers[name] = answer


PING = ("meet", ACTOR_PROTOCOL)


@pytest.fixture
def actor() -> Actor:
    return Actor()


@pytest.fixture
def machine(actor: Actor) -> Machine:
    return cast("Machine", ActorProxy(actor, Machine, "The machine"))


async def test_what_may_be_done_twice_is_asked_again_when_the_actor_is_back(actor: Actor, machine: Machine) -> None:
    actor.is_away("look", times=2)

    assert await machine.look(1.0) == "at last"
    assert actor.calls == [("look", 1.0)] * 3


@pytest.mark.parametrize("name", ["give", "build"])
async def test_of_what_may_not_be_done_twice_the_outcome_is_not_known(
    actor: Actor, machine: Machine, name: str
) -> None:
    actor.is_away(name, times=1)

    with pytest.raises(UnavailableError, match="The machine is not running now"):
        await getattr(machine, name)("a")
    assert actor.calls.count((name, "a")) == 1


async def test_an_actor_that_has_just_answered_is_not_asked_whether_it_is_there(actor: Actor, machine: Machine) -> None:
    for _ in range(3):
        await machine.build("a")

    assert actor.calls == [PING, *[("build", "a")] * 3]


async def test_one_that_has_not_is_waited_for_before_what_may_not_be_done_twice(
    actor: Actor, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_client, "FRESH_S", -1.0)
    actor.is_away("meet", times=1)
    await machine.look(1.0)

    await machine.build("a")

    assert actor.calls == [("look", 1.0), PING, PING, ("build", "a")]


@pytest.mark.parametrize("given", [((0.1,), {}), ((), {"patience_s": 0.1})])
async def test_the_seconds_of_an_argument_are_added_to_the_limit(actor: Actor, machine: Machine, given: Any) -> None:
    actor.answers["look"] = asyncio.Event().wait
    arguments, named = given
    begun = asyncio.get_running_loop().time()

    with pytest.raises(UnavailableError, match="The machine did not answer"):
        await machine.look(*arguments, **named)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(0.15)


async def test_arguments_are_given_on_by_name(actor: Actor, machine: Machine) -> None:
    await machine.give(name="a")

    assert actor.calls == [("give", ("name", "a"))]


async def test_methods_of_a_part_are_called_too(actor: Actor, machine: Machine) -> None:
    actor.is_away("depot_store", times=1)

    assert await machine.depot.store("a", twice=True) == "at last"
    assert actor.calls == [("depot_store", "a", ("twice", True))] * 2


async def test_an_actor_of_the_class_answers_for_its_parts() -> None:
    class Made(Machine):
        def __init__(self) -> None:
            self.depot = Depot()

    actor_class(Made)
    made: Any = Made()

    assert await made.depot_store("a", twice=True) == "a"


def test_what_is_not_marked_cannot_be_called(machine: Machine) -> None:
    with pytest.raises(AttributeError):
        machine.private  # noqa: B018


class Handle:
    """Of an actor, as it arrives in another process."""

    class depot_store:  # noqa: N801 - the name of a method
        @staticmethod
        async def remote(what: str) -> str:
            return f"stored {what}"


async def test_the_proxy_of_a_part_can_be_sent_to_another_process() -> None:
    depot = cast("Machine", ActorProxy(Handle(), Machine, "The machine")).depot
    await depot.store("a")

    arrived: Depot = pickle.loads(pickle.dumps(depot))  # noqa: S301 - our own

    assert await arrived.store("a") == "stored a"
    with pytest.raises(AttributeError):
        arrived.look  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("plain", "otherwise"),
    [
        (Host, set()),
        (Instance, {"meet", "leave"}),  # by ``ray_client.meet``; within its own process only
        (TransferService, set()),
    ],
)
def test_every_public_method_can_be_called_but_those_that_are_called_otherwise(
    plain: type, otherwise: set[str]
) -> None:
    public = {name for name, found in vars(plain).items() if inspect.iscoroutinefunction(found) and name[0] != "_"}

    assert public - set(remote_methods(plain)) == otherwise


async def test_a_host_is_asked_for_its_name_once(actor: Actor) -> None:
    host = HostProxy(actor)

    assert [await host.name(), await host.name()] == ["name", "name"]
    assert actor.calls == [("name",)]


async def test_an_actor_is_called_by_its_own_name_until_it_is_that_of_an_instance(actor: Actor, tmp_path: Path) -> None:
    for name in ("expect_end", "tune"):
        actor.is_away(name, times=1)
    proxy = InstanceProxy("spare_1", actor)
    config = InstanceConfig(
        instance_id="spec_0_0_1",
        agent="demo",
        session_id="0",
        directory=tmp_path,
        tmux_socket=tmp_path / "no-tmux.sock",
        limits=BatchLimits(size=10, delay_s=0.1),
    )

    with pytest.raises(UnavailableError, match="The actor of spare_1 is not running"):
        await proxy.expect_end()
    assert await proxy.adopt(config, "%1", 1) == "adopt"
    with pytest.raises(UnavailableError, match="The actor of spec_0_0_1 is not running"):
        await proxy.tune(config.limits)


@pytest.mark.parametrize("theirs", [PROTOCOL - 1, PROTOCOL + 1])
def test_another_protocol_is_refused_with_what_to_do(theirs: int) -> None:
    check_protocol(PROTOCOL, "this", "that")
    with pytest.raises(VersionError, match=r"that and this do not understand .*`phalanx up --resume` renews"):
        check_protocol(theirs, "this", "that")


async def test_an_actor_meets_only_a_supervisor_of_its_own_protocol() -> None:
    instance = Instance(AgentCatalog(claude_command="claude", python="python"))
    await instance.meet(ACTOR_PROTOCOL)
    with pytest.raises(VersionError, match="the supervisor and this actor"):
        await instance.meet(ACTOR_PROTOCOL + 1)


async def test_whoever_gives_up_an_actor_that_is_just_being_made_goes_on_when_it_is_there_to_be_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def ray_answers(make: Callable[[], object], what: str) -> object:
        asked.set()
        await may_answer.wait()
        return make()

    made: list[str] = []
    monkeypatch.setattr(ray_client, "in_thread", ray_answers)
    monkeypatch.setattr(ray_client, "named_actor", lambda actor, name: made.append(name))
    making = asyncio.create_task(make_actor(None, "instance-spec_0_0_1"))
    await asked.wait()
    making.cancel()
    await turns()
    assert not making.done()

    may_answer.set()

    with pytest.raises(asyncio.CancelledError):
        await making
    assert made == ["instance-spec_0_0_1"]


async def test_an_actor_of_before_protocols_had_numbers_is_noticed() -> None:
    with pytest.raises(VersionError, match="The actor spec_0_0_1 and this supervisor"):
        await meet(object(), "The actor spec_0_0_1", 1.0)
