"""Which host a directory of ``git_batch`` is on, and that hosts whose paths look alike are kept apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.errors import UnavailableError
from actors.git.model import GitRequest, GitResponse, RepositoryPaths
from actors.home import Home
from supervisor.api.requests import GitBatchRequest
from supervisor.api.results import GitOutcome
from supervisor.api.verbs import Caller
from supervisor.git.service import GitService, RemoteGit
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore

AWAY = "spec_0_0_2"


class Host:
    """Every directory is a repository of its own, and every answer tells the host's name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[Path] = []
        self.away = False
        self.outside = False
        self.broken = False

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        if self.away:
            raise UnavailableError(f"{self.name} is away")
        if self.broken:
            raise RuntimeError("a fault of ours")
        tops = [Path("/etc") if self.outside else directory for directory in directories]
        return tuple(
            RepositoryPaths(top=top, git_directory=top / ".git", common_directory=Path("/mirror")) for top in tops
        )

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        self.asked += [each.directory for each in asked]
        return tuple(GitResponse(result={"host": self.name}) for _ in asked)

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        self.asked += [each.directory for each in asked]
        return tuple(GitResponse(result={"host": self.name}) for _ in asked)


class Roster:
    own = "head"

    def __init__(self) -> None:
        self.places = {"spec_0_0_1": "head", AWAY: "worker", "spec_0_0_3": "other"}
        self.hosts = {"worker": Host("worker"), "other": Host("other")}

    async def link(self, name: str) -> Host:
        return self.hosts[name]


class Scene:
    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        self.scheduler = Roster()
        scheduler: Any = self.scheduler
        policy = WorkDirPolicy(self.home, root / "user", ())
        self.elsewhere = RemoteGit(self.home.worktrees, scheduler)
        here: Any = Host("head")
        self.live_settings = LiveSettings(TunableValues.of(Settings()))
        self.service = GitService(self.live_settings, here, policy, Team(MemoryStore()), self.elsewhere)
        self.project = root / "project"
        self.project.mkdir()
        (self.home.worktrees / "spec_0_0_1").mkdir(parents=True)

    async def ask(self, *directories: str | Path, kind: str = "status") -> list[GitOutcome]:
        params = {"branchName": "new"} if kind == "branch" else {}
        operations = [{"type": kind, "workspaceDir": str(each), "params": params} for each in directories]
        result = await self.service.git_batch(
            GitBatchRequest.model_validate({"operations": operations}), Caller(sender="lead")
        )
        await self.service.end()
        return list(result.results)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def told(outcome: GitOutcome) -> str:
    return str(outcome.result["host"]) if outcome.result else str(outcome.error and outcome.error.message)


@pytest.mark.parametrize("kind", ["status", "branch"])
async def test_each_directory_is_worked_on_where_it_is_and_answers_keep_their_order(scene: Scene, kind: str) -> None:
    trees = scene.home.worktrees
    asked = (trees / AWAY, scene.project, trees / "spec_0_0_3-2" / "below", trees / "spec_0_0_1", trees / AWAY)
    answers = await scene.ask(*asked, kind=kind)
    assert list(map(told, answers)) == ["worker", "head", "other", "head", "worker"]
    assert [answer.workspace_dir for answer in answers] == list(map(str, asked))


async def test_a_host_that_is_away_fails_its_own_operations_alone(scene: Scene) -> None:
    scene.scheduler.hosts["worker"].away = True
    first, second = await scene.ask(scene.home.worktrees / AWAY, scene.project)
    assert (first.success, told(first)) == (False, "worker is away")
    assert told(second) == "head"


async def test_an_unexpected_error_on_a_host_fails_its_own_operations_alone(scene: Scene) -> None:
    scene.scheduler.hosts["worker"].broken = True
    first, second = await scene.ask(scene.home.worktrees / AWAY, scene.project)
    assert "its log says why" in told(first)
    assert told(second) == "head"


@pytest.mark.parametrize("kind", ["status", "branch"])
async def test_a_link_out_of_the_worktrees_of_another_host_leads_nowhere(scene: Scene, kind: str) -> None:
    scene.scheduler.hosts["worker"].outside = True
    (answer,) = await scene.ask(scene.home.worktrees / AWAY, kind=kind)
    assert "in no git repository" in told(answer)
    assert scene.scheduler.hosts["worker"].asked == []


@pytest.mark.parametrize("path", ["{trees}/../worktrees/" + AWAY, "{trees}", "relative/" + AWAY, "{trees}/spec_0_0_9"])
async def test_what_is_nobodys_worktree_elsewhere_is_checked_here(scene: Scene, path: str) -> None:
    directory = path.format(trees=scene.home.worktrees)
    assert scene.elsewhere.host_of(directory) == ""


async def test_an_instance_that_has_moved_is_found_where_it_is_now(scene: Scene) -> None:
    directory = scene.home.worktrees / AWAY
    assert told((await scene.ask(directory))[0]) == "worker"
    scene.scheduler.places[AWAY] = "other"
    assert told((await scene.ask(directory))[0]) == "other"


async def test_caps_that_are_tuned_hold_on_every_host(scene: Scene) -> None:
    await scene.ask(scene.home.worktrees / AWAY)
    scene.live_settings.change(TunableValues.of(Settings(max_concurrent_git_ops=4)))
    assert scene.service.figures.queue.limit == 8
