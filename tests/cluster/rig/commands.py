"""Running the system's own tools for the rig: bounded, with their words when they fail."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping
from pathlib import Path

_TIMEOUT_S = 20.0


class RigError(Exception):
    """The rig could not be made, or a host of it did not do as asked."""


def run(
    *command: str,
    timeout_s: float = _TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    """What the command printed. Raises ``RigError``."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            env=environment,
            cwd=directory,
            text=True,
            errors="replace",
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise RigError(f"{' '.join(command)} failed ({done.returncode}): {done.stdout[-4000:]}")
    return done.stdout


def login_home() -> Path:
    """Where a user's home is on a host of the rig: the one that sshd gives, whatever ``HOME`` says here."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)
