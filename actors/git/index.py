"""Puts the index of a working tree back when a commit for which it was changed is refused."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from actors.errors import WorkspaceError
from actors.git.running import Hand


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
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._before or b"")
            if not self._is_as_staged():
                return
            if self._before is None:
                self._index.unlink(missing_ok=True)
            else:
                lock.replace(self._index)
        except OSError as error:
            raise WorkspaceError(f"What was staged for the refused commit stays staged: {error.strerror}.") from error
        finally:
            with suppress(FileNotFoundError):
                lock.unlink()

    def _is_as_staged(self) -> bool:
        """By what it lists: git has written the times of the files anew before it asked the hooks."""
        with tempfile.NamedTemporaryFile(dir=self._hand.place.git_directory, prefix="phalanx-index-") as copy:
            copy.write(self._staged or b"")
            copy.flush()
            return self._listing(Path(copy.name)) == self._listing(self._index)

    def _listing(self, index: Path) -> str:
        answer = self._hand.git.run(
            self._hand.top, "ls-files", "--stage", "-z", environment={"GIT_INDEX_FILE": str(index)}
        )
        return self._hand.output_of(answer)

    def _read(self) -> bytes | None:
        try:
            return self._index.read_bytes()
        except FileNotFoundError:
            return None
