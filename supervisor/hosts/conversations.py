"""The conversations of instances on other hosts, as they came home last: copies in the team's home. Functions block.

A copy goes on growing from where it ends, so its last line may be half-written until the next time.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from actors.following.tail import Tail

_HEADER = re.compile(rb"\[phalanx (msg_[0-9a-z]+) from ")
"""As it stands in any agent's transcript. An id is told to nobody else, so who wrote it down was given the message."""
_PIECE_BYTES = 1 << 16


class Conversations:
    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, place: str, transcript_path: str) -> Path:
        """One for each conversation: an instance may begin another one."""
        return self._root / place / Path(transcript_path).name

    def shown(self, place: str, transcript_path: str, ids: Collection[str]) -> set[str]:
        """Which of these messages stand in the copy."""
        found: set[str] = set()
        for lines in Tail(self.path(place, transcript_path)).pieces():
            found.update(one.decode() for line in lines for one in _HEADER.findall(line))
        return found & set(ids)

    def end_whole(self, place: str, transcript_path: str) -> None:
        """Takes away a last line that is half-written: whoever goes on by the copy would write on in it."""
        path = self.path(place, transcript_path)
        if not path.exists():
            return
        with path.open("r+b") as file:
            end = file.seek(0, 2)
            while end:
                begin = max(0, end - _PIECE_BYTES)
                file.seek(begin)
                newline = file.read(end - begin).rfind(b"\n")
                if newline >= 0:
                    file.truncate(begin + newline + 1)
                    return
                end = begin
            file.truncate(0)

    def forget(self, place: str) -> None:
        shutil.rmtree(self._root / place, ignore_errors=True)
