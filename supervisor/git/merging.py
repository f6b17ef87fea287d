"""The verbs ``merge`` and ``sync``: whose work goes where, when, and who is told of it.

``MergeService`` decides; the hosts run git (``actors.git.merge_branches``, and ``GitService`` for all else). Promises:

- ``merge`` moves its target once, when all of it holds, or not at all. Merges in one repository come one after another.
- Nobody's files change while it is at work. Before a commit, a sync or the move of a branch that it has checked out, an
  instance must be between two turns, which ``sync`` waits for. Until that is done, messages to it wait, and it is
  neither started, ended nor recycled. The caller itself is always at work.
- Work that is not committed is never passed over: it is committed first when the caller says so, or told, also what
  was saved when an instance was terminated.
- A conflict is told to the instance whose branch it is, and is an event, once for each state of both branches.
- What was merged is an event, once, whatever dies. What a merge is to bring in is stored before its host is asked
  (``MergeUnderWay``), and deleted with the events. Who finds such a record asks the host what was merged.
- A call repeated with its request id gets the outcome of the first. If the supervisor died before that was stored, the
  call looks anew, and what was merged before is told as merged.

Instances on other hosts: what they have committed is brought home and merged. Their branches are not synced, because
their repositories there do not have the commits.

All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from weakref import WeakValueDictionary

from actors.backoff import Backoff
from actors.concurrency import TaskSet
from actors.errors import (
    FencedError,
    InvalidRequestError,
    PhalanxError,
    RefusedError,
    StoreError,
    UnavailableError,
    WrongStateError,
)
from actors.git.model import (
    Commit,
    Comparison,
    Conflict,
    GitResponse,
    Merge,
    MergeJob,
    MergeReport,
    PreparedMerge,
    ReadLog,
    WorkBranch,
)
from actors.host.host import Host
from actors.instance.inbox import without_headers
from actors.messages import Message
from actors.worktrees.model import Workspace
from actors.worktrees.source import some_of
from supervisor.api.requests import BatchMessage, MergeRequest, Request, SyncRequest
from supervisor.api.results import (
    BranchConflict,
    ErrorInfo,
    MergedWork,
    MergeResult,
    Result,
    SyncedWork,
    SyncResult,
    TeamEvent,
    alone,
)
from supervisor.api.verbs import Caller, Handler
from supervisor.git.params import check_name
from supervisor.git.service import GitService
from supervisor.git.work import InstanceWork, WorkReader, repository_of, tree_of
from supervisor.messaging.outbox import Writes
from supervisor.records import decode_plain, encode_plain
from supervisor.rpc.idempotency import IdempotentCall, fingerprint
from supervisor.spawning.admission import WorkDirPolicy
from supervisor.store import keys
from supervisor.store.base import StateStore
from supervisor.team.access import Access
from supervisor.team.queries import is_done
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
_ResultT = TypeVar("_ResultT", bound=Result)


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
        self._work_dirs = work_dirs
        self._store = store
        self._checks = checks
        self._check_timeout_s = check_timeout_s
        self._carry_home = carry_home
        self._telling = asyncio.Lock()
        self._merging: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._under_way: dict[str, MergeUnderWay] = {}
        """By its key in the store: those of which it is not known what became of them."""
        self._calls = TaskSet("merge or sync")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"merge": self.merge, "sync": self.sync}

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
        return await self._once(request, request.request_id, MergeResult, lambda: self._merge(request, caller))

    async def sync(self, request: SyncRequest, caller: Caller) -> SyncResult:
        """Each instance fails alone."""
        return await self._once(request, request.request_id, SyncResult, lambda: self._sync(request, caller))

    async def _once(
        self, request: Request, request_id: str | None, kind: type[_ResultT], work: Callable[[], Awaitable[_ResultT]]
    ) -> _ResultT:
        idempotency, content = self._team.idempotency, fingerprint(request)

        async def done() -> _ResultT:
            result = await work()
            noted = idempotency.note(request_id, content, [result.model_dump(mode="json")])
            await self._team.save_noted(noted)
            idempotency.keep(noted)
            return result

        async def begun() -> _ResultT:
            earlier = idempotency.outcomes(request_id, content)
            if earlier is not None:
                return kind.model_validate(earlier[0])
            # It goes on when the caller goes away: git has begun, and those whose work it is are to be told.
            task = asyncio.create_task(done(), name=f"merge or sync {request_id}")
            self._calls.keep(task)
            return await asyncio.shield(task)

        return await idempotency.once(request, request_id, begun)

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
                into=_branch_name(request.into, "into"),
                trees=self._trees(members, caller),
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
        told = await self._tell_of_conflicts(report, works, caller)
        merged = [
            self._merged_event(work.branch, report.into, caller.sender)
            for work in works
            if report.outcomes[work.branch.name].state == "merged"
        ]
        await self._publish(*merged, delete=under_way)
        for event, state in self._conflict_events(report, works, told, caller):
            await self._publish_conflict(event, state)
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
        owners = [each for each in self._who_works_here() if tree_of(each.record) == prepared.tree]
        for name in (owner.record.instance_id for owner in owners if not self._is_free(owner, caller)):
            raise WrongStateError(
                f"{name} has begun to work in {prepared.tree}, which has {prepared.report.into} checked out, so "
                "nothing was moved: wait for it, then merge again."
            )
        with self._team.moving_trees.hold(prepared.tree):
            async with self._undisturbed(owners):
                await self._host.move_merged(prepared, _MOVE_S)

    @asynccontextmanager
    async def _undisturbed(self, members: Iterable[Member]) -> AsyncIterator[None]:
        """Inside, none of these begins a turn. Call it without an await since they were found free."""
        async with AsyncExitStack() as held:
            for member in members:
                await held.enter_async_context(member.turn)  # at once: who is free has its turn free
                held.enter_context(self._team.outbox.withheld(member.record.instance_id, but=""))
            yield

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
            await self._publish(*events, delete=[*unheard])

    def _merged_event(self, branch: WorkBranch, into: str, sender: str) -> TeamEvent:
        return self._team.event("merged", branch.name, f"{branch.title} is merged into {into}.", sender=sender)

    async def _publish(
        self, *events: TeamEvent, records: Mapping[str, bytes] | None = None, delete: Sequence[str] = ()
    ) -> None:
        try:
            await self._team.events.publish(*events, records=records, delete=delete)
        except FencedError:
            raise
        except StoreError as error:
            # What was merged stays merged, and the caller is told of it.
            logger.warning("what was merged or conflicts is told to others later: %s", error)

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
        async with self._undisturbed(work.member for work in unsaved):
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
        if not self._is_free(work.member, caller):
            return f"It is at work and has {files} Wait for it and have it commit, or merge without it."
        if request.commit_message is None:
            return f"It has {files} Have it commit, or give a commitMessage under which they are committed first."
        return ""

    def _is_free(self, member: Member, caller: Caller) -> bool:
        """Its files may change: it is between two turns, or it is the caller, and nothing else is done with it."""
        instance_id = member.record.instance_id
        rests = instance_id == caller.instance_id or not member.alive or is_done(self._team, member)
        return rests and not member.turn.locked() and not self._team.outbox.is_withheld(instance_id)

    def _who_works_here(self) -> Sequence[Member]:
        return [each for each in self._team.registry if not each.terminated and not each.record.elsewhere]

    def _at_work(self, caller: Caller) -> Mapping[Path, str]:
        return {
            tree: member.record.instance_id
            for member in self._who_works_here()
            if (tree := tree_of(member.record)) is not None and not self._is_free(member, caller)
        }

    async def _bring_home(self, works: Sequence[InstanceWork]) -> None:
        for record in (work.member.record for work in works):
            if record.elsewhere and record.workspace is not None and self._carry_home is not None:
                await self._carry_home(record.workspace)

    def _trees(self, members: Sequence[Member], caller: Caller) -> tuple[Path, ...]:
        """By which the default of ``into`` and ``from`` is found: the caller's workspace, or where each began."""
        if caller.instance_id:
            record = self._team.registry.get(caller.instance_id).record
            if record.elsewhere:
                raise WrongStateError(
                    f"You work on {record.host}, where your own branch would not follow: have the user drain that host."
                )
            return (tree_of(record) or record.directory,)
        return tuple(dict.fromkeys(member.record.work_dir for member in members))

    def _limited(self, job: MergeJob, caller: Caller) -> MergeJob:
        """The job as the caller may have it done."""
        isolated = (one for one in self._team.registry if repository_of(one.record) == job.git_directory)
        target = next((one.record for one in isolated if _own_branch(one) == job.into), None)
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

    async def _tell_of_conflicts(
        self, report: MergeReport, works: Sequence[InstanceWork], caller: Caller
    ) -> frozenset[str]:
        """Tells one of each two. Returns who was told."""
        by_name = {work.branch.name: work for work in works}
        ways: dict[str, list[tuple[str, str, Conflict]]] = {}
        for conflict in report.conflicts:
            # The one that is merged later resolves; the target resolves nothing.
            for name, other in ((conflict.other, conflict.one), (conflict.one, conflict.other)):
                if name and self._can_be_told(by_name[name].member, caller):
                    title = by_name[other].branch.title if other else report.into
                    commit = report.outcomes[other].commit if other else report.commit
                    ways.setdefault(name, []).append((title, commit, conflict))
                    break
        told = set()
        for name, found in ways.items():
            text = _how_to_resolve(by_name[name].branch.title, [(title, each.files) for title, _, each in found])
            text = without_headers(text)  # names of files and branches are of instances, whoever merges
            states = [report.outcomes[name].commit, *(commit for _, commit, _ in found)]
            if await self._tell(name, text, states, caller):
                told.add(name)
        return frozenset(told)

    def _can_be_told(self, member: Member, caller: Caller) -> bool:
        return member.alive and not member.record.elsewhere and member.record.instance_id != caller.instance_id

    async def _tell(self, instance_id: str, text: str, states: Sequence[str], caller: Caller) -> bool:
        """Once for these commits. What it does not take now is told the next time."""
        async with self._telling:
            if (noted := self._note_once(f"conflict/{instance_id}", text, *states)) is None:
                return True
            given = BatchMessage(instance_id=instance_id, message=text)
            (message,) = self._team.outbox.check([given], caller.sender, time.time())
            if not isinstance(message, Message):
                return False
            accepted = self._team.outbox.accept([message], Writes(records=noted.records, delete=noted.delete))
            if isinstance(await alone(accepted, f"The message to {instance_id}"), ErrorInfo):
                return False
            self._team.idempotency.keep(noted)
            return True

    def _note_once(self, what: str, *state: str) -> IdempotentCall | None:
        """To be stored with what is told of this state; None: it was told."""
        digest = hashlib.sha256("\0".join(state).encode(errors="replace")).hexdigest()[:16]
        if self._team.idempotency.outcomes(f"{what}/{digest}", digest) is not None:
            return None
        return self._team.idempotency.note(f"{what}/{digest}", digest, [])

    async def _publish_conflict(self, event: TeamEvent, states: Sequence[str]) -> None:
        """Once for these commits."""
        noted = self._note_once(f"conflict-event/{event.instance_id}", *states)
        if noted is not None:
            self._team.idempotency.keep(noted)
            await self._publish(event, records=noted.records, delete=noted.delete)

    def _conflict_events(
        self, report: MergeReport, works: Sequence[InstanceWork], told: frozenset[str], caller: Caller
    ) -> Iterable[tuple[TeamEvent, Sequence[str]]]:
        """Each with the state of what conflicts."""
        branches = {work.branch.name: work.branch for work in works}
        for name, branch in branches.items():
            if report.outcomes[name].state != "conflict":
                continue
            found = [each for each in report.conflicts if name in (each.one, each.other)]
            words = [_conflict_in_words(name, each, branches, report.into, told, caller) for each in found]
            text = f"{branch.title} conflicts {'; '.join(words)}. {report.into} was not moved."
            others = [other for each in found for other in (each.one, each.other) if other != name]
            commits = [report.outcomes[other].commit if other else report.commit for other in others]
            event = self._team.event("conflict", name, text, sender=caller.sender)
            yield event, [report.into, report.outcomes[name].commit, *commits]

    async def _sync(self, request: SyncRequest, caller: Caller) -> SyncResult:
        members = self._to_sync(request, caller)
        sources = await self._sources(request, members, caller)
        deadline_s = asyncio.get_running_loop().time() + request.timeout_seconds
        done = 0

        async def one(member: Member) -> SyncedWork:
            nonlocal done
            name = member.record.instance_id
            synced = await alone(self._sync_one(member, sources.get(name), caller, deadline_s), f"Syncing {name}")
            done += 1
            caller.progress(done, len(members), f"{name} is done")
            if isinstance(synced, ErrorInfo):
                return SyncedWork(instance_id=name, state="failed", reason=synced.message)
            return synced

        outcomes = await asyncio.gather(*map(one, members))
        return SyncResult(
            success=all(each.state in ("synced", "up_to_date") for each in outcomes), instances=list(outcomes)
        )

    def _to_sync(self, request: SyncRequest, caller: Caller) -> Sequence[Member]:
        if request.instance_ids is not None:
            return [self._team.registry.get(instance_id) for instance_id in dict.fromkeys(request.instance_ids)]
        mine = tuple(self._team.registry)
        if caller.instance_id:
            own = self._access.workspaces_of(self._team.registry.get(caller.instance_id).record)
            ids = {record.instance_id for record in own} - {caller.instance_id}
            mine = tuple(member for member in mine if member.record.instance_id in ids)
        found = [member for member in mine if not member.terminated and repository_of(member.record) is not None]
        if not found:
            raise InvalidRequestError("There is no instance with a branch of its own to sync.")
        return found

    async def _sources(self, request: SyncRequest, members: Sequence[Member], caller: Caller) -> Mapping[str, str]:
        """What is brought into the branch of each, by id; without those for which that is not known."""
        if (named := _branch_name(request.from_branch, "from")) is not None:
            return {member.record.instance_id: named for member in members}
        groups: dict[Path, list[Member]] = {}
        for member in members:
            repository = repository_of(member.record)
            if repository is not None:
                groups.setdefault(repository, []).append(member)
        found: dict[str, str] = {}
        for repository, group in groups.items():
            asked = Comparison(
                git_directory=repository,
                branches=tuple(WorkBranch(name=each.record.instance_id, branch=_own_branch(each)) for each in group),
                bases=tuple(self._trees([each], caller)[0] for each in group),
            )
            found |= (await self._host.compare_branches(asked)).bases
        return found

    async def _sync_one(self, member: Member, source: str | None, caller: Caller, deadline_s: float) -> SyncedWork:
        record = member.record
        name = record.instance_id
        if member.terminated or repository_of(record) is None:
            raise WrongStateError(f"{name} has no worktree of its own (any more), so there is nothing to sync.")
        if record.elsewhere:
            raise WrongStateError(
                f"{name} works on {record.host}, whose copy of the repository does not follow: drain that host, then "
                "it goes on here."
            )
        if source is None:
            raise InvalidRequestError(f"Which branch {name} began from is not known: give from.")
        left_s = max(0.0, deadline_s - asyncio.get_running_loop().time())
        free = await self._team.changes.until(lambda: self._is_free(member, caller), left_s)
        if not free or name not in self._team.registry:
            return SyncedWork(instance_id=name, state="at_work", reason="Its turn had not ended in time: sync again.")
        async with self._undisturbed([member]):
            merge = Merge(branch=source, message=None, onto=_own_branch(member))
            (answer,) = await self._git.run([(record, merge)])
        return await self._synced(member, source, answer, caller)

    async def _synced(self, member: Member, source: str, answer: GitResponse, caller: Caller) -> SyncedWork:
        name, result = member.record.instance_id, answer.result or {}
        branch = _own_branch(member)
        if answer.error is None:
            is_new = not result.get("alreadyMerged")
            return SyncedWork(instance_id=name, from_branch=source, state="synced" if is_new else "up_to_date")
        files = tuple(result.get("conflicts", ()))
        if not files:
            return SyncedWork(
                instance_id=name, from_branch=source, state="failed", reason=answer.error.get("message", "")
            )
        text = _how_to_resolve(branch, [(source, files)])
        commits = await self._commits(member, source)
        told = self._can_be_told(member, caller) and await self._tell(name, text, commits, caller)
        resolver = _resolver_in_words([name], frozenset([name] if told else []), caller)
        conflict = f"{branch} conflicts with {source} in {some_of(files)} ({resolver}). Nothing was touched."
        event = self._team.event("conflict", name, conflict, sender=caller.sender)
        await self._publish_conflict(event, [source, *files, *commits])
        return SyncedWork(instance_id=name, from_branch=source, state="conflict", files=list(files), told=told)

    async def _commits(self, member: Member, source: str) -> Sequence[str]:
        """Of its branch and of the source; what cannot be read is left out."""
        reads = [ReadLog(revision=revision, limit=1) for revision in (None, f"refs/heads/{source}")]
        answers = await self._git.run([(member.record, read) for read in reads])
        return [each["commit"] for answer in answers for each in (answer.result or {}).get("commits", ())]


def _own_branch(member: Member) -> str:
    workspace = member.record.workspace
    return (workspace.branch if workspace else None) or member.record.instance_id


def _branch_name(name: str | None, argument: str) -> str | None:
    if name is None:
        return None
    try:
        return check_name(name)
    except ValueError as error:
        raise InvalidRequestError(f"{argument} cannot be {name!r}: {error}. Give the name of a branch.") from None


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


def _conflict_in_words(
    name: str,
    conflict: Conflict,
    branches: Mapping[str, WorkBranch],
    into: str,
    told: frozenset[str],
    caller: Caller,
) -> str:
    other = conflict.one if conflict.other == name else conflict.other
    title = branches[other].title if other else into
    # The order in which they are told: the one that is merged later first.
    resolver = _resolver_in_words([each for each in (conflict.other, conflict.one) if each], told, caller)
    return f"with {title} in {some_of(conflict.files)} ({resolver})"


def _resolver_in_words(names: Sequence[str], told: frozenset[str], caller: Caller) -> str:
    """Who of these resolves it, so that nobody else does."""
    if (who := next((name for name in names if name in told), None)) is not None:
        return f"{who} was told how to resolve it"
    if caller.instance_id in names:
        return f"{caller.instance_id} knows it from its own call"
    return "nobody could be told to resolve it"


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


def _how_to_resolve(branch: str, others: Sequence[tuple[str, Sequence[str]]]) -> str:
    commands = "\n".join(
        f"git merge {shlex.quote(other)}   # conflicts in {some_of(tuple(files))}" for other, files in others
    )
    return (
        f"Your branch {branch} conflicts with what others have done. Nothing was touched. Commit what you have, then "
        f"run in your worktree:\n{commands}\n"
        "Resolve each file so that both changes keep their purpose, test, commit, and end your turn. You need not "
        "merge your branch anywhere yourself."
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
