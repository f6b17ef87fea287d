"""The verb ``git_batch``: on which host it works, where it may write, and that a repeated call writes nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError, RefusedError
from actors.git.layout import find_place, find_place_in
from actors.git.model import Commit, GitRequest, GitResponse, Operation, ReadStatus, RepositoryPaths
from actors.home import Home
from actors.worktrees.model import Workspace
from supervisor.api.requests import GitBatchRequest
from supervisor.api.results import GitBatchResult, GitOutcome
from supervisor.api.verbs import Caller
from supervisor.git.queue import AnswerCache, GitQueue
from supervisor.git.service import GitService, RemoteGit, repository_check
from supervisor.metrics.metrics import Count, MetricsRecorder
from supervisor.settings import Settings
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore, WorkDirPolicy
from supervisor.team.access import Access
from supervisor.team.team import Team
from tests.fakes.git import FakeGit, git_queue, git_request, new_branch
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

AWAY = "spec_0_0_2"
COMMIT = {"type": "commit", "params": {"message": "m", "all": True}}
STATUS: dict[str, Any] = {"type": "status"}
BRANCH = {"type": "branch", "params": {"branchName": "new"}}
WRITES: list[Operation] = [Commit(message="m", files=(), everything=True), new_branch("new")]


class Host(FakeGit):
    """Every directory is in a repository, and every answer tells the host's name."""

    def __init__(self, name: str) -> None:
        super().__init__(self._find_or_pretend)
        self.name = name
        self.outside = False
        self.broken = False

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        answers = await super().git_read(asked)
        return tuple(self._compared(*pair) for pair in zip(asked, answers, strict=True))

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        answers = await super().git_write(asked)
        return tuple(answer and self._compared(each, answer) for each, answer in zip(asked, answers, strict=True))

    def _compared(self, asked: GitRequest, answer: GitResponse) -> GitResponse:
        if asked.place is not None and asked.directory.exists():
            try:
                find_place_in(asked.directory, asked.place)
            except RefusedError as error:
                return GitResponse.refused(error)
        return replace(answer, result={"host": self.name})

    def _find_or_pretend(self, directory: Path) -> RepositoryPaths:
        if self.broken:
            raise RuntimeError("a fault of ours")
        top = Path("/etc") if self.outside else directory
        pretended = RepositoryPaths(top=top, git_directory=top / ".git", common_directory=Path("/mirror"))
        return find_place(directory) or pretended


class Scheduler:
    own = "head"

    def __init__(self) -> None:
        self.places = {"spec_0_0_1": "head", AWAY: "worker", "spec_0_0_3": "other"}
        self.hosts = {"worker": Host("worker"), "other": Host("other")}

    async def link(self, name: str) -> Host:
        return self.hosts[name]


class Scene:
    """A supervisor's git service over a store that outlives it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        self.trees = self.home.worktrees
        self.host = Host("head")
        self.scheduler = Scheduler()
        self.worker = self.scheduler.hosts["worker"]
        self.store = MemoryStore()
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        (self.project / ".git/HEAD").write_text("ref: refs/heads/main\n")
        (self.trees / "spec_0_0_1").mkdir(parents=True)

    async def begin(self) -> None:
        """Also in place of one that has died."""
        team = Team(self.store)
        await team.load()
        policy = WorkDirPolicy(self.home, self.project.parent / "user", ())
        scheduler: Any = self.scheduler
        self.live_settings = LiveSettings(TunableValues.of(Settings()))
        self.team = team
        self.access = Access(team.registry, siblings_may_send=False)
        self.remote = RemoteGit(self.trees, scheduler)
        self.service = GitService(self.live_settings, self.host, policy, team, self.access, self.remote)

    async def ask(self, *operations: dict[str, Any], request_id: str = "r1") -> GitBatchResult:
        asked = [{"workspaceDir": str(self.project), **each} for each in operations]
        request = GitBatchRequest.model_validate({"operations": asked, "requestId": request_id})
        return await self.service.git_batch(request, Caller(sender="lead"))

    async def instance(self, number: int) -> Path:
        """Takes one in, with a worktree of the project; returns that."""
        name = f"spec_0_0_{number}"
        worktree, registration = self.trees / name, self.project / ".git/worktrees" / name
        for directory in (worktree, registration):
            directory.mkdir(parents=True, exist_ok=True)
        (worktree / ".git").write_text(f"gitdir: {registration}\n")
        (registration / "HEAD").write_text(f"ref: refs/heads/phalanx/{name}\n")
        (registration / "commondir").write_text("../..\n")
        workspace = Workspace(
            mode="isolated",
            directory=worktree,
            worktree=worktree,
            repository=self.project,
            git_directory=self.project / ".git",
            branch=f"phalanx/{name}",
        )
        await add_member(self.team, number, workspace=workspace)
        return worktree

    async def ask_as(self, number: int, directory: Path, *operations: dict[str, Any]) -> list[GitOutcome]:
        asked = [{"workspaceDir": str(directory), **each} for each in operations]
        name = f"spec_0_0_{number}"
        request = GitBatchRequest.model_validate({"operations": asked, "requestId": None})
        checked: Any = self.access.checked("git_batch", request, self.team.registry.get(name).record)
        result = await self.service.git_batch(checked, Caller(sender=name, instance_id=name))
        return list(result.results)

    async def ask_in(self, *directories: Path, operation: dict[str, Any] = STATUS) -> list[GitOutcome]:
        result = await self.ask(*({**operation, "workspaceDir": str(each)} for each in directories))
        await self.service.end()
        return list(result.results)


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    await made.begin()
    return made


def told(outcome: GitOutcome) -> str:
    return str(outcome.result["host"]) if outcome.result else str(outcome.error and outcome.error.message)


@pytest.mark.parametrize("operation", [STATUS, BRANCH])
async def test_each_directory_is_worked_on_where_it_is_and_answers_keep_their_order(
    scene: Scene, operation: dict[str, Any]
) -> None:
    trees = scene.trees
    asked = (trees / AWAY, scene.project, trees / "spec_0_0_3-2" / "below", trees / "spec_0_0_1", trees / AWAY)
    answers = await scene.ask_in(*asked, operation=operation)
    assert list(map(told, answers)) == ["worker", "head", "other", "head", "worker"]
    assert [answer.workspace_dir for answer in answers] == list(map(str, asked))


@pytest.mark.parametrize(("trouble", "words"), [("is_away", "The host is away."), ("broken", "its log says why")])
async def test_a_host_in_trouble_fails_its_own_operations_alone(scene: Scene, trouble: str, words: str) -> None:
    setattr(scene.worker, trouble, True)
    first, second = await scene.ask_in(scene.trees / AWAY, scene.project)
    assert not first.success
    assert words in told(first)
    assert told(second) == "head"


@pytest.mark.parametrize("operation", [STATUS, BRANCH])
async def test_a_link_out_of_the_worktrees_of_another_host_leads_nowhere(
    scene: Scene, operation: dict[str, Any]
) -> None:
    scene.worker.outside = True
    (answer,) = await scene.ask_in(scene.trees / AWAY, operation=operation)
    assert "in no git repository" in told(answer)
    assert not scene.worker.reads
    assert not scene.worker.transactions


@pytest.mark.parametrize("path", ["{trees}/../worktrees/" + AWAY, "{trees}", "relative/" + AWAY, "{trees}/spec_0_0_9"])
async def test_what_is_nobodys_worktree_elsewhere_is_checked_here(scene: Scene, path: str) -> None:
    assert scene.remote.host_of(path.format(trees=scene.trees)) == ""


async def test_an_instance_that_has_moved_is_found_where_it_is_now(scene: Scene) -> None:
    assert told((await scene.ask_in(scene.trees / AWAY))[0]) == "worker"
    scene.scheduler.places[AWAY] = "other"
    assert told((await scene.ask_in(scene.trees / AWAY))[0]) == "other"


async def test_caps_that_are_tuned_hold_on_every_host(scene: Scene) -> None:
    await scene.ask_in(scene.trees / AWAY)
    scene.live_settings.change(TunableValues.of(Settings(max_concurrent_git_ops=4)))
    assert scene.service.figures.queue.limit == 8


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


async def test_an_instance_uses_git_in_its_own_worktree(scene: Scene) -> None:
    own = await scene.instance(1)
    assert [told(one) for one in await scene.ask_as(1, own, STATUS, COMMIT)] == ["head", "head"]


@pytest.mark.parametrize("operation", [STATUS, COMMIT, BRANCH])
@pytest.mark.parametrize("by", ["link and ..", "link in place", "file of git"])
async def test_an_instance_cannot_lead_git_into_the_worktree_of_another(
    scene: Scene, by: str, operation: dict[str, Any]
) -> None:
    own, other = await scene.instance(1), await scene.instance(3)
    (other / "sub").mkdir()
    await scene.ask_as(1, own, STATUS)  # where that is may be remembered
    scene.host.reads.clear()
    asked = own
    if by == "link and ..":
        (own / "link").symlink_to(other / "sub")
        asked = own / "link" / ".."
    elif by == "link in place":
        own.rename(own.with_name("away"))
        own.symlink_to(other)
    else:
        (own / ".git").write_text((other / ".git").read_text())

    (answer,) = await scene.ask_as(1, asked, operation)

    if by == "link and ..":
        assert (answer.workspace_dir, told(answer)) == (str(own), "head")
    else:
        assert "not any more what the team made there" in told(answer)
    assert all(one.directory == own for batch in scene.host.reads for one in batch)
    assert all(one.directory == own for one in scene.host.writes)


@pytest.mark.parametrize("operation", [STATUS, COMMIT, BRANCH])
async def test_what_becomes_a_link_while_an_operation_waits_for_its_turn_is_seen_when_it_is_done(
    scene: Scene, operation: dict[str, Any]
) -> None:
    own, other = await scene.instance(1), await scene.instance(3)
    scene.host.gate.clear()
    asking = asyncio.create_task(scene.ask_as(1, own, operation))
    while not scene.host.at_once:  # noqa: ASYNC110
        await asyncio.sleep(0)
    own.rename(own.with_name("away"))
    own.symlink_to(other)
    scene.host.gate.set()

    (answer,) = await asking

    assert "not any more what the team made there" in told(answer)


@pytest.mark.parametrize(
    ("operation", "refused"),
    [
        ({"type": "checkout", "params": {"branchName": "main"}}, "cannot check it out"),
        ({"type": "checkout", "params": {"branchName": "phalanx/spec_0_0_3"}}, "cannot check it out"),
        ({"type": "branch", "params": {"action": "delete", "branchName": "feature"}}, "cannot delete it"),
        ({"type": "checkout", "params": {"branchName": "phalanx/spec_0_0_1"}}, ""),
        ({"type": "checkout", "params": {"branchName": "new", "create": True, "startPoint": "main"}}, ""),
        ({"type": "branch", "params": {"action": "delete", "branchName": "phalanx/spec_0_0_1"}}, ""),
        ({"type": "tag", "params": {"tagName": "v1"}}, ""),
        ({"type": "merge", "params": {"branchName": "main"}}, ""),
        ({"type": "worktree"}, ""),
        (BRANCH, ""),
    ],
    ids=str,
)
async def test_an_instance_moves_and_deletes_no_branch_of_others(
    scene: Scene, operation: dict[str, Any], refused: str
) -> None:
    own = await scene.instance(1)
    await scene.instance(3)
    refused_one, after = await scene.ask_as(1, own, operation, STATUS)

    assert (refused in told(refused_one)) if refused else refused_one.success
    assert after.success  # it fails alone
    (by_user,) = (await scene.ask({**operation, "workspaceDir": str(own)})).results
    assert by_user.success


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    """The user keeps it in git; a project in it has a repository of its own."""
    for repository in ("user", "user/src/shop", "user/.phalanx/worktrees/a"):
        (tmp_path / repository / ".git").mkdir(parents=True)
        (tmp_path / repository / ".git/HEAD").write_text("ref: refs/heads/main\n")
    for directory in ("user/notes", "user/src/shop/below"):
        (tmp_path / directory).mkdir(parents=True)
    return tmp_path / "user"


async def error_of(user_home: Path, operation: Operation, directory: str, *allowed: str) -> str | None:
    policy = WorkDirPolicy(Home(user_home / ".phalanx"), user_home, [user_home / each for each in allowed])
    queue = GitQueue(
        FakeGit(find_place), FairSemaphore(3), AnswerCache(10, 60.0), MetricsRecorder(), repository_check(policy)
    )
    (answer,) = await queue.run([GitRequest(directory=user_home / directory, operation=operation)])
    await queue.end()
    return answer.error["message"] if answer.error else None


@pytest.mark.parametrize("operation", WRITES)
async def test_nothing_is_written_in_a_repository_that_is_wider_than_what_may_be_worked_on(
    user_home: Path, operation: Operation
) -> None:
    assert "too wide" in str(await error_of(user_home, operation, "notes"))
    assert "too wide" in str(await error_of(user_home, operation, "notes", "notes"))
    assert "outside what is allowed" in str(
        await error_of(user_home, operation, "src/shop/below", "notes", "src/shop/below")
    )


@pytest.mark.parametrize("operation", WRITES)
async def test_projects_and_worktrees_of_the_team_are_written_in(user_home: Path, operation: Operation) -> None:
    assert await error_of(user_home, operation, "src/shop/below") is None
    assert await error_of(user_home, operation, "src/shop/below", "src") is None
    assert await error_of(user_home, operation, ".phalanx/worktrees/a", "src") is None


async def test_a_repository_that_is_wider_may_be_looked_at(user_home: Path) -> None:
    assert await error_of(user_home, ReadStatus(), "notes") is None


async def test_every_operation_that_was_answered_is_counted_and_of_those_the_refused() -> None:
    recorder = MetricsRecorder(clock=lambda: 0.0)
    await git_queue(FakeGit(), recorder=recorder).run(
        [git_request(ReadStatus()), git_request(ReadStatus()), InvalidRequestError("no")]
    )

    now = recorder.history.slot(0.0)
    assert (now.counted(Count.GIT_ANSWERED), now.counted(Count.GIT_FAILED)) == (3, 1)
