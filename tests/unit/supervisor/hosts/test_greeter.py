from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from actors.errors import UnavailableError
from actors.nodes import Node
from supervisor.hosts import roster as roster_module
from supervisor.hosts.greeter import Greeter
from supervisor.hosts.ports import FullHost
from supervisor.hosts.roster import Roster
from tests.unit.supervisor.virtual_time import run

LINK = cast("FullHost", object())


class Cluster:
    """Hosts that come; those in ``silent`` cannot be connected to, those in ``hanging`` for a minute."""

    def __init__(self) -> None:
        self.names = ["head", "one"]
        self.silent: set[str] = set()
        self.hanging: set[str] = set()
        self.asked: list[str] = []
        self.ray_is_away = False

    async def nodes(self) -> tuple[Node, ...]:
        if self.ray_is_away:
            raise UnavailableError("Ray does not answer")
        return tuple(Node(name=name, address=name, slots=1) for name in self.names)

    async def connect(self, node: Node) -> FullHost:
        self.asked.append(node.name)
        if node.name in self.hanging:
            await asyncio.sleep(60)
        if node.name in self.silent:
            raise UnavailableError("no answer")
        return LINK

    async def leave(self, node: str) -> None: ...

    async def want_slots(self, count: int) -> None: ...


@pytest.fixture(autouse=True)
def no_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Virtual time does not reach the roster's clock."""
    monkeypatch.setattr(roster_module, "_STALE_S", -1.0)


def greeted(cluster: Cluster, scenario: Callable[[], Awaitable[None]]) -> Roster:
    async def play() -> Roster:
        roster = Roster("head", LINK, cluster, 0)
        greeter = Greeter(roster)
        greeter.begin()
        await scenario()
        await greeter.end()
        return roster

    return run(play)


def test_every_host_is_connected_to_once_also_one_that_comes_later() -> None:
    cluster = Cluster()

    async def scenario() -> None:
        await asyncio.sleep(10)
        cluster.names.append("later")
        await asyncio.sleep(10)

    assert sorted(greeted(cluster, scenario).linked()) == ["head", "later", "one"]
    assert cluster.asked == ["one", "later"]


def test_a_host_that_hangs_or_refuses_holds_up_no_other_and_is_tried_again() -> None:
    cluster = Cluster()
    cluster.names += ["mute", "slow"]
    cluster.silent, cluster.hanging = {"mute"}, {"slow"}

    async def scenario() -> None:
        await asyncio.sleep(5)
        assert cluster.asked == ["one", "mute", "slow"]
        cluster.silent.clear()
        await asyncio.sleep(70)

    assert sorted(greeted(cluster, scenario).linked()) == ["head", "mute", "one", "slow"]
    assert cluster.asked == ["one", "mute", "slow", "mute"]


def test_while_ray_does_not_answer_it_looks_again() -> None:
    cluster = Cluster()
    cluster.ray_is_away = True

    async def scenario() -> None:
        await asyncio.sleep(10)
        cluster.ray_is_away = False
        await asyncio.sleep(10)

    assert sorted(greeted(cluster, scenario).linked()) == ["head", "one"]
