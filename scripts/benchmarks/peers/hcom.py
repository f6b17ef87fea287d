"""hcom: hooks that carry messages between Claude Codes, each of which runs under a terminal of hcom's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import psutil

from scripts.benchmarks.peers.peer import Peer, PeerError, claudes, kill_all


class Hcom(Peer):
    name = "hcom"
    packages = ("hcom",)
    does_not: ClassVar[tuple[str, ...]] = ("make worktrees", "prove to the sender that a text arrived")

    def open(self) -> None:
        """It has no server: whatever is called first makes its database."""
        self._hcom("list")

    def close(self) -> None:
        self._hcom("kill", "all")

    def start(self, text: str) -> str:
        said = self._hcom("claude", "--terminal", "tmux", "--json", "--hcom-prompt", text)
        return str(json.loads(said)["names"][0])

    def send(self, instance: str, text: str) -> str:
        self._hcom("send", f"@{instance}", "--json", "--from", "lead", text=text)
        return "sent"

    def end(self, instance: str) -> None:
        self._hcom("kill", instance)

    def recover(self, instance: str) -> None:
        self._hcom("r", instance, "--terminal", "tmux", "--json", "--go")

    def agents(self) -> Sequence[psutil.Process]:
        return claudes(self.place)

    def kill_orchestrator(self) -> str:
        found = [each for each in self.place.processes() if _is_terminal(each)]
        if not found:
            raise PeerError("no process of it was found")
        kill_all(found)
        return "the terminal around the agent (`hcom pty`), then `hcom r`"

    def _hcom(self, *words: str, text: str | None = None) -> str:
        return self.place.run(self.programs() / "hcom", *words, text=text)


def _is_terminal(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[1:2] == ["pty"]
    except psutil.Error:
        return False
