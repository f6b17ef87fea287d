"""A host without git: what it is asked waits at a gate, and every answer tells its number."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from actors.errors import UnavailableError
from actors.git.model import CreateRef, Fingerprint, GitRequest, GitResponse, RepositoryPaths


class StandInHost:
    """Each directory's first part names its repository. ``unchanged`` says whether known answers still hold."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.reads: list[list[GitRequest]] = []
        self.writes: list[GitRequest] = []
        self.transactions: list[list[str]] = []
        self.write_calls: list[int] = []
        self.unchanged = True
        self.proves = True
        self.is_away = False
        self.at_once = 0
        self.most_at_once = 0
        self.quick = 100
        """So many writes of a call are done before it has taken its time."""
        self.retries = 0
        self.writing: list[Path] = []
        self.most_writers = 0

    async def git_places(self, directories: Sequence[Path]) -> tuple[RepositoryPaths | None, ...]:
        return tuple(map(place_of, directories))

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
        repository = asked.directory.parts[1]
        self.writing.append(Path(repository))
        self.most_writers = max(self.most_writers, self.writing.count(Path(repository)))
        await self._work()
        self.writing.remove(Path(repository))

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


def place_of(directory: Path) -> RepositoryPaths | None:
    if directory.parts[1] == "nowhere":
        return None
    repository = Path("/", directory.parts[1])
    return RepositoryPaths(top=directory, git_directory=directory / ".git", common_directory=repository / ".git")
