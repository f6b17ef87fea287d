from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError
from actors.git.layout import find_place
from actors.home import Home
from supervisor.api.requests import GitBatchRequest
from supervisor.api.results import GitBatchResult
from supervisor.api.verbs import Caller
from supervisor.git.service import GitService, RemoteGit
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.team.team import Team
from tests.fakes.git import FakeGit
from tests.fakes.store import MemoryStore

COMMIT = {"type": "commit", "params": {"message": "m", "all": True}}
STATUS = {"type": "status"}


class Scene:
    """A supervisor's git desk over a store that outlives it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = FakeGit(find_place)
        self.store = MemoryStore()
        (root / "project/.git").mkdir(parents=True)
        (root / "project/.git/HEAD").write_text("ref: refs/heads/main\n")

    async def begin(self) -> None:
        """Also in place of one that has died."""
        home = Home(self.root / "home")
        team = Team(self.store)
        await team.load()
        policy = WorkDirPolicy(home, self.root / "user", ())
        live_settings, elsewhere = LiveSettings(TunableValues.of(Settings())), RemoteGit(home.worktrees, None)
        self.service = GitService(live_settings, self.host, policy, team, elsewhere)

    async def ask(self, *operations: dict[str, Any], request_id: str = "r1") -> GitBatchResult:
        asked = [{**each, "workspaceDir": str(self.root / "project")} for each in operations]
        request = GitBatchRequest.model_validate({"operations": asked, "requestId": request_id})
        return await self.service.git_batch(request, Caller(sender="lead"))


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    await made.begin()
    return made


async def test_a_repeated_call_does_no_write_again_and_gives_what_the_first_one_gave(scene: Scene) -> None:
    first = await scene.ask(COMMIT, STATUS)
    again = await scene.ask(COMMIT, STATUS)
    await scene.service.end()
    await scene.begin()
    later = await scene.ask(COMMIT, STATUS)

    assert len(scene.host.writes) == 1
    assert first.results[0] == again.results[0] == later.results[0]
    assert later.results[0].success


async def test_a_call_that_is_repeated_while_it_is_under_way_is_one(scene: Scene) -> None:
    scene.host.gate.clear()
    calls = [asyncio.create_task(scene.ask(COMMIT)) for _ in range(2)]
    await asyncio.sleep(0)
    scene.host.gate.set()
    first, second = await asyncio.gather(*calls)

    assert len(scene.host.writes) == 1
    assert first == second


async def test_a_write_of_which_the_supervisor_died_is_told_as_unknown_and_not_done_again(scene: Scene) -> None:
    scene.host.gate.clear()
    call = asyncio.create_task(scene.ask(STATUS, COMMIT))
    while not scene.host.writes:
        scene.host.gate.set()
        await asyncio.sleep(0)
        scene.host.gate.clear()
    call.cancel()
    await scene.begin()
    scene.host.gate.set()
    status, commit = (await scene.ask(STATUS, COMMIT)).results

    assert len(scene.host.writes) == 1
    assert status.success
    assert commit.error is not None
    assert "not known" in commit.error.message


async def test_a_request_id_stands_for_one_content_only(scene: Scene) -> None:
    await scene.ask(COMMIT)
    with pytest.raises(InvalidRequestError, match="another call"):
        await scene.ask(COMMIT, COMMIT)
    await scene.ask(COMMIT, request_id="r2")

    assert len(scene.host.writes) == 2


async def test_what_only_looks_is_asked_anew_and_nothing_is_stored_of_it(scene: Scene) -> None:
    scene.host.proves = False
    before = await scene.store.load("")
    await scene.ask(STATUS)
    await scene.ask(STATUS)

    assert len(scene.host.reads) == 2
    assert await scene.store.load("") == before
