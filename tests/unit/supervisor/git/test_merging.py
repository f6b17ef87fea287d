"""``merge`` and ``sync`` over a host that only notes what it is asked: who may, when, and who is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from actors.errors import (
    InvalidRequestError,
    PhalanxError,
    RefusedError,
    StoreError,
    UnavailableError,
    WorkspaceError,
    WrongStateError,
)
from actors.git.model import (
    BranchWork,
    Commit,
    Comparison,
    ComparisonReport,
    Conflict,
    GitRequest,
    GitResponse,
    Merge,
    MergedBranches,
    MergeJob,
    MergeOutcome,
    MergeReport,
    Operation,
    PreparedMerge,
    ReadLog,
    ReadStatus,
    RepositoryPaths,
)
from actors.home import Home
from actors.host.host import Host
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.api.requests import ListRequest, MergeRequest, Role, SyncRequest
from supervisor.api.results import TeamEvent
from supervisor.api.verbs import Caller
from supervisor.git.claims import Claims
from supervisor.git.conflicts import ConflictTeller
from supervisor.git.merging import MergeService
from supervisor.git.service import GitService
from supervisor.git.syncing import SyncService
from supervisor.git.work import WorkOverview, WorkReader
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.store import keys
from supervisor.team.access import Access
from supervisor.team.queries import Queries
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, SECOND, add_member, receipt

BUSY = replace(READY, status=Status.BUSY)
CLEAN = {"counts": dict.fromkeys(("staged", "unstaged", "untracked", "conflicted"), 0), "underWay": None}
DIRTY = {"counts": {"untracked": 2}, "untracked": ["a", "b"], "underWay": None}
COMMITTED = "c" * 40


class FakeGitService:
    """``GitService.run``: clean working trees, unless ``status`` says otherwise by the tree's name."""

    def __init__(self) -> None:
        self.status: dict[str, Mapping[str, Any]] = {}
        self.answers: dict[type, GitResponse] = {
            Commit: GitResponse(result={"commit": COMMITTED}),
            Merge: GitResponse(result={"alreadyMerged": False}),
            ReadLog: GitResponse(result={"commits": [{"commit": COMMITTED}]}),
        }
        self.ran: list[tuple[str, GitRequest]] = []
        self.gates: Mapping[type, asyncio.Event] = {}
        self.refuses_in = ""
        """The name of the tree in which nothing can be committed."""

    async def run(self, asked: Sequence[tuple[InstanceRecord, Operation]]) -> list[GitResponse]:
        jobs = [
            (record.host if record.elsewhere else "", GitRequest(directory=record.directory, operation=operation))
            for record, operation in asked
        ]
        await asyncio.sleep(0)
        self.ran += [job for job in jobs if isinstance(job[1].operation, Commit | Merge)]
        for gate in (self.gates[type(job.operation)] for _, job in jobs if type(job.operation) in self.gates):
            await gate.wait()
        return [self._answer(request) for _, request in jobs]

    def _answer(self, request: GitRequest) -> GitResponse:
        if isinstance(request.operation, Commit) and request.directory.name == self.refuses_in:
            return GitResponse.refused(WorkspaceError("A hook refuses it."))
        if not isinstance(request.operation, ReadStatus):
            return self.answers[type(request.operation)]
        name = request.directory.name
        found = self.status.get(name, CLEAN)
        return GitResponse(result={"branch": f"phalanx/{name}", "commit": f"tip of {name}", **found})


class FakeHost:
    """Merges all it is asked for, unless there are ``conflicts``."""

    def __init__(self) -> None:
        self.jobs: list[MergeJob] = []
        self.trees: dict[str, Path] = {}
        """Which have a branch checked out, by the branch."""
        self.conflicts: tuple[Conflict, ...] = ()
        self.gate = asyncio.Event()
        self.gate.set()
        self.move_gate = asyncio.Event()
        self.move_gate.set()
        self._commits: set[str] = set()
        self.error: PhalanxError | None = None
        self.answers = True
        """Else it merges and says nothing."""
        self.merged: set[str] = set()
        """Commits."""
        self.has_merged = asyncio.Event()
        self.merging = self.most_merging = 0

    async def find_merged(self, job: MergeJob, limit_s: float) -> MergedBranches:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        commits = {each.name: each.commit or f"tip of {each.name}" for each in job.branches}
        merged = frozenset(name for name, commit in commits.items() if commit in self.merged)
        return MergedBranches(into=job.into or "main", commits=commits, merged=merged)

    async def prepare_merge(self, job: MergeJob, limit_s: float) -> MergeReport | PreparedMerge:
        self.jobs.append(job)
        self.merging += 1
        self.most_merging = max(self.most_merging, self.merging)
        await self.gate.wait()
        await asyncio.sleep(0)
        self.merging -= 1
        if self.error is not None:
            raise self.error
        states = {
            each.name: "already_merged" if each.commit in self.merged else "conflict" if self.conflicts else "merged"
            for each in job.branches
        }
        report = MergeReport(
            into=job.into or "main",
            commit="new",
            moved="merged" in states.values(),
            order=tuple(name for name, state in states.items() if state == "merged"),
            outcomes={
                name: MergeOutcome(state=state, commit=f"tip of {name}", files=("f",))  # type: ignore[arg-type]
                for name, state in states.items()
            },
            conflicts=self.conflicts,
        )
        if not report.moved:
            return report
        self._commits = {each.commit or "" for each in job.branches}
        tree = self.trees.get(report.into)
        return PreparedMerge(git_directory=job.git_directory, before="old", tree=tree, report=report)

    async def move_merged(self, prepared: PreparedMerge, limit_s: float) -> None:
        await self.move_gate.wait()
        self.merged |= self._commits
        self.has_merged.set()
        if not self.answers:
            await asyncio.sleep(0)
            raise UnavailableError("The host is away.")

    async def compare_branches(self, asked: Comparison) -> ComparisonReport:
        names = [each.name for each in asked.branches]
        return ComparisonReport(
            bases={name: tree.name for name, tree in zip(names, asked.bases, strict=True)},
            work={name: BranchWork(ahead=2, behind=1, files=("f", "g")) for name in names},
            conflicts=self.conflicts,
        )


class Scene:
    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True, exist_ok=True)
        self.records: dict[str, bytes] = {}
        self.store = MemoryStore(self.records)
        self.git = FakeGitService()
        self.host = FakeHost()
        self.carried: list[Path] = []
        self.allowed: tuple[Path, ...] = ()
        self.root = root

    async def begin(self) -> None:
        """Also in place of a supervisor that has died."""
        self.team = Team(self.store)
        await self.team.load()
        policy = WorkDirPolicy(Home(self.root / "home"), self.root / "user", self.allowed)
        git = cast("GitService", self.git)
        host = cast("Host", self.host)
        self.reader = WorkReader(git)
        access = Access(self.team.registry, siblings_may_send=False)
        claims, conflicts = Claims(self.team), ConflictTeller(self.team)
        self.syncing = SyncService(self.team, access, git, host, claims, conflicts)
        self.service = MergeService(
            self.team,
            access,
            git,
            self.reader,
            host,
            claims,
            conflicts,
            policy,
            self.store,
            checks=("make test", "sh -c 'make lint && make test'"),
            check_timeout_s=60.0,
            carry_home=self._carry_home,
        )
        await self.service.begin()

    async def after(self, records: dict[str, bytes], merged: set[str]) -> Scene:
        """Of the next supervisor over what is stored and merged by then."""
        later = Scene(self.root)
        later.records |= records
        later.host.merged |= merged
        await later.begin()
        await asyncio.sleep(1)
        return later

    async def events(self) -> list[tuple[str, str | None]]:
        return [(event.kind, event.instance_id) for event in await self.published()]

    async def published(self) -> list[TeamEvent]:
        return (await self.team.events.after("0", lambda _: True, 0.0)).events

    async def _carry_home(self, workspace: Workspace) -> str:
        self.carried.append(workspace.directory)
        return ""

    async def member(self, number: int = 1, **changes: Any) -> Member:
        name = changes.get("instance_id", f"spec_0_0_{number}")
        worktree = self.root / "worktrees" / name
        workspace = Workspace(
            mode="isolated",
            directory=worktree,
            worktree=worktree,
            git_directory=self.project / ".git",
            branch=f"phalanx/{name}",
        )
        member = await add_member(self.team, number, **{"workspace": workspace, "work_dir": self.project, **changes})
        self.host.trees[f"phalanx/{name}"] = worktree
        self.team.links.follow(name, FakeInstance(), "first", FakeListener())
        return member

    async def merge(self, *ids: str, caller: str = "", **more: Any) -> Any:
        return await self.service.merge(MergeRequest(instance_ids=list(ids), **more), _caller(caller))

    async def sync(self, *ids: str, caller: str = "", **more: Any) -> Any:
        request = SyncRequest.model_validate({"instanceIds": list(ids) or None, **more})
        return await self.syncing.sync(request, _caller(caller))

    def told(self, instance_id: str = SECOND) -> list[str]:
        return [message.text for message, _ in self.team.outbox.under_way(instance_id)]


def _caller(instance_id: str) -> Caller:
    return Caller(sender=instance_id or "lead", instance_id=instance_id)


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    await made.begin()
    return made


ON = {"actor": "spec_0_0_1@10.0.0.2", "host": "worker"}


async def test_the_host_is_asked_for_the_commits_that_were_seen_and_the_merged_are_announced(scene: Scene) -> None:
    await scene.member(1)
    await scene.member(2)

    result = await scene.merge(FIRST, SECOND, FIRST, check="sh -c 'make lint && make test'")

    (job,) = scene.host.jobs
    assert [(each.name, each.branch, each.commit) for each in job.branches] == [
        (FIRST, f"phalanx/{FIRST}", f"tip of {FIRST}"),
        (SECOND, f"phalanx/{SECOND}", f"tip of {SECOND}"),
    ]
    assert job.check == ("sh", "-c", "make lint && make test")
    assert (job.trees, job.movable_trees) == ((scene.project,), None)
    assert (result.success, result.moved, result.order) == (True, True, [FIRST, SECOND])
    assert await scene.events() == [("merged", FIRST), ("merged", SECOND)]
    assert {event.sender for event in await scene.published()} == {"lead"}
    assert await scene.store.load(keys.MERGING_PREFIX) == {}


async def test_of_two_that_conflict_the_later_is_told_once_for_the_same_commits(scene: Scene) -> None:
    await scene.member(1)
    await scene.member(2)
    scene.host.conflicts = (Conflict(one=FIRST, other=SECOND, files=("f",)),)

    first, again = await scene.merge(FIRST, SECOND), await scene.merge(FIRST, SECOND)

    assert not first.success
    assert first.conflicts[0].between == [FIRST, SECOND]
    assert [each.told for each in again.instances] == [False, True]
    (text,) = scene.told()
    assert f"git merge phalanx/{FIRST}   # conflicts in 'f'" in text
    assert scene.told(FIRST) == []
    assert await scene.events() == [("conflict", FIRST), ("conflict", SECOND)]
    assert [event.text for event in (await scene.published())[:2]] == [
        f"phalanx/{FIRST} conflicts with phalanx/{SECOND} in 'f' ({SECOND} was told how to resolve it). "
        "main was not moved.",
        f"phalanx/{SECOND} conflicts with phalanx/{FIRST} in 'f' ({SECOND} was told how to resolve it). "
        "main was not moved.",
    ]


async def test_who_cannot_be_told_leaves_it_to_the_other(scene: Scene) -> None:
    await scene.member(1)
    second = await scene.member(2)
    second.snapshot = replace(READY, status=Status.FAILED)
    scene.host.conflicts = (Conflict(one=FIRST, other=SECOND, files=("f",)),)

    result = await scene.merge(FIRST, SECOND)

    assert [each.told for each in result.instances] == [True, False]
    assert len(scene.told(FIRST)) == 1


async def test_a_conflict_of_the_caller_is_in_its_answer_and_not_in_a_message_to_itself(scene: Scene) -> None:
    manager = "mgr_0_1"
    await scene.member(1, instance_id=manager, role=Role.MANAGER)
    scene.host.conflicts = (Conflict(one="", other=manager, files=("f",)),)

    result = await scene.merge(manager, caller=manager)

    assert (result.instances[0].told, scene.told(manager)) == (False, [])
    (event,) = await scene.published()
    assert event.text == (
        f"phalanx/{manager} conflicts with main in 'f' ({manager} knows it from its own call). main was not moved."
    )
    assert event.sender == manager


async def test_a_conflict_that_nobody_can_be_told_of_says_so(scene: Scene) -> None:
    await scene.member(1, stage=InstanceStage.STOPPED, wanted=False)
    scene.host.conflicts = (Conflict(one="", other=FIRST, files=("f",)),)
    scene.team.registry.get(FIRST).snapshot = replace(READY, status=Status.STOPPED)

    await scene.merge(FIRST)

    (event,) = await scene.published()
    assert "(nobody could be told to resolve it)" in event.text


async def test_an_event_that_cannot_be_stored_takes_nothing_back_and_is_told_later(scene: Scene) -> None:
    await scene.member(1)
    scene.store.refuses = keys.EVENT_PREFIX

    assert (await scene.merge(FIRST)).moved
    assert await scene.events() == []
    scene.store.refuses = None
    await asyncio.sleep(60)

    assert await scene.events() == [("merged", FIRST)]
    assert await scene.store.load(keys.MERGING_PREFIX) == {}


async def test_a_merge_that_cannot_be_noted_is_not_begun(scene: Scene) -> None:
    await scene.member(1)
    scene.store.refuses = keys.MERGING_PREFIX

    with pytest.raises(StoreError):
        await scene.merge(FIRST)
    assert scene.host.jobs == []


async def test_a_kill_at_any_moment_loses_and_doubles_no_event_of_what_was_merged(scene: Scene) -> None:
    await scene.member(1)
    await scene.member(2)
    moments: list[tuple[dict[str, bytes], set[str]]] = []

    def is_stored() -> None:
        moments.append((dict(scene.records), set(scene.host.merged)))

    scene.store.subscribe(is_stored)
    await scene.merge(FIRST, SECOND, request_id="r1")
    noted = next(records for records, _ in moments if any(key.startswith(keys.MERGING_PREFIX) for key in records))
    moments.append((noted, set(scene.host.merged)))  # the host has moved the target, and nobody has heard of it
    assert len(moments) >= 4
    both = [("merged", FIRST), ("merged", SECOND)]
    for records, merged in moments:
        later = await scene.after(records, merged)
        assert await later.events() == (both if merged else [])
        assert (await later.merge(FIRST, SECOND, request_id="r1")).success
        assert await later.events() == both
        assert await later.store.load(keys.MERGING_PREFIX) == {}


async def test_what_a_host_has_merged_that_did_not_answer_is_told_by_itself_once(scene: Scene) -> None:
    await scene.member(1)
    scene.host.answers = False
    with pytest.raises(UnavailableError):
        await scene.merge(FIRST)
    await asyncio.sleep(1)

    assert await scene.events() == [("merged", FIRST)]
    assert await scene.store.load(keys.MERGING_PREFIX) == {}


async def test_a_host_that_is_away_is_asked_until_it_is_back_also_by_the_next_supervisor(scene: Scene) -> None:
    await scene.member(1)
    scene.host.answers = False
    call = asyncio.create_task(scene.merge(FIRST))
    await scene.host.has_merged.wait()
    scene.host.error = UnavailableError("The host is away.")
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.sleep(600)
    await scene.service.end()
    await scene.begin()
    await asyncio.sleep(600)
    assert await scene.events() == []
    scene.host.error = None
    await asyncio.sleep(31)

    assert await scene.events() == [("merged", FIRST)]
    assert await scene.store.load(keys.MERGING_PREFIX) == {}


async def test_a_repository_that_is_gone_is_not_asked_about_for_ever(scene: Scene) -> None:
    await scene.member(1)
    scene.host.answers = False
    call = asyncio.create_task(scene.merge(FIRST))
    await scene.host.has_merged.wait()
    scene.host.error = WorkspaceError("git: no such repository")
    await asyncio.gather(call, return_exceptions=True)
    await asyncio.sleep(600)

    assert await scene.events() == []
    assert await scene.store.load(keys.MERGING_PREFIX) == {}


async def test_merges_in_one_repository_come_one_after_another(scene: Scene) -> None:
    await scene.member(1)
    await scene.member(2)
    scene.host.gate.clear()
    calls = [asyncio.create_task(scene.merge(each)) for each in (FIRST, SECOND)]
    await asyncio.sleep(1)
    scene.host.gate.set()
    await asyncio.gather(*calls)

    assert (len(scene.host.jobs), scene.host.most_merging) == (2, 1)


async def test_a_repeated_call_is_done_once_also_by_the_next_supervisor(scene: Scene) -> None:
    await scene.member(1)
    first = await scene.merge(FIRST, request_id="r1")
    await scene.begin()

    assert await scene.merge(FIRST, request_id="r1") == first
    assert len(scene.host.jobs) == 1


async def test_a_call_whose_host_did_not_answer_is_tried_anew_when_repeated(scene: Scene) -> None:
    await scene.member(1)
    scene.host.error = UnavailableError("The host is away.")
    with pytest.raises(UnavailableError):
        await scene.merge(FIRST, request_id="r1")
    scene.host.error = None

    assert (await scene.merge(FIRST, request_id="r1")).moved


async def test_a_merge_goes_on_and_is_remembered_when_its_caller_goes_away(scene: Scene) -> None:
    await scene.member(1)
    scene.host.gate.clear()
    call = asyncio.create_task(scene.merge(FIRST, request_id="r1"))
    await asyncio.sleep(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    scene.host.gate.set()
    await asyncio.sleep(1)

    assert await scene.events() == [("merged", FIRST)]
    assert (await scene.merge(FIRST, request_id="r1")).moved
    assert len(scene.host.jobs) == 1


async def test_uncommitted_work_is_told_with_its_files_and_nobodys_is_committed(scene: Scene) -> None:
    await scene.member(1)
    second = await scene.member(2)
    second.snapshot = BUSY
    scene.git.status = {FIRST: DIRTY, SECOND: DIRTY}

    result = await scene.merge(FIRST, SECOND, commit_message="All of it")

    other, refused = result.instances
    assert (other.instance_id, other.state, other.reason) == (FIRST, "not_merged", None)
    assert (refused.instance_id, refused.state, refused.files) == (SECOND, "failed", ["a", "b"])
    assert "at work" in refused.reason
    assert (scene.git.ran, scene.host.jobs) == ([], [])


async def test_idle_work_is_committed_under_the_message_and_that_commit_is_merged(scene: Scene) -> None:
    await scene.member(1)
    scene.git.status = {FIRST: DIRTY}

    result = await scene.merge(FIRST, commit_message="All of it")

    ((_, commit),) = scene.git.ran
    assert commit.operation == Commit(message="All of it", files=(), everything=True)
    assert scene.host.jobs[0].branches[0].commit == COMMITTED
    assert result.instances[0].committed


async def test_a_commit_that_a_hook_refuses_is_told_and_nothing_is_merged(scene: Scene) -> None:
    await scene.member(1)
    scene.git.status = {FIRST: DIRTY}
    scene.git.answers[Commit] = GitResponse.refused(PhalanxError("git refused: too long"))

    result = await scene.merge(FIRST, commit_message="All of it")

    assert "too long" in result.instances[0].reason
    assert scene.host.jobs == []


async def test_an_unfinished_rebase_is_no_work_to_merge(scene: Scene) -> None:
    await scene.member(1)
    scene.git.status = {FIRST: {**CLEAN, "underWay": "rebase", "branch": None}}

    assert "A rebase is under way" in (await scene.merge(FIRST)).instances[0].reason


async def test_of_one_that_has_ended_the_branch_counts(scene: Scene) -> None:
    await scene.member(1, stage=InstanceStage.STOPPED, wanted=False)

    await scene.merge(FIRST)

    (branch,) = scene.host.jobs[0].branches
    assert (branch.branch, branch.commit) == (f"phalanx/{FIRST}", f"tip of {FIRST}")


async def test_what_was_done_on_another_host_is_brought_home_first_and_its_branch_is_no_target(scene: Scene) -> None:
    away = await scene.member(1, **ON)
    workspace = away.record.workspace
    assert workspace is not None
    mirrored = replace(workspace, git_directory=Path("/mirror"), home=scene.project / ".git")
    await scene.team.save(FIRST, workspace=mirrored)
    await scene.member(2)

    await scene.merge(FIRST, SECOND)

    assert scene.carried == [workspace.directory]
    assert scene.host.jobs[0].git_directory == scene.project / ".git"
    with pytest.raises(WrongStateError, match="works on worker"):
        await scene.merge(SECOND, into=f"phalanx/{FIRST}")
    shared = Workspace(mode="shared", directory=scene.project, git_directory=Path("/mirror"), branch="main")
    await scene.member(3, workspace=shared, actor="spec_0_0_3@10.0.0.2", host="worker")
    assert (await scene.merge(SECOND, into="main")).success
    (synced,) = (await scene.sync(FIRST)).instances
    assert (synced.state, "drain that host" in (synced.reason or "")) == ("failed", True)


async def test_a_caller_that_is_an_instance_moves_only_what_it_may_work_in(scene: Scene) -> None:
    manager, below, other = "mgr_0_1", "spec_0_1_2", "spec_0_0_3"
    await scene.member(1, instance_id=manager, role=Role.MANAGER)
    await scene.member(2, instance_id=below, parent_id=manager)
    await scene.member(3, instance_id=other)

    await scene.merge(below, caller=manager)

    (job,) = scene.host.jobs
    own = tuple(scene.root / "worktrees" / name for name in (manager, below))
    assert (job.trees, job.movable_trees) == ((own[0],), own)
    assert job.movable_branches == {f"phalanx/{manager}", f"phalanx/{below}"}


async def test_those_at_work_are_named_but_not_the_caller(scene: Scene) -> None:
    manager = "mgr_0_1"
    lead = await scene.member(1, instance_id=manager, role=Role.MANAGER)
    second = await scene.member(2, parent_id=manager)
    third = await scene.member(3)
    for member in (lead, second, third):
        member.snapshot = BUSY

    await scene.merge(SECOND, caller=manager)

    assert set(scene.host.jobs[0].busy.values()) == {SECOND, "spec_0_0_3"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"check": "make"}, "'make test', \"sh -c"),
        ({"into": "--force"}, "into cannot be '--force'"),
        ({"into": "a b"}, "name of a branch"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_done(
    scene: Scene, more: dict[str, str], words: str
) -> None:
    await scene.member(1)

    with pytest.raises(InvalidRequestError) as refused:
        await scene.merge(FIRST, **more)

    assert words in str(refused.value)
    assert scene.host.jobs == []


async def test_a_repository_beyond_what_is_allowed_is_not_merged_in(scene: Scene) -> None:
    scene.allowed = (scene.root / "elsewhere",)
    await scene.begin()
    await scene.member(1)

    with pytest.raises(InvalidRequestError, match="outside what is allowed"):
        await scene.merge(FIRST)


async def test_instances_of_two_repositories_are_not_merged_together(scene: Scene) -> None:
    await scene.member(1)
    second = await scene.member(2)
    assert second.record.workspace is not None
    await scene.team.save(SECOND, workspace=replace(second.record.workspace, git_directory=Path("/other/.git")))

    with pytest.raises(InvalidRequestError, match="different repositories"):
        await scene.merge(FIRST, SECOND)


async def test_a_sync_waits_for_the_end_of_a_turn_and_holds_messages_back_meanwhile(scene: Scene) -> None:
    member = await scene.member(1)
    member.snapshot = BUSY
    call = asyncio.create_task(scene.sync(FIRST, **{"from": "main"}))
    await asyncio.sleep(1)
    assert scene.git.ran == []

    member.snapshot = READY
    scene.team.changes.announce()
    (synced,) = (await call).instances

    assert (synced.state, synced.from_branch) == ("synced", "main")
    ((_, request),) = scene.git.ran
    assert request.operation == Merge(branch="main", message=None, onto=f"phalanx/{FIRST}")


async def test_a_sync_says_who_is_left_when_the_time_is_over(scene: Scene) -> None:
    first = await scene.member(1)
    await scene.member(2)
    first.snapshot = BUSY

    result = await scene.sync(timeoutSeconds=5)

    assert {each.instance_id: each.state for each in result.instances} == {FIRST: "at_work", SECOND: "synced"}
    assert not result.success


async def test_without_a_name_each_gets_what_it_began_from(scene: Scene) -> None:
    await scene.member(1)
    await scene.member(2, work_dir=scene.root / "worktrees" / "mgr_0_9")

    result = await scene.sync()

    assert [each.from_branch for each in result.instances] == ["project", "mgr_0_9"]


async def test_an_instance_that_leads_brings_its_own_to_those_below_it(scene: Scene) -> None:
    manager, below = "mgr_0_1", "spec_0_1_2"
    await scene.member(1, instance_id=manager, role=Role.MANAGER)
    await scene.member(2, instance_id=below, parent_id=manager)
    await scene.member(3)

    (synced,) = (await scene.sync(caller=manager)).instances

    assert (synced.instance_id, synced.from_branch) == (below, manager)


async def test_a_conflict_of_a_sync_is_told_and_announced(scene: Scene) -> None:
    await scene.member(2)
    error = {"code": "workspace", "message": "main conflicts"}
    scene.git.answers[Merge] = GitResponse(error=error, result={"conflicts": ["f"]})

    (first,) = (await scene.sync(SECOND, **{"from": "main"})).instances
    ((message, _),) = scene.team.outbox.under_way(SECOND)
    await scene.team.outbox.take_receipts([receipt(message)])
    (again,) = (await scene.sync(SECOND, **{"from": "main"})).instances

    assert (first.state, first.files, first.told, again.told) == ("conflict", ["f"], True, True)
    assert "git merge main" in message.text
    assert scene.told() == []
    conflicts = [event for event in await scene.published() if event.kind == "conflict"]
    assert [event.text for event in conflicts] == [
        f"phalanx/{SECOND} conflicts with main in 'f' ({SECOND} was told how to resolve it). Nothing was touched."
    ]


async def test_nobody_to_sync_is_said(scene: Scene) -> None:
    with pytest.raises(InvalidRequestError, match="no instance with a branch"):
        await scene.sync()


async def test_the_work_of_each_is_added_to_a_list(scene: Scene) -> None:
    await scene.member(1)
    await scene.member(2)
    scene.git.status = {SECOND: DIRTY}
    scene.host.conflicts = (
        Conflict(one=FIRST, other=SECOND, files=("f",)),
        Conflict(one="", other=FIRST, files=("g",)),
    )
    host = cast("Host", scene.host)
    listed = Queries(scene.team, host, frozenset).list(ListRequest(), scene.team.registry)

    found = await WorkOverview(scene.team.registry, scene.reader, host).added(listed)

    works = [each.work for each in found.instances if each.work]
    assert [(work.base, work.ahead, work.behind, work.changed_files) for work in works] == [("project", 2, 1, 2)] * 2
    assert [work.uncommitted_files for work in works] == [0, 2]
    assert [conflict.between for conflict in found.conflicts] == [[FIRST, SECOND], ["project", FIRST]]


async def test_a_refusal_names_what_may_be_checked(scene: Scene) -> None:
    await scene.member(1)
    with pytest.raises(RefusedError, match=r"merge_checks in config\.toml"):
        await scene.merge(FIRST, check="rm -rf /")


async def test_a_branch_is_not_moved_under_a_turn_that_began_while_the_merge_was_checked(scene: Scene) -> None:
    await scene.member(1)
    owner = await scene.member(2)
    scene.host.gate.clear()
    merging = asyncio.create_task(scene.merge(FIRST, into=f"phalanx/{SECOND}", check="make test"))
    await asyncio.sleep(1)
    owner.snapshot = BUSY
    scene.host.gate.set()
    with pytest.raises(WrongStateError, match="nothing was moved"):
        await merging

    assert scene.host.merged == set()


async def test_while_a_branch_moves_its_owner_begins_no_turn_and_is_not_ended(scene: Scene) -> None:
    await scene.member(1)
    owner = await scene.member(2)
    scene.host.move_gate.clear()
    merging = asyncio.create_task(scene.merge(FIRST, into=f"phalanx/{SECOND}"))
    await asyncio.sleep(1)
    assert (owner.turn.locked(), scene.team.outbox.is_withheld(SECOND)) == (True, True)
    scene.host.move_gate.set()

    assert (await merging).moved
    assert (owner.turn.locked(), scene.team.outbox.is_withheld(SECOND)) == (False, False)


async def test_a_sync_waits_for_the_commit_of_a_merge_and_neither_withholds_messages_for_ever(scene: Scene) -> None:
    await scene.member(1)
    scene.git.status = {FIRST: DIRTY}
    gates = {Commit: asyncio.Event(), Merge: asyncio.Event()}
    scene.git.gates = gates
    merging = asyncio.create_task(scene.merge(FIRST, commit_message="All of it"))
    await asyncio.sleep(1)
    syncing = asyncio.create_task(scene.sync(FIRST, **{"from": "main"}))
    await asyncio.sleep(1)
    assert [type(job.operation) for _, job in scene.git.ran] == [Commit]
    for gate in gates.values():
        gate.set()

    assert (await merging).moved
    assert [each.state for each in (await syncing).instances] == ["synced"]
    assert not scene.team.outbox.is_withheld(FIRST)


async def test_a_commit_that_fails_hides_nothing_of_what_was_done(scene: Scene) -> None:
    for number in (1, 2, 3):
        await scene.member(number)
    scene.git.status = {FIRST: DIRTY, SECOND: DIRTY}
    scene.git.refuses_in = SECOND

    result = await scene.merge("spec_0_0_3", SECOND, FIRST, commit_message="All of it")

    assert [(each.instance_id, each.state, each.committed) for each in result.instances] == [
        ("spec_0_0_3", "not_merged", False),
        (SECOND, "failed", False),
        (FIRST, "not_merged", True),
    ]
    assert scene.host.jobs == []


async def test_who_could_not_be_told_of_a_conflict_is_told_the_next_time(scene: Scene) -> None:
    first, second = await scene.member(1), await scene.member(2)
    first.snapshot = replace(READY, status=Status.FAILED)
    second.ending = True
    scene.host.conflicts = (Conflict(one=FIRST, other=SECOND, files=("f",)),)
    before = await scene.merge(FIRST, SECOND)
    second.ending = False
    after = await scene.merge(FIRST, SECOND)

    assert [each.told for each in (*before.instances, *after.instances)] == [False, False, False, True]
    assert len(scene.told()) == 1


@pytest.mark.parametrize("is_busy", [True, False])
async def test_who_begins_to_work_in_the_tree_that_would_move_while_the_check_runs_is_not_disturbed(
    scene: Scene, is_busy: bool
) -> None:
    await scene.member(1)
    scene.host.trees["main"] = scene.project
    scene.host.gate.clear()
    merging = asyncio.create_task(scene.merge(FIRST, check="make test"))
    await asyncio.sleep(1)
    git_directory = scene.project / ".git"
    below = scene.project / "below"
    place = RepositoryPaths(top=scene.project, git_directory=git_directory, common_directory=git_directory)
    shared = Workspace(
        mode="shared", directory=below, repository=scene.project, git_directory=git_directory, shared_place=place
    )
    began = await add_member(scene.team, 2, workspace=shared, work_dir=below)
    began.snapshot = BUSY if is_busy else READY
    scene.host.gate.set()

    if is_busy:
        with pytest.raises(WrongStateError, match=f"{SECOND} has begun to work in"):
            await merging
    else:
        assert (await merging).moved
    assert bool(scene.host.merged) is not is_busy


async def test_only_the_tree_that_moves_is_held_and_only_while_it_moves(scene: Scene) -> None:
    await scene.member(1)
    scene.host.trees["main"] = scene.project
    scene.host.move_gate.clear()
    merging = asyncio.create_task(scene.merge(FIRST))
    await asyncio.sleep(1)
    waiting = asyncio.create_task(scene.team.moving_trees.until_still(scene.project))
    await scene.team.moving_trees.until_still(scene.root)
    await asyncio.sleep(1)
    assert not waiting.done()
    scene.host.move_gate.set()
    await merging
    await waiting
