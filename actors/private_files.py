"""Files that only their user may read, written whole or not at all.

The home, the runtime and the host write through here; every other file below the home is made by the module that owns
it, with the same modes.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from actors.errors import SettingsError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, 0600. Raises ``SettingsError``; then ``path`` is as it was before."""
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # a file that was renamed before its content is on disk may be empty after a crash
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise SettingsError(f"{path} cannot be written: {in_words(error)}") from error


def append_private(path: Path, data: bytes) -> None:
    """Appends to the file, which is made 0600 when there is none. Raises ``OSError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(data)


def in_words(error: OSError) -> str:
    """Why it cannot be written and what to do about it."""
    if error.errno in _FULL:
        return f"{error.strerror}. Free disk space, then try again; what was there before is unharmed."
    return f"{error.strerror}. Make it writable, or set PHALANX_HOME elsewhere."
