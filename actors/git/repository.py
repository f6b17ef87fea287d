"""git in one working tree: which refusals to retry, how long to wait for a lock, and error texts.

``GitExecutor``, ``merge`` and ``reads`` use ``Repository``. Agents run git in the same repositories at any time. While
locks change, other gits are at work and waiting helps; a lock that stays the same may be left from a dead git. git
starts no background maintenance here.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.layout import ASK_GIT, Head, branch_of, find_place_in, read_head
from actors.git.model import HEAVY_S, RepositoryPaths
from actors.git.process import GitOutput, GitRunner

SAME_LOCK_S = 3.0
OTHERS_AT_WORK_S = 20.0
_PAUSES_S = (0.02, 0.2)
_LOCK = re.compile(r"'([^'\n]+\.lock)'")
_LOCKED = re.compile(r"Unable to create '[^']*\.lock'|\.lock': File exists|could not lock|is locked by another")
_NO_MAINTENANCE = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false")
_LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}
"""File names are names, not patterns."""

_IDENTITY = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")


class GitRefusedError(WorkspaceError):
    """git refused; the text is git's own."""


class Repository:
    """Runs git in one working tree."""

    def __init__(
        self,
        git: GitRunner,
        place: RepositoryPaths,
        directory: Path,
        identity: Mapping[str, str],
        *,
        stays: bool = False,
    ) -> None:
        """``identity``: environment variables that name the committer where git's configuration does not. ``stays``:
        before each git it is looked whether ``directory`` still lies at ``place``."""
        self.git = git
        self.place = place
        self.directory = directory
        self._identity = identity
        self._stays = stays
        self.retries = 0
        """How often another git blocked an operation."""

    @property
    def top(self) -> Path:
        """Root of the working tree. Raises ``InvalidRequestError`` in a bare repository."""
        if self.place.top is None:
            raise InvalidRequestError(f"{self.directory} is a bare repository, which has no files to work on.")
        return self.place.top

    def read(self, *arguments: str, stdin: bytes = b"", most_bytes: int | None = None) -> GitOutput:
        self._check_place()
        return self.git.run(self.directory, *arguments, stdin=stdin, environment=_LITERAL, most_bytes=most_bytes)

    def _check_place(self) -> None:
        """An operation is several gits with hooks between them, and each finds its repository anew."""
        if self._stays:
            find_place_in(self.directory, self.place)

    def read_output(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of a read. Raises ``GitRefusedError``."""
        return self.output_of(self.read(*arguments, stdin=stdin))

    def write(
        self,
        directory: Path,
        *arguments: str,
        stdin: bytes = b"",
        begun: Callable[[], bool] = lambda: False,
        settings: Mapping[str, str] | None = None,
    ) -> GitOutput:
        """Runs a write. Retries for a while when another git was in the way: then nothing was done, unless ``begun``
        says otherwise. ``settings`` override git's configuration."""
        environment = {**_LITERAL, **self._identity, **_as_variables(settings or {})}
        waiting = None
        while True:
            self._check_place()
            answer = self.git.run_once(
                directory, *_NO_MAINTENANCE, *arguments, stdin=stdin, timeout_s=HEAVY_S, environment=environment
            )
            waiting = waiting or LockWait()  # a slow hook or checkout of the first attempt is no wait for a lock
            in_the_way = not answer.ok and (answer.met_half_made or _LOCKED.search(answer.error))
            if not in_the_way or begun() or not waiting.goes_on(answer.error):
                return answer
            self.retries += 1

    def commit_of(self, revision: str) -> str | None:
        """The full hash; None without such a commit."""
        answer = self.read("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return answer.output.strip() if answer.ok else None

    def head(self) -> Head:
        """What is checked out; ``commit`` is None before the first one."""
        head = read_head(self.place)
        branch = self._read_branch() if head.branch == ASK_GIT else head.branch
        return Head(branch, head.commit or self.commit_of("HEAD"))

    def branch(self) -> str | None:
        """The checked out branch; asks git where HEAD may be an alias."""
        head = read_head(self.place)
        return head.branch if head.commit or head.branch is None else self._read_branch()

    def _read_branch(self) -> str | None:
        return branch_of(self.read("symbolic-ref", "--quiet", "HEAD").output.removesuffix("\n"))

    def output_of(self, answer: GitOutput) -> str:
        """Raises ``GitRefusedError``."""
        if not answer.ok:
            raise refusal(answer)
        return answer.output


def identity_in(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What names the committer in the agents' environment."""
    return {name: environment[name] for name in _IDENTITY if name in environment}


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """As variables, because a name in git's ``-c`` option ends at the first ``=``."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))} if settings else {}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def refusal(answer: GitOutput) -> WorkspaceError:
    words = answer.last_words
    if _LOCKED.search(answer.error):
        return GitRefusedError(
            "Another git is at work there and did not finish in time; try again. If none runs, a dead git has left "
            f"its lock behind: remove {lock_in(answer.error) or 'the file that git names'}. git says: {words}"
        )
    if "dubious ownership" in answer.error:
        return GitRefusedError(
            "git does not trust this repository, because another user owns it. If you do, run `git config --global "
            f"--add safe.directory <the repository's directory>`. git says: {words}"
        )
    return GitRefusedError(f"git refused: {words}")


class LockWait:
    """Decides, for one operation, whether to try again after a lock."""

    def __init__(self) -> None:
        self._began = self._since = time.monotonic()
        self._lock: tuple[int, int] | None = None

    def goes_on(self, error: str) -> bool:
        """Pauses before the next try; False, without a pause, to give up. ``error``: git's text."""
        now = time.monotonic()
        lock = _look_at(error)
        if lock != self._lock:
            self._lock, self._since = lock, now
        if now - self._since > SAME_LOCK_S or now - self._began > OTHERS_AT_WORK_S:
            return False
        time.sleep(random.uniform(*_PAUSES_S))  # noqa: S311  # spreads the retries
        return True


def lock_in(error: str) -> str | None:
    """The lock file, if git names it."""
    named = _LOCK.search(error)
    return named[1] if named else None


def _look_at(error: str) -> tuple[int, int] | None:
    """Inode and ctime of the lock; None when it is gone or not named."""
    path = lock_in(error)
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns
