"""Puts the index of a working tree back when a commit for which it was changed is refused."""

from __future__ import annotations

import os
import tempfile

from actors.errors import WorkspaceError
from actors.git.running import Hand

_RESOLVED = b"REUC"
"""The name of the part of an index in which git notes conflicts that were resolved."""


class IndexCopy:
    """The index as it is now. It is put back as git writes it: under its lock, and whole or not at all."""

    def __init__(self, hand: Hand) -> None:
        self._hand = hand
        self._index = hand.place.git_directory / "index"
        self._before = self._read()
        self._staged = self._before

    def staged(self) -> None:
        """The index is now as we have changed it."""
        self._staged = self._read()

    def had_conflicts(self) -> bool:
        """Whether what was staged were files in conflict. git notes in the index what it took for resolved, so that it
        need be asked only when there is such a note."""
        return _RESOLVED in (self._staged or b"") and bool(self._listing_of(self._before, "--unmerged"))

    def is_as_staged(self) -> bool:
        """By what it lists: git has written the times of the files anew before it asked the hooks."""
        return self._listing_of(self._staged, "--stage") == self._listing_of(self._read(), "--stage")

    def put_back(self) -> None:
        """No-op when there is nothing to put back, or when somebody else is changing the index or has done so.

        Raises ``WorkspaceError`` when it cannot be written.
        """
        if self._staged == self._before:
            return
        lock = self._index.with_name("index.lock")
        try:
            descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return
        is_ours = True
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._before or b"")
            if not self.is_as_staged():
                return
            if self._before is None:
                self._index.unlink(missing_ok=True)
            else:
                lock.replace(self._index)
                is_ours = False  # from here on it may be another git's
        except OSError as error:
            raise WorkspaceError(f"What was staged for the refused commit stays staged: {error.strerror}.") from error
        finally:
            if is_ours:
                lock.unlink()

    def _listing_of(self, content: bytes | None, which: str) -> str:
        with tempfile.NamedTemporaryFile(dir=self._hand.place.git_directory, prefix="phalanx-index-") as copy:
            copy.write(content or b"")
            copy.flush()
            answer = self._hand.git.run(
                *(self._hand.top, "ls-files", which, "-z"), environment={"GIT_INDEX_FILE": copy.name}
            )
        return self._hand.output_of(answer)

    def _read(self) -> bytes | None:
        try:
            return self._index.read_bytes()
        except FileNotFoundError:
            return None
