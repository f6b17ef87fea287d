"""The verb ``merge``: the work of several instances comes into one branch.

``MergeService`` decides; the hosts run git (``actors.git.merge_branches``, and ``GitService`` for all else). Promises:

- A merge moves its target once, when all of it holds, or not at all. Merges in one repository come one after another.
- Nobody's files change while it is at work (``Claims``).
- Work that is not committed is never passed over: it is committed first when the caller says so, or told, also what
  was saved when an instance was terminated.
- A conflict is told to the instance whose branch it is (``ConflictTeller``).
- What was merged is an event, once, whatever dies. What a merge is to bring in is stored before its host is asked
  (``MergeUnderWay``), and deleted with the events. Who finds such a record asks the host what was merged.
- A call repeated with its request id gets the outcome of the first. If the supervisor died before that was stored, the
  call looks anew, and what was merged before is told as merged.

What instances on other hosts have committed is brought home and merged. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shlex
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakValueDictionary

from actors.backoff import Backoff
from actors.errors import (
    FencedError,
    InvalidRequestError,
    PhalanxError,
    RefusedError,
    UnavailableError,
    WrongStateError,
)
from actors.git.model import (
    Commit,
    MergeJob,
    MergeReport,
    PreparedMerge,
    WorkBranch,
)
from actors.host.host import Host
from actors.worktrees.model import Workspace
from actors.worktrees.source import some_of
from supervisor.api.requests import MergeRequest
from supervisor.api.results import (
    BranchConflict,
    ErrorInfo,
    MergedWork,
    MergeResult,
    TeamEvent,
    alone,
)
from supervisor.api.verbs import Caller, Handler
from supervisor.git.claims import Claims
from supervisor.git.conflicts import ConflictTeller, publish
from supervisor.git.lasting_calls import LastingCalls
from supervisor.git.params import branch_named
from supervisor.git.service import GitService
from supervisor.git.work import InstanceWork, WorkReader, base_trees, own_branch, repository_of, tree_of
from supervisor.records import decode_plain, encode_plain
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.access import Access
from supervisor.team.registry import Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

MERGE_S = 600.0
"""Longest time for all merges of a call, without their checks."""
_MOVE_S = 60.0
_MOST_TRIES = 3
"""So many runs of the check more than there are branches: an order may not work at once."""
_ASK_AGAIN = Backoff(first_s=0.5, longest_s=30.0)
_MOST_ASKED = 10
"""So often a host that answers is asked what became of a merge: its repository may be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeUnderWay:
    """What a merge is to bring in that was not there before."""

    git_directory: Path
    into: str
    branches: tuple[WorkBranch, ...]
    """Each with its commit."""
    sender: str
    """Who asked for it."""


class MergeService:
    """A ``VerbService``."""

    def __init__(
        self,
        team: Team,
        access: Access,
        git: GitService,
        reader: WorkReader,
        host: Host,
        claims: Claims,
        conflicts: ConflictTeller,
        work_dirs: WorkDirPolicy,
        store: StateStore,
        *,
        checks: Sequence[str],
        check_timeout_s: float,
        carry_home: Callable[[Workspace], Awaitable[object]] | None = None,
    ) -> None:
        """``checks``: the command lines that a merge may run. ``carry_home``: in a cluster, brings what an instance on
        another host has committed to the repository on this one."""
        self._team = team
        self._access = access
        self._git = git
        self._reader = reader
        self._host = host
        self._claims = claims
        self._conflicts = conflicts
        self._work_dirs = work_dirs
        self._store = store
        self._checks = checks
        self._check_timeout_s = check_timeout_s
        self._carry_home = carry_home
        self._merging: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._under_way: dict[str, MergeUnderWay] = {}
        """By its key in the store: those of which it is not known what became of them."""
        self._calls = LastingCalls(team, "merge")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"merge": self.merge}

    async def begin(self) -> None:
        """Finds out what became of the merges of an earlier supervisor. Raises ``StoreError``."""
        stored = await self._store.load(keys.MERGING_PREFIX)
        self._under_way |= dict(self._team.unreadable.readable(stored, _decode))
        for repository in {each.git_directory for each in self._under_way.values()}:
            self._calls.begin(self._settle_in_time(repository), name=f"what was merged in {repository}")

    async def end(self) -> None:
        await self._calls.end()

    async def merge(self, request: MergeRequest, caller: Caller) -> MergeResult:
        """Raises ``PhalanxError`` when nothing could be tried."""
        return await self._calls.once(request, request.request_id, MergeResult, lambda: self._merge(request, caller))

    async def _merge(self, request: MergeRequest, caller: Caller) -> MergeResult:
        members = [self._team.registry.get(instance_id) for instance_id in dict.fromkeys(request.instance_ids)]
        check = self._check_command(request.check)
        repository = _one_repository(members)
        await self._check_repository(repository)
        lock = self._merging.setdefault(repository, asyncio.Lock())
        if lock.locked():
            caller.progress(0, 1, "waiting for another merge")
        async with lock:
            await self._settle(repository)
            works, left = await self._committed(members, request, caller)
            if left:
                return MergeResult(success=False, moved=False, instances=left)
            await self._bring_home(works)
            job = MergeJob(
                git_directory=repository,
                branches=tuple(work.branch for work in works),
                into=branch_named(request.into, "into"),
                trees=base_trees(members, caller, self._team.registry),
                check=tuple(check),
                check_timeout_s=self._check_timeout_s,
                message=request.message,
                busy=self._at_work(caller),
            )
            tries = len(works) + _MOST_TRIES if check else 0
            caller.progress(0, 1, "merging")
            report, under_way = await self._merge_noted(
                self._limited(job, caller), MERGE_S + self._check_timeout_s * tries, caller
            )
        merged = [
            self._merged_event(work.branch, report.into, caller.sender)
            for work in works
            if report.outcomes[work.branch.name].state == "merged"
        ]
        await publish(self._team, *merged, delete=under_way)
        told = await self._conflicts.of_merge(report, works, caller)
        return _merge_result(report, works, told, await self._left_behind(works, repository, report.into))

    async def _left_behind(self, works: Sequence[InstanceWork], repository: Path, into: str) -> Mapping[str, str]:
        """In words, by id, what terminated ones had not committed and is not in ``into``."""
        ended = [work for work in works if work.member.terminated]
        left = {work.branch.name: place for work in ended if (place := work.member.record.left)}
        refs = {name: place for name, place in left.items() if place.startswith("refs/")}
        if refs:
            saved = tuple(WorkBranch(name=name, branch=None, commit=ref) for name, ref in refs.items())
            asked = MergeJob(git_directory=repository, branches=saved, into=into, trees=())
            found = await alone(self._host.find_merged(asked, MERGE_S), "Looking for saved work")
            if not isinstance(found, ErrorInfo):
                gone = {name for name in refs if name in found.merged or name not in found.commits}
                left = {name: place for name, place in left.items() if name not in gone}
        return {
            name: f"What it had not committed when it was terminated is not in {into}: it is in {place}"
            + (f"; `git merge {place}` brings it in." if name in refs else ".")
            for name, place in left.items()
        }

    async def _merge_noted(self, job: MergeJob, limit_s: float, caller: Caller) -> tuple[MergeReport, Sequence[str]]:
        """Also the key of the record that is to be deleted with the events of the outcome."""
        before = await self._host.find_merged(job, limit_s)
        branches = tuple(replace(each, commit=before.commits.get(each.name)) for each in job.branches)
        new = tuple(each for each in branches if each.commit is not None and each.name not in before.merged)
        job = replace(job, into=before.into, branches=branches)
        key = keys.merging(secrets.token_hex(6))
        if new:
            noted = MergeUnderWay(git_directory=job.git_directory, into=before.into, branches=new, sender=caller.sender)
            await self._store.save({key: _encode(noted)})
            self._under_way[key] = noted
        try:
            report = await self._host.prepare_merge(job, limit_s)
            if isinstance(report, PreparedMerge):
                await self._move(report, caller)
                report = report.report
        except PhalanxError:
            # It may have merged all the same.
            self._calls.begin(self._settle_in_time(job.git_directory), name=f"what was merged in {job.git_directory}")
            raise
        return report, [key] if self._under_way.pop(key, None) else []

    async def _move(self, prepared: PreparedMerge, caller: Caller) -> None:
        """Raises ``WrongStateError`` when somebody has begun to work in the tree that would change."""
        if prepared.tree is None:
            await self._host.move_merged(prepared, _MOVE_S)
            return
        owners = [each for each in self._claims.who_works_here() if tree_of(each.record) == prepared.tree]
        for name in (owner.record.instance_id for owner in owners if not self._claims.is_free(owner, caller)):
            raise WrongStateError(
                f"{name} has begun to work in {prepared.tree}, which has {prepared.report.into} checked out, so "
                "nothing was moved: wait for it, then merge again."
            )
        with self._team.moving_trees.hold(prepared.tree):
            async with self._claims.undisturbed(owners):
                await self._host.move_merged(prepared, _MOVE_S)

    async def _settle_in_time(self, repository: Path) -> None:
        """As soon as the host answers. Another merge there does it before, under the same lock."""
        lock = self._merging.setdefault(repository, asyncio.Lock())
        failures = 0
        while True:
            try:
                async with lock:
                    return await self._settle(repository)
            except FencedError:
                return None  # another supervisor does it
            except PhalanxError as error:
                failures += 1
                logger.warning("what was merged in %s is not known so far: %s", repository, error)
                if failures >= _MOST_ASKED and not isinstance(error, UnavailableError):
                    return await self._give_up(repository)
            await asyncio.sleep(_ASK_AGAIN.pause_s(failures))

    async def _settle(self, repository: Path) -> None:
        """Tells what was merged of the merges whose outcome nobody has heard. Raises ``PhalanxError``."""
        unheard = {key: each for key, each in self._under_way.items() if each.git_directory == repository}
        events: dict[tuple[str, str | None, str], TeamEvent] = {}
        for each in unheard.values():
            job = MergeJob(git_directory=repository, branches=each.branches, into=each.into, trees=())
            now = await self._host.find_merged(job, MERGE_S)
            for branch in each.branches:
                if branch.name in now.merged:
                    told = (branch.name, branch.commit, each.into)
                    events[told] = self._merged_event(branch, each.into, each.sender)
        await self._settled(unheard, events.values())

    async def _give_up(self, repository: Path) -> None:
        """The repository cannot be read any more."""
        await self._settled([key for key, each in self._under_way.items() if each.git_directory == repository], ())

    async def _settled(self, unheard: Collection[str], events: Iterable[TeamEvent]) -> None:
        for key in unheard:
            del self._under_way[key]
        if unheard:
            await publish(self._team, *events, delete=[*unheard])

    def _merged_event(self, branch: WorkBranch, into: str, sender: str) -> TeamEvent:
        return self._team.event("merged", branch.name, f"{branch.title} is merged into {into}.", sender=sender)

    def _check_command(self, line: str | None) -> list[str]:
        if line is None:
            return []
        if line not in self._checks:
            allowed = ", ".join(map(repr, self._checks)) or "none so far"
            raise RefusedError(
                f"The check {line!r} is none that the team's configuration allows: {allowed}. Name one exactly; the "
                "user adds others to merge_checks in config.toml."
            )
        return shlex.split(line)

    async def _check_repository(self, git_directory: Path) -> None:
        """A merge may change any file of it. Raises ``InvalidRequestError``."""
        root = git_directory.parent if git_directory.name == ".git" else git_directory
        await self._work_dirs.checked(str(root), called="The repository of the instances")

    async def _committed(
        self, members: Sequence[Member], request: MergeRequest, caller: Caller
    ) -> tuple[list[InstanceWork], list[MergedWork]]:
        """The work of each, all of it committed; or a row for each, of which some say why they cannot be merged now."""
        read = dict(
            zip((member.record.instance_id for member in members), await self._reader.read(members), strict=True)
        )
        works = [work for work in read.values() if isinstance(work, InstanceWork)]
        not_now = {name: str(work) for name, work in read.items() if isinstance(work, PhalanxError)}
        not_now |= {work.branch.name: why for work in works if (why := self._why_not_now(work, request, caller))}
        if not_now:
            return [], _rows(read, not_now, ())
        unsaved = [work for work in works if work.uncommitted_files]
        if not unsaved:
            return works, []
        commit = Commit(message=request.commit_message or "", files=(), everything=True)
        async with self._claims.undisturbed(work.member for work in unsaved):
            answers = await self._git.run([(work.member.record, commit) for work in unsaved])
        saved = {}
        for work, answer in zip(unsaved, answers, strict=True):
            name = work.branch.name
            if answer.error is not None or answer.result is None:
                not_now[name] = f"Its changes could not be committed: {(answer.error or {}).get('message', '')}"
            else:
                saved[name] = replace(work, branch=replace(work.branch, commit=answer.result["commit"]))
        if not_now:
            return [], _rows(read, not_now, saved)
        return [saved.get(work.branch.name, work) for work in works], []

    def _why_not_now(self, work: InstanceWork, request: MergeRequest, caller: Caller) -> str:
        if work.under_way:
            return f"A {work.under_way} is under way in its worktree: have it finished or aborted first."
        if not work.uncommitted_files:
            return ""
        files = f"{work.uncommitted_files} file(s) not committed: {some_of(work.uncommitted)}."
        if not self._claims.is_free(work.member, caller):
            return f"It is at work and has {files} Wait for it and have it commit, or merge without it."
        if request.commit_message is None:
            return f"It has {files} Have it commit, or give a commitMessage under which they are committed first."
        return ""

    def _at_work(self, caller: Caller) -> Mapping[Path, str]:
        return {
            tree: member.record.instance_id
            for member in self._claims.who_works_here()
            if (tree := tree_of(member.record)) is not None and not self._claims.is_free(member, caller)
        }

    async def _bring_home(self, works: Sequence[InstanceWork]) -> None:
        for record in (work.member.record for work in works):
            if record.elsewhere and record.workspace is not None and self._carry_home is not None:
                await self._carry_home(record.workspace)

    def _limited(self, job: MergeJob, caller: Caller) -> MergeJob:
        """The job as the caller may have it done."""
        isolated = (one for one in self._team.registry if repository_of(one.record) == job.git_directory)
        target = next((one.record for one in isolated if own_branch(one.record) == job.into), None)
        if target is not None and target.elsewhere:
            raise WrongStateError(
                f"{job.into} is the branch of {target.instance_id}, which works on {target.host} and would not follow "
                "it: drain that host first."
            )
        if not caller.instance_id:
            return job
        own = self._access.workspaces_of(self._team.registry.get(caller.instance_id).record)
        here = [record for record in own if not record.elsewhere]
        return replace(
            job,
            movable_trees=tuple(filter(None, map(tree_of, here))),
            movable_branches=frozenset(
                record.workspace.branch
                for record in here
                if record.is_isolated and record.workspace and record.workspace.branch
            ),
        )


def _one_repository(members: Sequence[Member]) -> Path:
    found: dict[Path, str] = {}
    for record in (member.record for member in members):
        repository = repository_of(record)
        if repository is None:
            raise InvalidRequestError(
                f"{record.instance_id} has no branch of its own: it works in {record.directory} itself. Leave it out."
            )
        found.setdefault(repository, record.instance_id)
    if len(found) > 1:
        told = ", ".join(f"{name} in {repository}" for repository, name in found.items())
        raise InvalidRequestError(f"They work on different repositories ({told}): merge those of each on their own.")
    return next(iter(found))


def _encode(merge: MergeUnderWay) -> bytes:
    """Names of git need not be UTF-8."""
    branches = [[each.name, os.fsencode(each.title), each.commit] for each in merge.branches]
    return encode_plain([os.fsencode(merge.git_directory), os.fsencode(merge.into), branches, merge.sender])


def _decode(data: bytes) -> MergeUnderWay:
    git_directory, into, branches, sender = decode_plain(data)
    return MergeUnderWay(
        git_directory=Path(os.fsdecode(git_directory)),
        into=os.fsdecode(into),
        branches=tuple(
            WorkBranch(name=name, branch=os.fsdecode(title), commit=commit) for name, title, commit in branches
        ),
        sender=sender,
    )


def _rows(
    read: Mapping[str, InstanceWork | PhalanxError], not_now: Mapping[str, str], committed: Collection[str]
) -> list[MergedWork]:
    """Of a merge that was not tried, because some are ``not_now``."""
    rows = []
    for name, work in read.items():
        known = work if isinstance(work, InstanceWork) else None
        rows.append(
            MergedWork(
                instance_id=name,
                branch=known.branch.branch if known else None,
                state="failed" if name in not_now else "not_merged",
                files=list(known.uncommitted) if known and name in not_now else [],
                reason=not_now.get(name),
                committed=name in committed,
            )
        )
    return rows


def _merge_result(
    report: MergeReport, works: Sequence[InstanceWork], told: frozenset[str], left: Mapping[str, str]
) -> MergeResult:
    rows = []
    for work in works:
        name = work.branch.name
        outcome = report.outcomes[name]
        rows.append(
            MergedWork(
                instance_id=name,
                branch=work.branch.branch,
                state=outcome.state,
                files=list(outcome.files),
                reason=outcome.reason or left.get(name),
                committed=bool(work.uncommitted_files),
                told=name in told,
            )
        )
    return MergeResult(
        success=all(row.state in ("merged", "already_merged") for row in rows),
        into=report.into,
        commit=report.commit,
        moved=report.moved,
        order=list(report.order),
        instances=rows,
        conflicts=[
            BranchConflict(between=[each.one or report.into, each.other], files=list(each.files))
            for each in report.conflicts
        ],
    )
