"""A spawn that is undone while its worktree is being made, on a real repository: nothing of it stays or comes later."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.errors import WrongStateError
from actors.home import Home
from actors.host.host import Host
from tests.fakes.hosts import CATALOG
from tests.integration.worktrees.conftest import Place

SOON_S = 20.0


async def test_a_worktree_that_was_being_made_when_its_spawn_was_undone_goes_and_none_is_made_later(
    place: Place, short_tmp: Path
) -> None:
    home = Home(short_tmp / "h")
    home.create()
    host = Host(home, CATALOG, place.environment)
    begun, go_on = place.base / "begun", place.base / "go on"
    place.hook(f"touch '{begun}'; while [ ! -e '{go_on}' ]; do sleep 0.05; done")
    spawn = asyncio.create_task(host.create_workspace("spec_1", place.repository, "isolated"))
    async with asyncio.timeout(SOON_S):
        while not begun.exists():  # noqa: ASYNC110 - a hook tells nobody
            await asyncio.sleep(0.05)

    spawn.cancel()
    undo = asyncio.create_task(host.withdraw("spec_1"))
    _, waits = await asyncio.wait([undo], timeout=0.2)
    assert waits == {undo}
    go_on.touch()
    await undo
    await host.discard_worktrees("spec_1", [])
    with pytest.raises(WrongStateError, match="spec_1 was undone"):
        await host.create_workspace("spec_1", place.repository, "isolated")

    assert spawn.cancelled()
    assert list(home.worktrees.iterdir()) == []
    assert place.branches() == {"main"}
    assert "spec_1" not in place.git(place.repository, "worktree", "list")
