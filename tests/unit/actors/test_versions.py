from __future__ import annotations

from typing import Any

import pytest

from actors.agents.catalog import AgentCatalog
from actors.errors import VersionError
from actors.instance.instance import Instance
from actors.ray_client import meet
from actors.versions import ACTOR_PROTOCOL, PROTOCOL, check_protocol


def test_the_same_protocol_is_understood() -> None:
    check_protocol(PROTOCOL, "this", "that")


@pytest.mark.parametrize("theirs", [PROTOCOL - 1, PROTOCOL + 1])
def test_another_protocol_is_refused_with_what_to_do(theirs: int) -> None:
    with pytest.raises(VersionError, match="that and this do not understand each other") as raised:
        check_protocol(theirs, "this", "that")
    assert "`phalanx down`, then `phalanx up --resume`" in str(raised.value)


async def test_an_actor_meets_only_a_supervisor_of_its_own_protocol() -> None:
    seat = Instance(AgentCatalog(claude_command="claude", python="python"))
    await seat.meet(ACTOR_PROTOCOL)
    with pytest.raises(VersionError, match="the supervisor and this actor"):
        await seat.meet(ACTOR_PROTOCOL + 1)


class Remote:
    """A Ray actor's handle, as far as meeting needs it."""

    def __init__(self, **methods: Any) -> None:
        for name, method in methods.items():
            setattr(self, name, type("Method", (), {"remote": staticmethod(method)}))


async def test_a_supervisor_meets_an_actor_before_it_asks_anything_else() -> None:
    asked: list[int] = []

    async def answer(protocol: int) -> None:
        asked.append(protocol)

    await meet(Remote(meet=answer), "The actor", 1.0)
    assert asked == [ACTOR_PROTOCOL]


async def test_an_actor_of_before_protocols_had_numbers_is_noticed() -> None:
    with pytest.raises(VersionError, match="The actor spec_0_0_1 and this supervisor"):
        await meet(Remote(), "The actor spec_0_0_1", 1.0)
