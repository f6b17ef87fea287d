"""The conversations of instances on other hosts, as they came home last: copies in the team's home. Functions block,
and raise ``WorkspaceError`` when the disk does not let them.

A copy goes on growing from where it ends, so its last line may be half-written until the next time.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from actors.errors import WorkspaceError
from actors.instance.inbox import ids_in_record
from actors.instance.transcript import Tail

_PIECE_BYTES = 1 << 16


class Conversations:
    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, place: str, transcript_path: str) -> Path:
        """One for each conversation: an instance may begin another one."""
        return self._root / place / Path(transcript_path).name

    def shown(self, place: str, transcript_path: str, ids: Collection[str]) -> set[str]:
        """Which of these messages stand in the copy; none while it is not known where the conversation is written."""
        if not transcript_path:
            return set()
        path = self.path(place, transcript_path)
        found: set[str] = set()
        with _in_words(path):
            for lines in Tail(path).pieces():
                found.update(*map(ids_in_record, lines))
        return found & set(ids)

    def end_whole(self, place: str, transcript_path: str) -> None:
        """Takes away a last line that is half-written: whoever goes on by the copy would write on in it."""
        path = self.path(place, transcript_path)
        with _in_words(path), suppress(FileNotFoundError), path.open("r+b") as file:
            file.truncate(_end_of_lines(file))

    def forget(self, place: str) -> None:
        shutil.rmtree(self._root / place, ignore_errors=True)


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last whole line ends."""
    end = file.seek(0, 2)
    while end:
        begin = max(0, end - _PIECE_BYTES)
        file.seek(begin)
        newline = file.read(end - begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be used: {error.strerror}.") from error
