"""Prepares a new worktree before its agent starts: files that git does not bring along, and a command of the user's.

``Host`` calls it. Paths are relative and stay below their directory: whatever the repository holds, no link leads a
copy out of it. The command runs in a session of its own, which ends with it, without terminal and input, and not longer
than ``SETUP_LIMIT_S``; what it has said last is in the error. All functions block and raise ``WorkspaceError``.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from actors.errors import WorkspaceError
from actors.files import replace_file
from actors.processes import no_signal_blocked
from actors.worktrees.limits import SETUP_LIMIT_S
from actors.worktrees.model import CopiedFile, registration_of

_MOST_BYTES = 20_000_000
"""Of all files together: they pass through the supervisor's calls when the worktree is on another host."""
_COPIED = "phalanx-copied"
"""In git's registration of the worktree, which goes with it: what was copied, as JSON."""
_TAIL_BYTES = 4_000
_LOOK_S = 0.2
"""How soon the end of a command is noticed whose child keeps its output open."""
_GRACE_S = 2.0


def read_files(directory: Path, paths: Sequence[str]) -> tuple[CopiedFile, ...]:
    """The files below ``directory``."""
    left, files = _MOST_BYTES, []
    for path in paths:
        file = _read(directory, path, left)
        left -= len(file.content)
        files.append(file)
    return tuple(files)


def _read(directory: Path, path: str, most_bytes: int) -> CopiedFile:
    try:
        real = _below(directory, path)
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise WorkspaceError(f"{path} in {directory} is no file: only files are copied, each by its name.")
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be copied from {directory}: {error.strerror}.") from error
    if len(content) > most_bytes:
        raise WorkspaceError(
            f"The files to copy have more than {_MOST_BYTES // 1_000_000} MB together: let the setup command fetch "
            "what is large."
        )
    return CopiedFile(path=path, mode=stat.S_IMODE(status.st_mode) & 0o777, content=content)


def write_files(directory: Path, files: Sequence[CopiedFile]) -> None:
    """Writes each file below ``directory``, in place of what is there."""
    for file in files:
        try:
            parent = _below(directory, os.path.dirname(file.path) or ".")  # noqa: PTH120 - a text, as it was given
            parent.mkdir(parents=True, exist_ok=True)
            replace_file(parent / Path(file.path).name, file.content, mode=file.mode)
        except OSError as error:
            raise WorkspaceError(f"{file.path} cannot be copied into {directory}: {error.strerror}.") from error


def note_copies(worktree: Path, directory: Path, files: Sequence[CopiedFile]) -> None:
    """Notes what is copied to below ``directory`` of the worktree, before it is.

    As long as such a file is unchanged it is no work, which would have to be saved before the worktree goes: it may
    hold a secret, and is where it was copied from.
    """
    registration = registration_of(worktree)
    if registration is None:
        raise WorkspaceError(f"{worktree} is no worktree (its .git cannot be read).")
    prefix = directory.relative_to(worktree)
    copies = {str(prefix / file.path): hashlib.sha256(file.content).hexdigest() for file in files}
    try:
        replace_file(registration / _COPIED, json.dumps(copies))
    except OSError as error:
        raise WorkspaceError(f"{registration / _COPIED} cannot be written: {error.strerror}.") from error


class UnchangedCopies:
    """Those files of a worktree that are as they were copied."""

    def __init__(self, worktree: Path, registration: Path) -> None:
        self._worktree = worktree
        self._hashes: Mapping[str, str] = {}
        with suppress(OSError, ValueError):
            noted = json.loads((registration / _COPIED).read_text())
            self._hashes = noted if isinstance(noted, dict) else {}

    def __contains__(self, path: str) -> bool:
        noted = self._hashes.get(path)
        if noted is None:
            return False
        file = self._worktree / path
        try:
            if not stat.S_ISREG(file.lstat().st_mode) or file.stat().st_size > _MOST_BYTES:
                return False
            return hashlib.sha256(file.read_bytes()).hexdigest() == noted
        except OSError:
            return False


def _below(directory: Path, path: str) -> Path:
    """Where the path really leads. Raises ``WorkspaceError`` when that is out of the directory."""
    root = directory.resolve()
    try:
        real = (root / path).resolve()
    except RuntimeError as error:  # a loop of links
        raise WorkspaceError(f"{path} in {directory} leads nowhere: {error}") from error
    if not real.is_relative_to(root):
        raise WorkspaceError(f"{path} leads out of {directory}, to {real}: give a file that lies in it.")
    return real


def run_setup(directory: Path, command: str, environment: Mapping[str, str], limit_s: float = SETUP_LIMIT_S) -> None:
    """Runs the command by ``sh`` in the directory, with just this environment."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0):
        try:
            with no_signal_blocked():
                process = subprocess.Popen(
                    ["/bin/sh", "-c", command],
                    cwd=directory,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=writer,
                    stderr=writer,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            raise WorkspaceError(f"The setup command could not be started in {directory}: {error}") from error
        finally:
            os.close(writer)
        try:
            said, is_over = _follow(process, reader, time.monotonic() + limit_s)
        finally:
            _end(process)
    if not is_over:
        raise WorkspaceError(_failure(f"did not end within {limit_s:.0f} s and was ended", command, said))
    if process.returncode != 0:
        code = process.returncode
        how = f"ended with exit status {code}" if code > 0 else f"was ended by signal {-code}"
        raise WorkspaceError(_failure(how, command, said))


def _follow(process: subprocess.Popen[bytes], reader: int, deadline: float) -> tuple[bytes, bool]:
    """The last of what it says, and whether it has ended by itself in time."""
    said, is_open = b"", True
    while (left_s := deadline - time.monotonic()) > 0:
        if not is_open:
            with suppress(subprocess.TimeoutExpired):
                process.wait(left_s)
            break
        ended = process.poll() is not None
        if select.select([reader], [], [], 0 if ended else min(_LOOK_S, left_s))[0]:
            piece = os.read(reader, 65_536)
            said, is_open = (said + piece)[-_TAIL_BYTES:], bool(piece)
        elif ended:
            break
    return said, process.poll() is not None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of its session's first group, the command itself or children that it left behind."""
    for wanted in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, wanted)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def _failure(how: str, command: str, said: bytes) -> str:
    last = said.decode(errors="replace").strip()
    words = f"The setup command {how}, so the worktree was undone: {command[:200]}"
    return f"{words}\nIt said last:\n{last}" if last else f"{words}\nIt said nothing."
