"""Git in one working tree: which refusals of git are worth another try, how long a lock is waited for, and error texts.

Agents run git in the same repositories at any time. While locks change hands others are at work, and it pays to wait;
one that stays the same may be that of a git that has died. Nothing of ours stays running: git starts no upkeep in the
background.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.layout import ASK_GIT, Head, read_head
from actors.git.model import HEAVY_S, RepositoryPaths
from actors.git.process import GitOutput, GitRunner

SAME_LOCK_S = 3.0
OTHERS_AT_WORK_S = 20.0
_PAUSES_S = (0.02, 0.2)
_LOCK = re.compile(r"'([^'\n]+\.lock)'")


class LockWait:
    """For one operation: asked after each try that met a lock."""

    def __init__(self) -> None:
        self._began = self._since = time.monotonic()
        self._lock: tuple[int, int] | None = None

    def goes_on(self, error: str) -> bool:
        """Pauses before the next try; False, at once, when no further one pays. ``error``: what git said."""
        now = time.monotonic()
        lock = _look_at(error)
        if lock != self._lock:
            self._lock, self._since = lock, now
        if now - self._since > SAME_LOCK_S or now - self._began > OTHERS_AT_WORK_S:
            return False
        time.sleep(random.uniform(*_PAUSES_S))  # noqa: S311  # spreads those who wait
        return True


def lock_in(error: str) -> str | None:
    """The lock's file, if git names it."""
    named = _LOCK.search(error)
    return named[1] if named else None


def _look_at(error: str) -> tuple[int, int] | None:
    """Which file the lock is; None when it is gone or not named."""
    path = lock_in(error)
    if path is None:
        return None
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns


_LOCKED = re.compile(r"Unable to create '[^']*\.lock'|\.lock': File exists|could not lock|is locked by another")
_NO_UPKEEP = ("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false")
_LITERAL = {"GIT_LITERAL_PATHSPECS": "1"}
"""Names of files are names, not patterns."""


class GitRefusedError(WorkspaceError):
    """git said no; the text is git's own."""


class Repository:
    """Runs git in one working tree."""

    def __init__(self, git: GitRunner, place: RepositoryPaths, directory: Path, identity: Mapping[str, str]) -> None:
        """``identity``: variables that say who commits, where git's configuration does not."""
        self.git = git
        self.place = place
        self.directory = directory
        self._identity = identity
        self.retries = 0
        """How often another git was in the way."""

    @property
    def top(self) -> Path:
        """Root of the working tree. Raises ``InvalidRequestError`` in a bare repository."""
        if self.place.top is None:
            raise InvalidRequestError(f"{self.directory} is a bare repository, which has no files to work on.")
        return self.place.top

    def ask(self, *arguments: str, stdin: bytes = b"", most_bytes: int | None = None) -> GitOutput:
        """For what only looks."""
        return self.git.run(self.directory, *arguments, stdin=stdin, environment=_LITERAL, most_bytes=most_bytes)

    def told(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of what only looks. Raises ``GitRefusedError``."""
        return self.output_of(self.ask(*arguments, stdin=stdin))

    def act(
        self,
        directory: Path,
        *arguments: str,
        stdin: bytes = b"",
        begun: Callable[[], bool] = lambda: False,
        settings: Mapping[str, str] | None = None,
    ) -> GitOutput:
        """For what changes something; again for a while when another git was in the way: then nothing was done, unless
        ``begun`` says otherwise. ``settings`` go before those of git's configuration."""
        answer = self._act_once(directory, arguments, stdin, settings or {})
        waiting = LockWait()
        while _is_in_the_way(answer) and not begun() and waiting.goes_on(answer.error):
            self.retries += 1
            answer = self._act_once(directory, arguments, stdin, settings or {})
        return answer

    def done(self, directory: Path, *arguments: str, stdin: bytes = b"") -> str:
        """The output of what changes something. Raises ``GitRefusedError``."""
        return self.output_of(self.act(directory, *arguments, stdin=stdin))

    def commit_of(self, revision: str) -> str | None:
        """Full hash; None when there is no such commit."""
        answer = self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return answer.output.strip() if answer.ok else None

    def head(self) -> Head:
        """What is checked out; ``commit`` is None before the first one."""
        head = read_head(self.place)
        branch = self._told_branch() if head.branch == ASK_GIT else head.branch
        return Head(branch, head.commit or self.commit_of("HEAD"))

    def branch(self) -> str | None:
        """The branch that is checked out; git is asked where a name may stand for another one."""
        head = read_head(self.place)
        return head.branch if head.commit or head.branch is None else self._told_branch()

    def _told_branch(self) -> str | None:
        answer = self.ask("symbolic-ref", "--quiet", "--short", "HEAD")
        return answer.output.removesuffix("\n") if answer.ok else None

    def output_of(self, answer: GitOutput) -> str:
        if not answer.ok:
            raise refusal(answer)
        return answer.output

    def _act_once(
        self, directory: Path, arguments: tuple[str, ...], stdin: bytes, settings: Mapping[str, str]
    ) -> GitOutput:
        environment = {**_LITERAL, **self._identity, **_as_variables(settings)}
        return self.git.run_once(
            directory, *_NO_UPKEEP, *arguments, stdin=stdin, timeout_s=HEAVY_S, environment=environment
        )


def _as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """So a name may hold anything; an option of git's ends it at the first ``=``."""
    variables = {"GIT_CONFIG_COUNT": str(len(settings))} if settings else {}
    for number, (name, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables


def _is_in_the_way(answer: GitOutput) -> bool:
    return not answer.ok and (answer.met_half_made or _LOCKED.search(answer.error) is not None)


def refusal(answer: GitOutput) -> WorkspaceError:
    words = answer.last_words
    if _LOCKED.search(answer.error):
        return GitRefusedError(
            "Another git is at work there and did not finish in time; try again. If none runs, one has died and left "
            f"its lock behind: remove {lock_in(answer.error) or 'the file that git names'}. git says: {words}"
        )
    if "dubious ownership" in answer.error:
        return GitRefusedError(
            "git does not trust this repository, because another user owns it. If you do, run `git config --global "
            f"--add safe.directory <the repository's directory>`. git says: {words}"
        )
    return GitRefusedError(f"git refused: {words}")
