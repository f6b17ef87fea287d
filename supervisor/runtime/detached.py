"""Starting a process that outlives its starter: session of its own, no input, private files, no signal blocked."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.errors import SettingsError
from actors.processes import no_signal_blocked


def start_detached(
    command: Sequence[str], environment: Mapping[str, str], log: Path, inherited: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Starts ``command`` in ``/`` with exactly this environment; both outputs go to ``log``, which begins anew. What it
    and its children write is private to the user.

    ``inherited``: descriptors to hand down. The process is collected when it ends, by a thread. Raises
    ``SettingsError`` when the log cannot be written.
    """
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise SettingsError(f"{log} cannot be written: {error.strerror}. Set PHALANX_HOME elsewhere.") from error
    try:
        with no_signal_blocked():
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=inherited,
                umask=0o077,
            )
    finally:
        os.close(output)
    threading.Thread(target=process.wait, name=f"end of {process.pid}", daemon=True).start()
    return process


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for an error's text; empty when there is none."""
    try:
        lines = log.read_bytes()[-8000:].decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-count:])
