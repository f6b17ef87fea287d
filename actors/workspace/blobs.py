"""What git calls the content of a file: computed from the file, without git."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from actors.workspace.site import KeptError

_CHUNK_BYTES = 1 << 20
_SHA1_DIGITS = 40


def kind_of(name: str) -> str:
    """The kind of hash that the repository uses which calls something so."""
    return "sha1" if len(name) == _SHA1_DIGITS else "sha256"


def blob_of(path: Path, git_mode: str, kind: str) -> str:
    """The hash of a file or symbolic link as it is. Raises ``KeptError`` when it cannot be read."""
    if git_mode == "120000":
        target = read_link(path)
        return hashlib.new(kind, b"blob %d\0" % len(target) + target, usedforsecurity=False).hexdigest()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            state = os.fstat(file.fileno())
            digest = hashlib.new(kind, b"blob %d\0" % state.st_size, usedforsecurity=False)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise KeptError(f"a file in it cannot be read ({str(path)!a}: {error.strerror})") from error
    return digest.hexdigest()


def read_link(path: Path) -> bytes:
    """Raises ``KeptError``."""
    try:
        return os.fsencode(os.readlink(path))  # noqa: PTH115  # Path would tidy the target
    except OSError as error:
        raise KeptError(f"a link in it cannot be read ({str(path)!a}: {error.strerror})") from error
