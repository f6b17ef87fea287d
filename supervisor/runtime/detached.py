"""Starting a process that outlives its starter: session of its own, no input, private log, no signal blocked."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from actors.errors import SettingsError


def start_detached(
    command: Sequence[str], environment: Mapping[str, str], log: Path, inherited: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Starts ``command`` in ``/`` with exactly this environment; both outputs go to ``log``, which begins anew.

    ``inherited``: descriptors to hand down. The process is collected when it ends, by a thread. Raises
    ``SettingsError`` when the log cannot be written.
    """
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise SettingsError(f"{log} cannot be written: {error.strerror}. Set PHALANX_HOME elsewhere.") from error
    try:
        with _no_signal_blocked():
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=inherited,
            )
    finally:
        os.close(output)
    threading.Thread(target=process.wait, name=f"end of {process.pid}", daemon=True).start()
    return process


@contextmanager
def _no_signal_blocked() -> Iterator[None]:
    """What is started inside inherits an empty signal mask. Only this thread's mask changes."""
    before = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
