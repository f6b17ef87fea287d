"""What is asked of a host only once is asked of one that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.host import actor as host_actor
from actors.host.actor import HostHandle


class Actor:
    """Every method answers, and notes that it was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        actor = self

        class Remote:
            async def remote(self, *given: object) -> str:
                actor.calls.append(name)
                return name

        return Remote()


async def test_a_host_that_has_just_answered_is_not_asked_whether_it_is_there() -> None:
    actor = Actor()
    handle = HostHandle(actor)
    for _ in range(3):
        await handle.create_spare("spare", Path("/r"))

    assert actor.calls == ["name", "create_spare", "create_spare", "create_spare"]


async def test_one_that_has_not_is_asked_although_its_name_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_actor, "_FRESH_S", -1.0)
    actor = Actor()
    handle = HostHandle(actor)
    await handle.name()
    await handle.create_spare("spare", Path("/r"))

    assert actor.calls == ["name", "name", "create_spare"]
