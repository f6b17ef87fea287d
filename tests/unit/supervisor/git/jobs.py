"""A queue over a host that only pretends, and what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.git.model import Commit, CreateRef, Operation, ReadStatus
from supervisor.git.queue import GitQueue, Job
from supervisor.git.scheduling import AnswerCache, GitRead
from supervisor.spawning.admission import FairSemaphore
from tests.unit.supervisor.git.host import StandInHost

STATUS = ReadStatus()
COMMIT = Commit(message="m", files=(), everything=True)


def job(operation: Operation, directory: str = "/r/a") -> Job:
    return Job(directory=Path(directory), operation=operation)


def branch(name: str) -> CreateRef:
    return CreateRef(kind="branch", name=name, start=None)


def made(host: StandInHost, *, at_once: int = 3, size: int = 100) -> GitQueue:
    return GitQueue(host, FairSemaphore(at_once), AnswerCache(size, 60.0))


def cached(answers: Sequence[GitRead]) -> list[bool]:
    return [answer.cached for answer in answers]
