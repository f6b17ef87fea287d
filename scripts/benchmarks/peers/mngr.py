"""imbue-mngr: a command that makes a worktree, starts Claude Code in tmux, and types."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import psutil

from scripts.benchmarks.peers.peer import Peer, PeerError, Place, claudes, kill_all

_STARTS_S = 10.0
"""The longest until a call that was made is seen as a process."""
_POLL_S = 0.02


class Mngr(Peer):
    name = "mngr"
    packages = ("imbue-mngr", "imbue-mngr-claude")
    does_not: ClassVar[tuple[str, ...]] = (
        "keep a message that could not be typed",
        "stay running: every call starts Python anew",
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._numbers = itertools.count(1)

    def open(self) -> None:
        """It has no server; the first call makes its profile."""
        self._mngr("list")

    def close(self) -> None:
        """What it started is ended with the place: its own way takes seconds for each."""

    def start(self, text: str) -> str:
        name = f"a{next(self._numbers)}"
        self._mngr("create", name, "claude", "--no-connect", "--message-file", self._file(name, text))
        return name

    def send(self, instance: str, text: str) -> str:
        self._mngr("message", instance, "--message-file", self._file(f"{instance}-{next(self._numbers)}", text))
        return "proved"

    def end(self, instance: str) -> None:
        self._mngr("destroy", instance, "--force")

    def recover(self, instance: str) -> None:
        """Nothing that would run is missing."""

    def agents(self) -> Sequence[psutil.Process]:
        return claudes(self.place)

    def kill_orchestrator(self) -> str:
        deadline = time.monotonic() + _STARTS_S
        while not (found := [each for each in self.place.processes() if self._is_call(each)]):
            if time.monotonic() > deadline:
                raise PeerError("no call of it was on its way")
            time.sleep(_POLL_S)
        kill_all(found)
        return "the `mngr message` on its way"

    def _is_call(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return str(self.programs() / "mngr") in process.cmdline()
        return False

    def _file(self, name: str, text: str) -> Path:
        path = self.place.home / f"{name}.txt"
        path.write_text(text)
        return path

    def _mngr(self, *words: str | Path) -> str:
        return self.place.run(self.programs() / "mngr", *words, "--headless")
