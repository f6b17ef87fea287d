"""Runs git: time-limited processes without a shell, a terminal or this process's environment.

``GitRunner`` runs git in a directory (``-C``), in a process group that ends with it. ``RepositoryGit`` is GitPython's
``Git`` for one repository, on top of ``GitRunner``: GitPython itself passes on the whole environment, and waits for
ever when a hook leaves a child that holds git's output open. GitPython's ``Repo`` is not used: it reads refs and
configuration in this process, so a pipe in the configuration blocks it for ever, this process's ``GIT_COMMON_DIR``
misleads it, and it knows neither SHA-256 nor reftables.

Standard output goes to a file in memory, which needs no reader. Standard error goes to a pipe: hooks write there too
and may reopen it, which would truncate a file, or leave a child that holds it open for ever.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from git.cmd import Git, safer_popen

from actors.errors import WorkspaceError

_LOOK_S = 0.05
"""Poll interval for what the kernel does not report."""
_PIPE_BYTES = 1 << 16
"""A pipe's capacity."""
_MOST_ERROR_BYTES = 1 << 20
"""What is kept of complaints: the end."""
READ_TIMEOUT_S = 30.0
_TERM_GRACE_S = 3.0
_PASSED_ON = ("HOME", "LANG", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "TMPDIR", "TZ", "USER", "XDG_CONFIG_HOME")
"""What git and the user's hooks get of the team's environment: no ``GIT_*``, no keys, no tokens."""
_FIXED = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_CONFIG = (
    # A monitor would be a daemon per worktree, and may report a changed file as clean.
    *("-c", "core.fsmonitor=false"),
    *("-c", "status.showUntrackedFiles=all"),
    *("-c", "i18n.commitEncoding=UTF-8"),
    *("-c", "i18n.logOutputEncoding=UTF-8"),
    *("-c", "core.filesRefLockTimeout=5000"),
    *("-c", "core.packedRefsTimeout=5000"),
    *("-c", "reftable.lockTimeout=5000"),
)
_HALF_MADE = (
    ("failed to read", "commondir"),
    ("Invalid path", "/worktrees/"),
    # git's maintenance removes empty object directories, even when a file is just being created there.
    ("unable to create temporary file", "No such file or directory"),
)
_MOST_WORDS = (400, 200)
"""Characters from the beginning and the end of git's complaint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOutput:
    """The result of a git process. ``output`` is decoded like a path, so invalid UTF-8 survives."""

    status: int
    output: str
    error: str
    is_cut: bool = False
    """git's output exceeded the limit, so git was ended."""

    @property
    def ok(self) -> bool:
        return self.status == 0 or self.is_cut

    @property
    def met_half_made(self) -> bool:
        """Another git was just making or removing something that this one read: many commands read all worktrees and
        fail when one is incomplete."""
        return not self.ok and any(all(word in self.error for word in words) for words in _HALF_MADE)

    @property
    def last_words(self) -> str:
        """git's complaint on one printable line; only both ends of a long one: git begins with the problem and the
        remedy and ends with why it gave up."""
        lines = [line.strip() for line in (self.error or self.output).splitlines() if line.strip()]
        words = "".join(c if c.isprintable() else " " for c in "; ".join(lines))
        if len(words) > sum(_MOST_WORDS):
            words = f"{words[: _MOST_WORDS[0]]} … {words[-_MOST_WORDS[1] :]}"
        return words or f"exit status {self.status}"


class GitRunner:
    """Starts git processes. Keeps none between calls and may be used from several threads."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        passed_on = {name: environment[name] for name in _PASSED_ON if name in environment}
        self._environment = {**passed_on, **_FIXED}
        self._program: str | None = None

    def run(
        self,
        directory: Path,
        *arguments: str,
        timeout_s: float = READ_TIMEOUT_S,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> GitOutput:
        """Runs ``git -C directory arguments…``, again after ``met_half_made``; ``timeout_s`` is for each run.

        Raises ``WorkspaceError`` when git is missing or too slow; then its process group is ended.
        """
        pauses = pauses_s()
        while True:
            answer = self.run_once(
                directory,
                *arguments,
                timeout_s=timeout_s,
                stdin=stdin,
                environment=environment,
                most_bytes=most_bytes,
            )
            pause_s = next(pauses, None) if answer.met_half_made else None
            if pause_s is None:
                return answer
            time.sleep(pause_s)

    def repository(self, git_directory: Path) -> RepositoryGit:
        """The git commands of the repository with this common git directory. Reads nothing yet."""
        return RepositoryGit(self, git_directory)

    def run_once(
        self,
        directory: Path,
        *arguments: str,
        timeout_s: float = READ_TIMEOUT_S,
        stdin: bytes = b"",
        inherit: tuple[int, ...] = (),
        environment: Mapping[str, str] | None = None,
        most_bytes: int | None = None,
    ) -> GitOutput:
        """``run`` for what must not be repeated. git inherits the descriptors ``inherit`` and gets ``environment`` in
        addition to its usual variables. It is ended once its output exceeds ``most_bytes``."""
        command = ["git", "-C", str(directory), *_CONFIG, *arguments]
        environment = {**self._environment, **(environment or {})}
        try:
            with ProcessOutput() as collector, _input_file(stdin) as given:
                process = self._start(command, environment, given, collector, inherit)
                return finish(process, collector, timeout_s, most_bytes)
        except subprocess.TimeoutExpired as late:
            raise WorkspaceError(
                f"git {_verb(arguments)} in {directory} was not done after {timeout_s:g} s and was ended. "
                "A very large checkout, a hook that hangs or a file system that does not answer may be the cause: "
                "run the same by hand to see, then try again."
            ) from late
        except FileNotFoundError as error:
            raise WorkspaceError("git was not found on PATH. Install git 2.33 or newer, then try again.") from error
        except OSError as error:
            raise WorkspaceError(f"git could not be started: {error}. Try again when the host has room.") from error

    def _start(
        self,
        command: list[str],
        environment: Mapping[str, str],
        stdin: int,
        collector: ProcessOutput,
        inherit: tuple[int, ...],
    ) -> subprocess.Popen[bytes]:
        """Looks up git on PATH once, and again after a failed start. Raises ``OSError``."""
        program, self._program = self._program or shutil.which("git", path=environment.get("PATH")), None
        process = safer_popen(
            command,
            executable=program,
            env=environment,
            stdin=stdin,
            stdout=collector.output,
            stderr=collector.errors,
            start_new_session=True,
            pass_fds=inherit,
        )
        self._program = program
        collector.hand_over()
        return process


class GitFailedError(WorkspaceError):
    """git ran in a repository and failed. ``answer`` is its output."""

    answer: GitOutput


class RepositoryGit(Git):
    """The git commands of one repository: ``update_ref("--stdin", istream=steps)`` runs ``git update-ref --stdin``.

    A command returns the output without the last newline. It raises ``GitFailedError`` when git fails, otherwise as
    ``GitRunner.run``. It accepts GitPython's options ``istream`` (bytes) and ``kill_after_timeout`` (seconds).
    """

    def __init__(self, runner: GitRunner, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory
        self._runner = runner

    def execute(  # type: ignore[override]
        self, command: Sequence[str], istream: bytes = b"", kill_after_timeout: float = READ_TIMEOUT_S
    ) -> str:
        words = command[1:]
        answer = self._runner.run(
            self.directory, f"--git-dir={self.directory}", *words, stdin=istream, timeout_s=kill_after_timeout
        )
        if not answer.ok:
            verb = _verb(tuple(words))
            error = GitFailedError(
                f"git {verb} failed in {self.directory}: {answer.last_words}. Set this right, then try again."
            )
            error.answer = answer
            raise error
        return answer.output.removesuffix("\n")


def pauses_s() -> Iterator[float]:
    """Pauses before each retry when another git is in the way: 3 s in all, jittered."""
    for number in range(6):
        yield 0.05 * 2**number * random.uniform(0.5, 1.5)  # noqa: S311  # spreads the retries


@contextmanager
def _input_file(stdin: bytes) -> Iterator[int]:
    """A descriptor for a process to read ``stdin`` from."""
    if not stdin:
        yield subprocess.DEVNULL
        return
    file = os.memfd_create("git-input")
    try:
        os.write(file, stdin)
        os.lseek(file, 0, os.SEEK_SET)
        yield file
    finally:
        os.close(file)


def finish(
    process: subprocess.Popen[bytes], collector: ProcessOutput, timeout_s: float, most_bytes: int | None
) -> GitOutput:
    """Waits for the process, the first of its group, and ends it in any case. Raises ``subprocess.TimeoutExpired``."""
    try:
        collector.wait(process, timeout_s, most_bytes)
        output, error, is_cut = collector.collected(most_bytes)
    except BaseException:
        _end(process)
        raise
    if is_cut and process.poll() is None:
        _end(process)
    status = process.wait()
    return GitOutput(status=status, output=os.fsdecode(output), error=error.decode(errors="replace"), is_cut=is_cut)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process group; SIGTERM first, because then git removes its locks and incomplete files."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TERM_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_TERM_GRACE_S)


def _verb(arguments: tuple[str, ...]) -> str:
    """The git command after git's own options and their values."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-c":
            next(rest)
        elif not argument.startswith("-"):
            return argument
    raise ValueError("the arguments contain no git command")


class ProcessOutput:
    """Collects a process's output. ``output`` and ``errors`` are its descriptors to write to."""

    def __init__(self) -> None:
        """Raises ``OSError`` when no more files can be opened; then none stays open."""
        self.output = os.memfd_create("git-output")
        try:
            self._reader, self.errors = os.pipe()
        except OSError:
            os.close(self.output)
            raise
        self._error = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_over()
        os.close(self._reader)
        os.close(self.output)

    def hand_over(self) -> None:
        """Call it once the process has started: then only it and its children hold ``errors``."""
        if self.errors >= 0:
            os.close(self.errors)
            self.errors = -1

    def wait(self, process: subprocess.Popen[bytes], timeout_s: float, most_bytes: int | None) -> None:
        """Until the process ends, even if a child of it goes on, or has written more than ``most_bytes``.

        Raises ``subprocess.TimeoutExpired``.
        """
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        with _end_of(process) as end:
            if end is not None:
                poll.register(end, select.POLLIN)
            looks = end is None or most_bytes is not None
            while (left_s := deadline_s - time.monotonic()) > 0:
                ready = {found for found, _ in poll.poll(1000 * (min(left_s, _LOOK_S) if looks else left_s))}
                if self._reader in ready and not self._read_errors():
                    poll.unregister(self._reader)
                if end in ready or self._is_too_much(most_bytes) or (end is None and process.poll() is not None):
                    return
        raise subprocess.TimeoutExpired(process.args, timeout_s)

    def collected(self, most_bytes: int | None) -> tuple[bytes, bytes, bool]:
        """Output, complaints, and whether there may be more output."""
        os.set_blocking(self._reader, False)
        with suppress(BlockingIOError):
            self._read_errors()
        is_cut = self._is_too_much(most_bytes)
        size = most_bytes if is_cut and most_bytes is not None else self._size()
        return os.pread(self.output, size, 0), bytes(self._error), is_cut

    def _read_errors(self) -> bool:
        """False at the end of the pipe."""
        chunk = os.read(self._reader, _PIPE_BYTES)
        self._error += chunk
        del self._error[:-_MOST_ERROR_BYTES]
        return bool(chunk)

    def _is_too_much(self, most_bytes: int | None) -> bool:
        return most_bytes is not None and self._size() > most_bytes

    def _size(self) -> int:
        return os.fstat(self.output).st_size


@contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A descriptor that becomes ready when the process ends; None where that is forbidden, as in some containers."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
