"""A fake of the port that runs git, and what ``git_batch`` asks of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from actors.errors import UnavailableError
from actors.git.model import (
    Commit,
    CreateRef,
    Fingerprint,
    GitRequest,
    GitResponse,
    Operation,
    ReadStatus,
    RepositoryPaths,
)
from supervisor.git.queue import GitQueue
from supervisor.git.scheduling import AnswerCache, GitRead
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.spawning.admission import FairSemaphore

STATUS = ReadStatus()
COMMIT = Commit(message="m", files=(), everything=True)


def named_repository(directory: Path) -> RepositoryPaths | None:
    """The repository that is named by the first part of the directory."""
    if directory.parts[1] == "nowhere":
        return None
    repository = Path("/", directory.parts[1])
    return RepositoryPaths(top=directory, git_directory=directory / ".git", common_directory=repository / ".git")


class FakeGit:
    """A ``GitPort`` without git. Every answer tells its number; a closed ``gate`` holds all answers back."""

    def __init__(self, find: Callable[[Path], RepositoryPaths | None] = named_repository) -> None:
        self._find = find
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads: list[list[GitRequest]] = []
        self.writes: list[GitRequest] = []
        self.transactions: list[list[str]] = []
        self.write_calls: list[int] = []
        self.unchanged = True
        """Whether known answers still hold."""
        self.proves = True
        """Whether reads come with a fingerprint."""
        self.is_away = False
        self.at_once = 0
        self.most_at_once = 0
        self.quick = 100
        """So many writes of a call are done before it has taken its time."""
        self.retries = 0
        self.writing: list[Path] = []
        self.most_writers = 0

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        return tuple(map(self._find, directories))

    async def git_read(self, asked: Sequence[GitRequest]) -> tuple[GitResponse, ...]:
        self.reads.append(list(asked))
        await self._work()
        return tuple(self._answer(each) for each in asked)

    async def git_write(self, asked: Sequence[GitRequest]) -> tuple[GitResponse | None, ...]:
        self.write_calls.append(len(asked))
        names = [each.operation.name for each in asked if isinstance(each.operation, CreateRef)]
        others = [each for each in asked if not isinstance(each.operation, CreateRef)]
        if names:
            self.transactions.append(names)
        done = others[: self.quick] if not names or self.quick else []
        self.writes += done
        await self._write(asked[0])
        return tuple(
            GitResponse(result={"done": True}, retries=self.retries)
            if each in done or isinstance(each.operation, CreateRef)
            else None
            for each in asked
        )

    def _answer(self, asked: GitRequest) -> GitResponse:
        if asked.known is not None and self.unchanged:
            return GitResponse(unchanged=True)
        fingerprint = Fingerprint(digest=b"1", watched=frozenset()) if self.proves else None
        return GitResponse(result={"read": len(self.reads)}, fingerprint=fingerprint)

    async def _write(self, asked: GitRequest) -> None:
        repository = Path(asked.directory.parts[1])
        self.writing.append(repository)
        self.most_writers = max(self.most_writers, self.writing.count(repository))
        await self._work()
        self.writing.remove(repository)

    async def _work(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.is_away:
                raise UnavailableError("The host is away.")
        finally:
            self.at_once -= 1


def git_request(operation: Operation, directory: str = "/r/a") -> GitRequest:
    return GitRequest(directory=Path(directory), operation=operation)


def new_branch(name: str) -> CreateRef:
    return CreateRef(kind="branch", name=name, start=None)


def git_queue(git: FakeGit, *, at_once: int = 3, recorder: MetricsRecorder | None = None) -> GitQueue:
    cache = AnswerCache(100, 60.0)
    return GitQueue(git, FairSemaphore(at_once), cache, recorder or MetricsRecorder(), lambda root: None)


def were_cached(answers: Sequence[GitRead]) -> list[bool]:
    return [answer.cached for answer in answers]
