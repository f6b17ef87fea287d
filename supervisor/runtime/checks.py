"""What must be there before anything is started, and the lock that makes one bring-up or bring-down at a time."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from actors.errors import SettingsError, UnavailableError
from supervisor.runtime.values import OnStep

OLDEST_TMUX = (3, 2)
LOCK_PATIENCE_S = 240.0
_ASK_TIMEOUT_S = 10.0
_POLL_S = 0.05


def check_programs(environment: Mapping[str, str]) -> None:
    """Raises ``SettingsError`` when tmux or git is missing or too old."""
    said = _first_line("tmux", "-V", environment)
    number = re.search(r"(\d+)\.(\d+)", said)
    if number and (int(number[1]), int(number[2])) < OLDEST_TMUX:
        raise SettingsError(f"tmux is too old: {said}; 3.2 or newer is needed. Install a newer one.")
    _first_line("git", "--version", environment)


def _first_line(program: str, option: str, environment: Mapping[str, str]) -> str:
    path = shutil.which(program, path=environment.get("PATH", os.defpath))
    if path is None:
        raise SettingsError(
            f"{program} is missing: it is not on PATH. Install it with your system's package manager, for example "
            f"apt-get install {program}."
        )
    try:
        asked = subprocess.run(
            [path, option],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SettingsError(f"{path} does not run: {error}. Install it anew.") from error
    if asked.returncode:
        raise SettingsError(f"{path} {option} fails: {asked.stderr.decode(errors='replace').strip()[:300]}")
    return asked.stdout.decode(errors="replace").strip()


@contextmanager
def only_one(lock_file: Path, on_step: OnStep, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Holds the lock of the home. The file stays for ever: who removed it would let two in.

    Raises ``UnavailableError`` when another process keeps it for longer than ``patience_s``.
    """
    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(f"{lock_file} cannot be written: {error.strerror}. Set PHALANX_HOME elsewhere.") from error
    try:
        _take(descriptor, lock_file, on_step, patience_s)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, lock_file: Path, on_step: OnStep, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"Another phalanx up or down has been at work on {lock_file.parent} for {patience_s:.0f} s. "
                "Wait for it or end it, then try again."
            )
        if not told:
            on_step("waiting for another phalanx up or down")
            told = True
        time.sleep(_POLL_S)
