"""Runs git: bounded processes, without a shell, a terminal or the environment of this process.

``GitRunner`` runs git in a directory: by ``-C``, with an environment made for it, in a process group that ends with it.
``RepositoryGit`` is GitPython's ``Git`` for a repository, whose commands a ``GitRunner`` runs. GitPython's own way of
running them hands on the whole environment of this process, and waits for ever when a hook leaves a child behind that
holds git's output open. GitPython's ``Repo`` is not used: it reads refs and configuration in this process, so a pipe in
the configuration stops it for ever, ``GIT_COMMON_DIR`` of this process misleads it, and it knows no hashes of 64 digits
and no tables of refs.

Output goes into a file in memory, so that nobody need be woken for it. Complaints go through a pipe: hooks write there
too, may leave a child behind that holds it open for ever, and may open it anew, which would empty a file.
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
from functools import partial
from pathlib import Path
from typing import Self

from git.cmd import Git, safer_popen

from actors.errors import WorkspaceError

_LOOK_S = 0.05
"""Between two looks at what nothing tells of by itself."""
_PIPE_BYTES = 1 << 16
"""All that one can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialOutput:
    output: bytes
    error: bytes
    is_cut: bool
    """There may be more of ``output``, and the process may still run."""


class ProcessOutput:
    """What one process says. ``output`` and ``errors`` are for it to write to."""

    def __init__(self) -> None:
        """Raises ``OSError`` when no more files can be open, with none left open."""
        self.output = os.memfd_create("git-output")
        try:
            self._heard, self.errors = os.pipe()
        except OSError:
            os.close(self.output)
            raise
        self._error = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hand_over()
        os.close(self._heard)
        os.close(self.output)

    def hand_over(self) -> None:
        """The process has started: only it and its children hold ``errors`` from now on."""
        if self.errors >= 0:
            os.close(self.errors)
            self.errors = -1

    def until_end(self, process: subprocess.Popen[bytes], timeout_s: float, most_bytes: int | None) -> PartialOutput:
        """All that it has said until it has ended, even if a child that it left behind goes on.

        Raises ``subprocess.TimeoutExpired``.
        """
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._heard, select.POLLIN)
        with _end_of(process) as end:
            if end is not None:
                poll.register(end, select.POLLIN)
            looks = end is None or most_bytes is not None
            while (left_s := deadline_s - time.monotonic()) > 0:
                ready = {found for found, _ in poll.poll(1000 * (min(left_s, _LOOK_S) if looks else left_s))}
                if self._heard in ready and not self._hear():
                    poll.unregister(self._heard)
                if end in ready or self._is_too_much(most_bytes) or (end is None and process.poll() is not None):
                    return self._told(most_bytes)
        raise subprocess.TimeoutExpired(process.args, timeout_s)

    def _told(self, most_bytes: int | None) -> PartialOutput:
        os.set_blocking(self._heard, False)
        with suppress(BlockingIOError):
            self._hear()
        is_cut = self._is_too_much(most_bytes)
        size = most_bytes if is_cut and most_bytes is not None else self._size()
        return PartialOutput(output=os.pread(self.output, size, 0), error=bytes(self._error), is_cut=is_cut)

    def _hear(self) -> bool:
        """False once nobody can say anything any more."""
        chunk = os.read(self._heard, _PIPE_BYTES)
        self._error += chunk
        return bool(chunk)

    def _is_too_much(self, most_bytes: int | None) -> bool:
        return most_bytes is not None and self._size() > most_bytes

    def _size(self) -> int:
        return os.fstat(self.output).st_size


@contextmanager
def _end_of(process: subprocess.Popen[bytes]) -> Iterator[int | None]:
    """A descriptor that is ready once it has ended; None where that is forbidden, as in some containers."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


READ_TIMEOUT_S = 30.0
_GENTLE_END_S = 3.0
_PASSED_ON = ("HOME", "LANG", "LOGNAME", "PATH", "SSH_AUTH_SOCK", "TMPDIR", "TZ", "USER", "XDG_CONFIG_HOME")
"""All that git and the user's hooks see of the team's environment: no ``GIT_*``, no keys, no tokens."""
_FIXED = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_CONFIG = (
    # A monitor would be one more daemon per worktree, and may call a changed file clean.
    *("-c", "core.fsmonitor=false"),
    *("-c", "status.showUntrackedFiles=all"),
    # Messages go in and come out as UTF-8.
    *("-c", "i18n.commitEncoding=UTF-8"),
    *("-c", "i18n.logOutputEncoding=UTF-8"),
    *("-c", "core.filesRefLockTimeout=5000"),
    *("-c", "core.packedRefsTimeout=5000"),
    *("-c", "reftable.lockTimeout=5000"),
)
_HALF_MADE = (
    ("failed to read", "commondir"),
    ("Invalid path", "/worktrees/"),
    # An upkeep takes empty directories of objects away, also one in which a file is just being made.
    ("unable to create temporary file", "No such file or directory"),
)

_MOST_WORDS = (400, 200)
"""Characters of the beginning and of the end of what git says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitOutput:
    """What a git process said. ``output`` is decoded like a path, so bytes that are no UTF-8 survive."""

    status: int
    output: str
    error: str
    is_cut: bool = False
    """git had more to say than was wanted, and was ended."""

    @property
    def ok(self) -> bool:
        return self.status == 0 or self.is_cut

    @property
    def met_half_made(self) -> bool:
        """Another git was making or removing what this one needed at that moment, such as a worktree: many a command
        reads all of them, and gives up when one is half made or half gone."""
        return not self.ok and any(all(word in self.error for word in words) for words in _HALF_MADE)

    @property
    def last_words(self) -> str:
        """What git complained about, on one line that is safe to print. Of a long complaint both ends: git begins with
        what is wrong and what to do, and ends with why it gave up."""
        lines = [line.strip() for line in (self.error or self.output).splitlines() if line.strip()]
        words = "".join(c if c.isprintable() else " " for c in "; ".join(lines))
        if len(words) > sum(_MOST_WORDS):
            words = f"{words[: _MOST_WORDS[0]]} … {words[-_MOST_WORDS[1] :]}"
        return words or f"exit status {self.status}"


class GitRunner:
    """Starts git processes. Holds no process between calls and may be used from several threads."""

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
        """Runs ``git -C directory arguments…`` to its end, again if another git was just making or removing something.
        ``timeout_s`` is for each time.

        Raises ``WorkspaceError`` when git is missing or is not done in time; then all its processes are ended.
        """
        run_once = partial(
            self.run_once, timeout_s=timeout_s, stdin=stdin, environment=environment, most_bytes=most_bytes
        )
        answer = run_once(directory, *arguments)
        for pause_s in pauses_s():
            if not answer.met_half_made:
                break
            time.sleep(pause_s)
            answer = run_once(directory, *arguments)
        return answer

    def repository(self, git_directory: Path) -> RepositoryGit:
        """The repository with this common git directory, whichever worktrees it has left. Nothing is looked at."""
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
        """For what may not simply be repeated. git keeps the descriptors ``inherit`` open and gets ``environment``
        beside the variables that it always has. It is ended once it has told ``most_bytes``."""
        command = ["git", "-C", str(directory), *_CONFIG, *arguments]
        try:
            with ProcessOutput() as gathering, _given(stdin) as given:
                environment = {**self._environment, **(environment or {})}
                process = self._start(command, environment, given, gathering, inherit)
                told = _told(process, gathering, timeout_s, most_bytes)
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
        return GitOutput(
            status=process.returncode,
            output=os.fsdecode(told.output),
            error=told.error.decode(errors="replace"),
            is_cut=told.is_cut,
        )

    def _start(
        self,
        command: list[str],
        environment: Mapping[str, str],
        stdin: int,
        gathering: ProcessOutput,
        inherit: tuple[int, ...],
    ) -> subprocess.Popen[bytes]:
        """git is looked for on PATH once, and again when it is not there any more. Raises ``OSError``."""
        program, self._program = self._program or shutil.which("git", path=environment.get("PATH")), None
        process = safer_popen(
            command,
            executable=program,
            env=environment,
            stdin=stdin,
            stdout=gathering.output,
            stderr=gathering.errors,
            start_new_session=True,
            pass_fds=inherit,
        )
        self._program = program
        gathering.hand_over()
        return process


class GitFailedError(WorkspaceError):
    """git was run in a repository and refused."""

    answer: GitOutput


class RepositoryGit(Git):
    """The git commands of one repository: ``update_ref("--stdin", istream=steps)`` runs ``git update-ref --stdin``.

    A command gives what git printed, without the last newline. It raises ``GitFailedError`` when git refuses, otherwise
    as ``GitRunner.run``. Of GitPython's options there are ``istream`` (bytes) and ``kill_after_timeout`` (seconds).
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


@contextmanager
def _given(stdin: bytes) -> Iterator[int]:
    """What a process reads it from."""
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


def _told(
    process: subprocess.Popen[bytes], gathering: ProcessOutput, timeout_s: float, most_bytes: int | None
) -> PartialOutput:
    """Raises ``subprocess.TimeoutExpired``. Either way the process has ended."""
    try:
        told = gathering.until_end(process, timeout_s, most_bytes)
    except BaseException:
        _end(process)
        raise
    if told.is_cut and process.poll() is None:
        _end(process)
    process.wait()
    return told


def pauses_s() -> Iterator[float]:
    """How long to wait before each further try when another git process is in the way: 3 s in all, jittered."""
    for number in range(6):
        yield 0.05 * 2**number * random.uniform(0.5, 1.5)  # noqa: S311  # spreads those who wait


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process group: gently first, because then git takes its locks and half-made files away."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GENTLE_END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_GENTLE_END_S)


def _verb(arguments: tuple[str, ...]) -> str:
    """The command of git's, behind options of git itself and their values."""
    rest = iter(arguments)
    for argument in rest:
        if argument == "-c":
            next(rest)
        elif not argument.startswith("-"):
            return argument
    raise ValueError("no command of git's")
