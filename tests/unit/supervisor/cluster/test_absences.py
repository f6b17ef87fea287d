"""A host that is missed is waited for: long enough for its lease to run out, and longer when the head itself is new."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.nodes import Node
from supervisor.cluster import scheduler as scheduler_module
from supervisor.cluster.scheduler import FENCE_S, RETURN_S, HostScheduler
from supervisor.team.links import InstanceLinks
from supervisor.team.registry import Registry
from tests.unit.supervisor import virtual_time


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler_module, "time", virtual_time.clock())


class Cluster:
    def __init__(self) -> None:
        self.there = ["head"]

    async def nodes(self) -> tuple[Node, ...]:
        return tuple(Node(name=name, address=name, slots=1) for name in self.there)


def test_a_host_that_was_there_is_given_up_when_no_copy_on_it_may_type_any_more_each_time_anew() -> None:
    async def play() -> None:
        cluster: Any = Cluster()
        scheduler = HostScheduler("head", cluster, cluster, Registry(), InstanceLinks())
        for _ in range(2):
            cluster.there = ["head", "one"]
            await asyncio.sleep(2)
            await scheduler.nodes()
            assert not scheduler.is_lost("one")
            cluster.there = ["head"]
            await asyncio.sleep(FENCE_S)
            await scheduler.nodes()
            assert scheduler.is_lost("one")
            assert not scheduler.may_be_replaced("one")
            await asyncio.sleep(FENCE_S - 1)
            assert not scheduler.may_be_replaced("one")
            await asyncio.sleep(1)
            assert scheduler.may_be_replaced("one")

    virtual_time.run(play)


def test_a_host_that_has_not_joined_a_new_head_yet_is_waited_for_longer() -> None:
    async def play() -> None:
        cluster: Any = Cluster()
        scheduler = HostScheduler("head", cluster, cluster, Registry(), InstanceLinks())
        assert not scheduler.is_lost("one")
        await scheduler.nodes()
        await asyncio.sleep(RETURN_S - 1)
        assert not scheduler.may_be_replaced("one")
        assert not scheduler.is_lost("one")
        await asyncio.sleep(1)
        assert scheduler.may_be_replaced("one")
        assert scheduler.is_lost("one")

    virtual_time.run(play)
