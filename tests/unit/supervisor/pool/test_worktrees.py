"""On which hosts spare worktrees are kept, and who gets them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from actors.errors import UnavailableError
from actors.worktrees.model import Workspace
from supervisor.pool.makers import WorktreeMaker
from supervisor.pool.pool import PAUSE_S, Pool
from supervisor.spawning.admission import FairSemaphore
from supervisor.team.team import Team
from tests.memory_store import MemoryStore
from tests.unit.supervisor import virtual_time
from tests.unit.supervisor.pool.hosts import Hosts, kept

PROJECT = Path("/project")


class Scene:
    """Host and hosts in one; ``deeds`` tells what was done."""

    def __init__(self) -> None:
        self.team = Team(MemoryStore())
        self.hosts = Hosts()
        self.deeds: list[str] = []
        self.undoes = True
        this: Any = self
        maker = WorktreeMaker(this, self.team, self.hosts)
        permits, changes = FairSemaphore(8), self.team.changes
        self.worktrees: Pool[Path, Workspace] = Pool(maker, dict, permits, changes, self.team.confirm)

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        await asyncio.sleep(0.1)
        if self.hosts.settled[name] not in self.hosts.there:
            raise UnavailableError("the host does not answer")
        return Workspace(mode="isolated", directory=Path("/w") / name, worktree=Path("/w") / name)

    async def undo_workspace(self, spare: Workspace) -> None:
        host = self.hosts.settled[spare.directory.name]
        self.deeds.append(f"undo on {host}")
        if not self.undoes:
            raise UnavailableError("the host does not answer")


def played(test: Callable[[Scene], Awaitable[None]]) -> None:
    async def play() -> None:
        scene = Scene()
        async with kept(scene.worktrees):
            scene.worktrees.recognise(())
            await test(scene)

    virtual_time.run(play)


def test_they_are_spread_and_taken_only_on_their_own_host() -> None:
    async def test(scene: Scene) -> None:
        scene.worktrees.order(PROJECT, 4)
        await asyncio.sleep(1)
        assert sorted(scene.worktrees.hosts().values()) == [1, 1, 2]
        names = []
        while (spare := scene.worktrees.take(PROJECT, ["b"])) is not None:
            names.append(spare.name)
        assert {scene.hosts.settled[name] for name in names} == {"b"}
        assert scene.worktrees.hosts()["b"] == 0
        assert len(scene.worktrees.ready(PROJECT)) == 4 - len(names)

    played(test)


def test_a_drained_host_loses_its_own_and_a_lost_one_is_not_asked_and_both_are_made_up_for_elsewhere() -> None:
    async def test(scene: Scene) -> None:
        scene.worktrees.order(PROJECT, 3)
        await asyncio.sleep(1)
        scene.hosts.drained.add("b")
        scene.hosts.there.remove("c")
        assert scene.worktrees.take(PROJECT, ["b"]) is None
        scene.team.changes.announce()
        await asyncio.sleep(1)
        assert scene.deeds == ["undo on b"]
        assert scene.worktrees.hosts() == Counter({"a": 3})
        assert len(scene.team.registry.spare_worktrees) == 3

    played(test)


def test_one_that_could_not_be_taken_away_is_tried_again_and_belongs_to_the_team_until_it_is_gone() -> None:
    async def test(scene: Scene) -> None:
        scene.worktrees.order(PROJECT, 3)
        await asyncio.sleep(1)
        scene.undoes = False
        scene.hosts.drained.add("b")
        scene.team.changes.announce()
        await asyncio.sleep(1)
        assert len(scene.team.registry.spare_worktrees) == 4
        scene.undoes = True
        await asyncio.sleep(2 * PAUSE_S)
        assert scene.deeds == ["undo on b"] * 2
        assert len(scene.team.registry.spare_worktrees) == 3

    played(test)
