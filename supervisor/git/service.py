"""The verb ``git_batch``: checks what is asked, has it run where each directory is, and says what became of it.

On other hosts of a team it works in the worktrees of the instances that are there. Each host has a queue and kept
answers of its own: paths of two hosts look alike, and so do their repositories.

A repeated call writes nothing twice. Before the first write of a call it is stored, under the call's request id, that
its writes are begun; afterwards, what became of them. A repeated call gets that. If the supervisor died in between, it
is not known what was done, and nothing is done again. Reads may be made anew.

All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path

from actors.concurrency import TaskSet
from actors.errors import PhalanxError, RefusedError, UnavailableError
from actors.git.model import (
    Checkout,
    DeleteBranch,
    GitRequest,
    GitResponse,
    Operation,
    RepositoryPaths,
    Write,
)
from supervisor.api import requests, results
from supervisor.api.requests import GitBatchRequest
from supervisor.api.results import ErrorInfo, GitBatchResult, public_error
from supervisor.api.verbs import Caller, Handler, Tally
from supervisor.cluster.scheduler import HostScheduler
from supervisor.git.params import PARAMS, operation_of
from supervisor.git.queue import AnswerCache, GitQueue
from supervisor.metrics.snapshot import GitSnapshot, Queue
from supervisor.ports import GitPort
from supervisor.rpc.idempotency import fingerprint
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.spawning.admission import FairSemaphore, WorkDirPolicy
from supervisor.team.access import Access
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team

_LOST = (
    "The same call was begun before and cut off: whether this was done is not known. Look with status, log or branch; "
    "if it is still to be done, ask again with a new requestId."
)


class GitWriteLog:
    """What the writes of each call came to, kept in the team's store."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._storing = TaskSet("store what git has done")

    async def end(self) -> None:
        await self._storing.done()

    async def begin(self, request: GitBatchRequest, writes: Sequence[int]) -> Mapping[int, GitResponse]:
        """The answers of the operations ``writes`` of a repeated call; nothing of a new one, which is stored then.

        Raises ``StoreError``, and ``InvalidRequestError`` when the id was used for something else.
        """
        if request.request_id is None or not writes:
            return {}
        idempotency, content = self._team.idempotency, fingerprint(request)
        earlier = idempotency.outcomes(request.request_id, content)
        if earlier is None:
            begun = idempotency.note(request.request_id, content, [])
            await self._team.save_noted(begun)
            idempotency.keep(begun)
            return {}
        known = {number: GitResponse(result=result, error=error) for number, result, error in earlier}
        return {number: known.get(number) or GitResponse.refused(UnavailableError(_LOST)) for number in writes}

    def done(self, request: GitBatchRequest, answers: Mapping[int, GitResponse]) -> None:
        """It is stored beside: whoever gets the answer does not make the call again."""
        if request.request_id is None or not answers:
            return
        outcomes = [[number, answer.result, answer.error] for number, answer in answers.items()]
        noted = self._team.idempotency.note(request.request_id, fingerprint(request), outcomes)
        self._team.idempotency.keep(noted)
        self._storing.begin(self._team.save_noted(noted))


class RemoteGit:
    """Which directories are on other hosts, and how git is called there."""

    def __init__(self, worktrees: Path, scheduler: HostScheduler | None) -> None:
        """``worktrees``: root of those of every host. ``scheduler``: None on one machine, where all is here."""
        self._worktrees = worktrees
        self._scheduler = scheduler

    def host_of(self, directory: str) -> str:
        """Empty for what is on this host, or nowhere."""
        path = Path(directory)
        if self._scheduler is None or ".." in path.parts or not path.is_relative_to(self._worktrees):
            return ""
        below = path.relative_to(self._worktrees).parts
        host = self._scheduler.places.get(below[0].partition("-")[0], "") if below else ""
        return "" if host == self._scheduler.own else host

    def port(self, host: str) -> GitPort:
        if self._scheduler is None:
            raise PhalanxError(f"There is no host {host} in this team.")
        return _RemoteGitPort(host, self._scheduler, self._worktrees)


class _RemoteGitPort:
    """A ``GitPort`` to the host of this name, whichever actor it has by then."""

    def __init__(self, name: str, scheduler: HostScheduler, worktrees: Path) -> None:
        self._name = name
        self._scheduler = scheduler
        self._worktrees = (worktrees, worktrees.resolve())

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        """A link that leads out of the worktrees leads nowhere, so nothing outside of them is read or written."""
        places = await (await self._scheduler.link(self._name)).git_places(directories)
        return tuple(place if place and self._is_below(place.top) else None for place in places)

    def _is_below(self, top: Path | None) -> bool:
        return top is not None and any(top.is_relative_to(worktrees) for worktrees in self._worktrees)

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        return await (await self._scheduler.link(self._name)).git_read(asked)

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        return await (await self._scheduler.link(self._name)).git_write(asked)


_Placed = tuple[str, GitRequest | PhalanxError]
"""With the host; empty: this one."""


def repository_check(work_dirs: WorkDirPolicy) -> Callable[[Path], object]:
    """Raises ``InvalidRequestError`` for a repository of which not all may be worked on."""
    return lambda root: work_dirs.check(str(root), called="The repository of workspaceDir")


class GitService:
    def __init__(
        self,
        live_settings: LiveSettings,
        host: GitPort,
        work_dirs: WorkDirPolicy,
        team: Team,
        access: Access,
        remote: RemoteGit,
    ) -> None:
        """``host``: this one. The caps follow what is tuned and hold on each host for itself."""
        self._live_settings = live_settings
        self._host = host
        self._work_dirs = work_dirs
        self._registry = team.registry
        self._access = access
        self._recorder = team.recorder
        self._idempotency = team.idempotency
        self._remote = remote
        self._write_log = GitWriteLog(team)
        self._queues = {"": self._make_queue(host, repository_check(work_dirs))}
        live_settings.subscribe(self._tuned)

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"git_batch": self.git_batch}

    @property
    def figures(self) -> GitSnapshot:
        queues = self._queues.values()
        return GitSnapshot(
            queue=Queue(
                limit=sum(queue.permits.limit for queue in queues),
                running=sum(queue.permits.held for queue in queues),
                waiting=self._waiting,
            ),
            cached=sum(len(queue.cache) for queue in queues),
        )

    @property
    def _waiting(self) -> int:
        return sum(queue.waiting for queue in self._queues.values())

    def _make_queue(self, port: GitPort, check: Callable[[Path], object]) -> GitQueue:
        now = self._live_settings.current
        cache = AnswerCache(now.cache_size, now.cache_ttl / 1000)
        return GitQueue(port, FairSemaphore(now.max_concurrent_git_ops), cache, self._recorder, check)

    def _queue(self, host: str) -> GitQueue:
        if host not in self._queues:
            self._queues[host] = self._make_queue(self._remote.port(host), lambda _root: None)
        return self._queues[host]

    def _tuned(self, before: TunableValues, after: TunableValues) -> None:
        for queue in self._queues.values():
            queue.permits.resize(after.max_concurrent_git_ops)
            queue.cache.resize(after.cache_size, after.cache_ttl / 1000)

    async def begin(self) -> None:
        """Nothing is to be brought back here: answers are kept in memory only, and what calls have done by the team."""

    async def end(self) -> None:
        await asyncio.gather(*(queue.end() for queue in self._queues.values()))
        await self._write_log.end()

    async def run(self, jobs: Sequence[tuple[InstanceRecord, Operation]]) -> list[GitResponse]:
        """Operations of the team's own, each in the root of an instance's workspace, as those of a batch are run."""
        return await self._run([_in_workspace(*job) for job in jobs], lambda _number: None)

    async def git_batch(self, request: GitBatchRequest, caller: Caller) -> GitBatchResult:
        jobs = await self._jobs(request.operations)
        if caller.instance_id:
            jobs = self._within(self._registry.get(caller.instance_id).record, request.operations, jobs)
        writes = [
            number
            for number, (_, job) in enumerate(jobs)
            if isinstance(job, GitRequest) and isinstance(job.operation, Write)
        ]
        if not writes:
            return await self._batch(request, caller, jobs, writes)
        return await self._idempotency.once(
            request, request.request_id, lambda: self._batch(request, caller, jobs, writes)
        )

    async def _batch(
        self, request: GitBatchRequest, caller: Caller, jobs: Sequence[_Placed], writes: Sequence[int]
    ) -> GitBatchResult:
        total = len(jobs)
        tally = Tally(caller.progress, total, "running git")

        def tell(number: int) -> None:
            tally.is_done(_type_of(request.operations[number]) or "failed")

        known = await self._write_log.begin(request, writes)
        left = [number for number in range(total) if number not in known]
        found = await self._run([jobs[number] for number in left], lambda at: tell(left[at]))
        by_number = {**known, **dict(zip(left, found, strict=True))}
        if not known:
            self._write_log.done(request, {number: by_number[number] for number in writes})
        return self._result(request, [by_number[number] for number in range(total)])

    def _result(self, request: GitBatchRequest, answers: Sequence[GitResponse]) -> GitBatchResult:
        ran = [answer.took_s for answer in answers if not answer.unchanged]
        return GitBatchResult(
            success=all(answer.error is None for answer in answers),
            results=[_outcome(*pair) for pair in zip(request.operations, answers, strict=True)],
            performance=results.GitPerformance(
                total_operations=len(answers),
                cache_hits=sum(answer.unchanged for answer in answers),
                avg_git_op_time=round(sum(ran) / len(ran) * 1000, 2) if ran else 0.0,
                queue_size=self._waiting,
            ),
        )

    async def _run(self, jobs: Sequence[_Placed], tell: Callable[[int], None]) -> list[GitResponse]:
        """In order; what is on several hosts is done on all of them at the same time."""
        by_host: dict[str, list[int]] = {}
        for number, (host, _) in enumerate(jobs):
            by_host.setdefault(host, []).append(number)

        async def on(host: str, numbers: list[int]) -> list[tuple[int, GitResponse]]:
            try:
                found = await self._queue(host).run(
                    [jobs[number][1] for number in numbers], lambda at: tell(numbers[at])
                )
            except Exception as error:
                if not host:
                    raise
                refused = GitResponse.refused(public_error(error, f"git on {host}"))
                found = [refused] * len(numbers)
            return list(zip(numbers, found, strict=True))

        answers = await asyncio.gather(*(on(host, numbers) for host, numbers in by_host.items()))
        return [answer for _, answer in sorted(chain(*answers), key=itemgetter(0))]

    async def _jobs(self, operations: Sequence[requests.GitMember]) -> list[_Placed]:
        well_formed = [each for each in operations if isinstance(each, requests.GitOperation)]
        named = list({each.workspace_dir for each in well_formed})
        places = dict(zip(named, await asyncio.gather(*map(self._place_of, named)), strict=True))
        return [
            ("", operation.error)
            if isinstance(operation, requests.Malformed)
            else _job(operation, *places[operation.workspace_dir])
            for operation in operations
        ]

    def _within(
        self, caller: InstanceRecord, operations: Sequence[requests.GitMember], jobs: Sequence[_Placed]
    ) -> list[_Placed]:
        """The jobs, of which those are refused that would do more than work in the workspaces of the caller's part.

        ``Access`` has compared the names of the directories; the host compares what lies there when it does the work.
        """
        places: dict[str, RepositoryPaths] = {}
        for record in self._access.workspaces_of(caller):
            if record.workspace is not None and record.workspace.place is not None:
                places.setdefault(str(record.directory), record.workspace.place)
        branches = self._access.own_branches(caller)

        def allowed(asked: requests.GitMember, job: GitRequest | PhalanxError) -> GitRequest | PhalanxError:
            if isinstance(job, PhalanxError) or not isinstance(asked, requests.GitOperation):
                return job
            place = places.get(asked.workspace_dir)
            if place is None:
                return _outside_of_git(asked.workspace_dir)
            return _refused_branch(job.operation, branches) or replace(
                job, directory=Path(asked.workspace_dir), place=place
            )

        return [(host, allowed(asked, job)) for asked, (host, job) in zip(operations, jobs, strict=True)]

    async def _place_of(self, workspace_dir: str) -> tuple[str, Path | PhalanxError]:
        """The host and the directory there."""
        if host := self._remote.host_of(workspace_dir):
            return host, Path(workspace_dir)
        try:
            return "", await self._work_dirs.checked(workspace_dir, called="workspaceDir")
        except Exception as error:  # noqa: BLE001 - told and logged
            return "", public_error(error, "Looking at workspaceDir")


def _job(asked: requests.GitOperation, host: str, directory: Path | PhalanxError) -> _Placed:
    try:
        operation = operation_of(asked)
    except Exception as error:  # noqa: BLE001 - told and logged
        return "", public_error(error, f"This {asked.type}")
    return host, directory if isinstance(directory, PhalanxError) else GitRequest(
        directory=directory, operation=operation
    )


def _in_workspace(record: InstanceRecord, operation: Operation) -> _Placed:
    place = record.workspace.place if record.workspace else None
    if place is None:
        return "", _outside_of_git(str(record.directory))
    root = place.top or record.directory
    return record.host if record.elsewhere else "", GitRequest(directory=root, operation=operation, place=place)


def _outside_of_git(directory: str) -> RefusedError:
    return RefusedError(
        f"{directory} was in no git repository when the work there began, and what has come since may be of somebody "
        "else. Nothing was done. Leave git there to the user."
    )


def _refused_branch(operation: Operation, own: Collection[str]) -> RefusedError | None:
    """Who checks another's branch out moves it with the next commit."""
    match operation:
        case Checkout(branch=branch, create=False) if branch not in own:
            return RefusedError(
                f"{branch} is no branch of your part of the team, so you cannot check it out: what you commit would "
                "move it. Create a branch of your own there (create true, startPoint), or merge it into yours."
            )
        case DeleteBranch(name=branch) if branch not in own:
            return RefusedError(
                f"{branch} is no branch of your part of the team, so you cannot delete it: leave that to the user."
            )
        case _:
            return None


def _type_of(asked: requests.GitMember) -> requests.GitType | None:
    """What was asked for, also of one that is malformed in another place; None when that is no known type."""
    if isinstance(asked, requests.GitOperation):
        return asked.type
    return next((known for known in PARAMS if known == asked.named("type")), None)


def _outcome(asked: requests.GitMember, answer: GitResponse) -> results.GitOutcome:
    return results.GitOutcome(
        type=_type_of(asked),
        workspace_dir=asked.workspace_dir if isinstance(asked, requests.GitOperation) else asked.named("workspaceDir"),
        success=answer.error is None,
        result=dict(answer.result) if answer.result is not None else None,
        cached=answer.unchanged,
        error=ErrorInfo(**answer.error) if answer.error else None,
    )
