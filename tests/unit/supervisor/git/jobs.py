"""A queue over a host that only pretends, and what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actors.git.model import Commit, CreateRef, GitRequest, GitResponse, Operation, ReadStatus
from supervisor.git.queue import AnswerCache, GitQueue
from supervisor.metrics.metrics import MetricsRecorder
from supervisor.spawning.admission import FairSemaphore
from tests.unit.supervisor.git.host import StandInHost

STATUS = ReadStatus()
COMMIT = Commit(message="m", files=(), everything=True)


def job(operation: Operation, directory: str = "/r/a") -> GitRequest:
    return GitRequest(directory=Path(directory), operation=operation)


def branch(name: str) -> CreateRef:
    return CreateRef(kind="branch", name=name, start=None)


def made(host: StandInHost, *, at_once: int = 3, recorder: MetricsRecorder | None = None) -> GitQueue:
    kept = AnswerCache(100, 60.0)
    return GitQueue(host, FairSemaphore(at_once), kept, recorder or MetricsRecorder(), lambda root: None)


def cached(answers: Sequence[GitResponse]) -> list[bool]:
    return [answer.unchanged for answer in answers]
