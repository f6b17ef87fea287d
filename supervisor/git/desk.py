"""The verb ``git_batch``: checks what is asked, has the queue run it, and says what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from actors.errors import PhalanxError
from supervisor import requests, results
from supervisor.desk import Handler
from supervisor.git.answers import Answer
from supervisor.git.cache import AnswerCache
from supervisor.git.params import operation_of
from supervisor.git.queue import GitQueue, Job
from supervisor.performance.figures import GitFigures, Queue
from supervisor.performance.meters import Meters
from supervisor.permits import Permits
from supervisor.ports import GitPort
from supervisor.results import ErrorInfo
from supervisor.tuning.tunables import Tunables
from supervisor.tuning.values import Tuning
from supervisor.verbs import Caller
from supervisor.work_dirs import WorkDirPolicy


def git_desk(tunables: Tunables, host: GitPort, work_dirs: WorkDirPolicy, meters: Meters) -> GitDesk:
    """With caps that follow what is tuned."""
    now = tunables.current
    cache = AnswerCache(now.cache_size, now.cache_ttl / 1000)
    queue = GitQueue(host, Permits(now.max_concurrent_git_ops), cache, meters, repository_check(work_dirs))
    desk = GitDesk(queue, work_dirs)
    tunables.subscribe(desk.tuned)
    return desk


def repository_check(work_dirs: WorkDirPolicy) -> Callable[[Path], object]:
    """Raises ``InvalidRequestError`` for a repository of which not all may be worked on."""
    return lambda root: work_dirs.check(str(root), called="The repository of workspaceDir")


class GitDesk:
    def __init__(self, queue: GitQueue, work_dirs: WorkDirPolicy) -> None:
        self._queue = queue
        self._work_dirs = work_dirs

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"git_batch": self.git_batch}

    @property
    def figures(self) -> GitFigures:
        queue = Queue(limit=self._queue.permits.limit, running=self._queue.permits.held, waiting=self._queue.waiting)
        return GitFigures(queue=queue, cached=len(self._queue.cache))

    def tuned(self, before: Tuning, after: Tuning) -> None:
        """Settings have changed."""
        self._queue.permits.resize(after.max_concurrent_git_ops)
        self._queue.cache.resize(after.cache_size, after.cache_ttl / 1000)

    async def begin(self) -> None:
        """Nothing is to be brought back: answers are kept in memory only."""

    async def end(self) -> None:
        await self._queue.end()

    async def git_batch(self, request: requests.GitBatchRequest, caller: Caller) -> results.GitBatchResult:
        total = len(request.operations)
        done = 0

        def tell(number: int) -> None:
            nonlocal done
            done += 1
            caller.progress(done, total, request.operations[number].type)

        answers = await self._queue.run(self._jobs(request.operations), tell)
        ran = [answer.outcome.took_s for answer in answers if not answer.cached]
        return results.GitBatchResult(
            success=all(answer.outcome.error is None for answer in answers),
            results=[_outcome(*pair) for pair in zip(request.operations, answers, strict=True)],
            performance=results.GitPerformance(
                total_operations=total,
                cache_hits=sum(answer.cached for answer in answers),
                avg_git_op_time=round(sum(ran) / len(ran) * 1000, 2) if ran else 0.0,
                queue_size=self._queue.waiting,
            ),
        )

    def _jobs(self, operations: Sequence[requests.GitOperation]) -> list[Job | PhalanxError]:
        checked: dict[str, Path | PhalanxError] = {}
        return [self._job(operation, checked) for operation in operations]

    def _job(self, asked: requests.GitOperation, checked: dict[str, Path | PhalanxError]) -> Job | PhalanxError:
        try:
            operation = operation_of(asked)
        except PhalanxError as error:
            return error
        if asked.workspace_dir not in checked:
            checked[asked.workspace_dir] = self._checked(asked.workspace_dir)
        directory = checked[asked.workspace_dir]
        return directory if isinstance(directory, PhalanxError) else Job(directory=directory, operation=operation)

    def _checked(self, workspace_dir: str) -> Path | PhalanxError:
        try:
            return self._work_dirs.check(workspace_dir, called="workspaceDir")
        except PhalanxError as error:
            return error


def _outcome(asked: requests.GitOperation, answer: Answer) -> results.GitOutcome:
    error = answer.outcome.error
    return results.GitOutcome(
        type=asked.type,
        workspace_dir=asked.workspace_dir,
        success=error is None,
        result=dict(answer.result) if answer.result is not None else None,
        cached=answer.cached,
        error=ErrorInfo(**error) if error else None,
    )
