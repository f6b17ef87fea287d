"""One supervisor per state file: a lock beside it that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from actors.errors import StateHeldError


class StateLock:
    """``path`` is never removed: two processes could then hold locks on two files of the same name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Raises ``StateHeldError`` at once when a living process holds it, ``OSError`` when it cannot be made."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StateHeldError(
                f"Another supervisor (process {holder}) has this team's state: it holds {self._path}. Use that one, "
                "or end it first (phalanx down); for a second team set PHALANX_HOME to another directory."
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._sign(descriptor)

    def release(self) -> None:
        """No-op when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _sign(self, descriptor: int) -> None:
        """The process id is only there to be read by people; on a full disk it is left out."""
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            return
