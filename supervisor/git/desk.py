"""The verb ``git_batch``: checks what is asked, has the queue run it, and says what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path

from actors.errors import PhalanxError, from_wire
from actors.git.values import Outcome
from supervisor import requests, results
from supervisor.desk import Handler
from supervisor.failures import told
from supervisor.git.answers import Answer
from supervisor.git.cache import AnswerCache
from supervisor.git.deeds import Deeds
from supervisor.git.elsewhere import Elsewhere, MakeQueue
from supervisor.git.params import PARAMS, operation_of
from supervisor.git.queue import GitQueue, Job
from supervisor.performance.figures import GitFigures, Queue
from supervisor.permits import Permits
from supervisor.ports import GitPort
from supervisor.results import ErrorInfo
from supervisor.spawning.work_dirs import WorkDirPolicy
from supervisor.team.roll import Roll
from supervisor.tuning.tunables import Tunables
from supervisor.tuning.values import Tuning
from supervisor.verbs import Caller

_Placed = tuple[str, Job | PhalanxError]
"""With the host; empty: this one."""


def git_desk(tunables: Tunables, host: GitPort, work_dirs: WorkDirPolicy, roll: Roll, elsewhere: Elsewhere) -> GitDesk:
    """With caps that follow what is tuned, those of each host for itself."""

    def make(port: GitPort, check: Callable[[Path], object]) -> GitQueue:
        now = tunables.current
        cache = AnswerCache(now.cache_size, now.cache_ttl / 1000)
        return GitQueue(port, Permits(now.max_concurrent_git_ops), cache, roll.meters, check)

    desk = GitDesk(make(host, repository_check(work_dirs)), work_dirs, elsewhere, make, Deeds(roll))
    tunables.subscribe(desk.tuned)
    return desk


def repository_check(work_dirs: WorkDirPolicy) -> Callable[[Path], object]:
    """Raises ``InvalidRequestError`` for a repository of which not all may be worked on."""
    return lambda root: work_dirs.check(str(root), called="The repository of workspaceDir")


class GitDesk:
    def __init__(
        self, queue: GitQueue, work_dirs: WorkDirPolicy, elsewhere: Elsewhere, make: MakeQueue, deeds: Deeds
    ) -> None:
        self._queue = queue
        self._work_dirs = work_dirs
        self._elsewhere = elsewhere
        self._make = make
        self._deeds = deeds

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"git_batch": self.git_batch}

    @property
    def figures(self) -> GitFigures:
        queues = self._queues
        return GitFigures(
            queue=Queue(
                limit=sum(queue.permits.limit for queue in queues),
                running=sum(queue.permits.held for queue in queues),
                waiting=self._waiting,
            ),
            cached=sum(len(queue.cache) for queue in queues),
        )

    @property
    def _queues(self) -> list[GitQueue]:
        return [self._queue, *self._elsewhere.queues.values()]

    @property
    def _waiting(self) -> int:
        return sum(queue.waiting for queue in self._queues)

    def tuned(self, before: Tuning, after: Tuning) -> None:
        """Settings have changed."""
        for queue in self._queues:
            queue.permits.resize(after.max_concurrent_git_ops)
            queue.cache.resize(after.cache_size, after.cache_ttl / 1000)

    async def begin(self) -> None:
        """Nothing is to be brought back here: answers are kept in memory only, and what calls have done by the roll."""

    async def end(self) -> None:
        await asyncio.gather(*(queue.end() for queue in self._queues))
        await self._deeds.end()

    async def git_batch(self, request: requests.GitBatchRequest, caller: Caller) -> results.GitBatchResult:
        jobs = await self._jobs(request.operations)
        writes = [number for number, (_, job) in enumerate(jobs) if isinstance(job, Job) and not job.only_looks]
        if not writes:
            return await self._batch(request, caller, jobs, writes)
        return await self._deeds.once(request, lambda: self._batch(request, caller, jobs, writes))

    async def _batch(
        self, request: requests.GitBatchRequest, caller: Caller, jobs: Sequence[_Placed], writes: Sequence[int]
    ) -> results.GitBatchResult:
        total = len(jobs)
        done = 0

        def tell(number: int) -> None:
            nonlocal done
            done += 1
            caller.progress(done, total, _type_of(request.operations[number]) or "failed")

        known = await self._deeds.begin(request, writes)
        left = [number for number in range(total) if number not in known]
        found = await self._answers([jobs[number] for number in left], lambda at: tell(left[at]))
        by_number = {**known, **dict(zip(left, found, strict=True))}
        if not known:
            self._deeds.done(request, {number: by_number[number] for number in writes})
        return self._result(request, [by_number[number] for number in range(total)])

    def _result(self, request: requests.GitBatchRequest, answers: Sequence[Answer]) -> results.GitBatchResult:
        ran = [answer.outcome.took_s for answer in answers if not answer.cached]
        return results.GitBatchResult(
            success=all(answer.outcome.error is None for answer in answers),
            results=[_outcome(*pair) for pair in zip(request.operations, answers, strict=True)],
            performance=results.GitPerformance(
                total_operations=len(answers),
                cache_hits=sum(answer.cached for answer in answers),
                avg_git_op_time=round(sum(ran) / len(ran) * 1000, 2) if ran else 0.0,
                queue_size=self._waiting,
            ),
        )

    async def _answers(self, jobs: Sequence[_Placed], tell: Callable[[int], None]) -> list[Answer]:
        """In order; what is on several hosts is done on all of them at the same time."""
        by_host: dict[str, list[int]] = {}
        for number, (host, _) in enumerate(jobs):
            by_host.setdefault(host, []).append(number)

        async def on(host: str, numbers: list[int]) -> list[tuple[int, Answer]]:
            queue = self._elsewhere.queue(host, self._make) if host else self._queue
            try:
                found = await queue.run([jobs[number][1] for number in numbers], lambda at: tell(numbers[at]))
            except Exception as error:
                if not host:
                    raise
                refused = Outcome.refused(from_wire(told(error, f"git on {host}")))
                found = [Answer(outcome=refused, result=None) for _ in numbers]
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

    async def _place_of(self, workspace_dir: str) -> tuple[str, Path | PhalanxError]:
        """The host and the directory there."""
        if host := self._elsewhere.host_of(workspace_dir):
            return host, Path(workspace_dir)
        try:
            return "", await self._work_dirs.checked(workspace_dir, called="workspaceDir")
        except Exception as error:  # noqa: BLE001 - told and logged
            return "", from_wire(told(error, "Looking at workspaceDir"))


def _job(asked: requests.GitOperation, host: str, directory: Path | PhalanxError) -> _Placed:
    try:
        operation = operation_of(asked)
    except Exception as error:  # noqa: BLE001 - told and logged
        return "", from_wire(told(error, f"This {asked.type}"))
    return host, directory if isinstance(directory, PhalanxError) else Job(directory=directory, operation=operation)


def _type_of(asked: requests.GitMember) -> requests.GitType | None:
    """What was asked for, also of one that is malformed in another place; None when that is no known type."""
    if isinstance(asked, requests.GitOperation):
        return asked.type
    return next((known for known in PARAMS if known == asked.named("type")), None)


def _outcome(asked: requests.GitMember, answer: Answer) -> results.GitOutcome:
    error = answer.outcome.error
    return results.GitOutcome(
        type=_type_of(asked),
        workspace_dir=asked.workspace_dir if isinstance(asked, requests.GitOperation) else asked.named("workspaceDir"),
        success=error is None,
        result=dict(answer.result) if answer.result is not None else None,
        cached=answer.cached,
        error=ErrorInfo(**error) if error else None,
    )
