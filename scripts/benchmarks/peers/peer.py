"""One interface for all that is compared, and the place of its own in which each runs.

A place is a HOME that nobody else has: programs, sessions, tmux server and daemons of a peer are in it, and its
processes are known by it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import psutil

from actors.processes import end_all_found, processes_with
from tests.projects import make_repository
from tests.standin.claude_home import make_claude_home, standin_environment

ROOT = Path(__file__).resolve().parents[3]
INSTALLED = ROOT / ".venv/peers"
CALL_S = 90.0
"""The longest that a call of a peer may take."""
_INSTALL_S = 600.0
_GRACE_S = 2.0
_LONGEST_WORDS = 160
"""Most characters of what a peer said that go to the table."""
_NEWEST_PYTHONS = ("python3.13", "python3.12", "python3.11")
_SETTINGS = '{"permissions": {"defaultMode": "default"}, "disableAutoMode": "disable"}'
"""Every Claude Code asks before it runs a tool, and does not offer another mode at its start."""


class PeerError(RuntimeError):
    """What a peer, or a program of it, said when it failed. The words go to the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``project``: a repository with one commit, trusted. ``environment`` is all that the peer's processes get."""

    home: Path
    project: Path
    environment: Mapping[str, str]

    def run(self, *words: str | Path, text: str | None = None, timeout_s: float = CALL_S) -> str:
        """Raises ``PeerError`` with what the program said."""
        try:
            done = subprocess.run(
                words,
                cwd=self.project,
                env=self.environment,
                input=text or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise PeerError(f"no answer within {timeout_s:.0f} s") from error
        except OSError as error:
            raise PeerError(error.strerror or str(error)) from error
        if done.returncode:
            raise PeerError(_last_words(done.stderr or done.stdout) or f"exit {done.returncode}")
        return done.stdout

    def processes(self) -> list[psutil.Process]:
        return processes_with("HOME", str(self.home))

    def end(self) -> None:
        """Ends all that still runs here, and removes it."""
        end_all_found(self.processes, _GRACE_S)
        shutil.rmtree(self.home, ignore_errors=True)


def make_place(home: Path, api_url: str, claude: Path, programs: Path) -> Place:
    """``programs``: where those of the peer are installed."""
    make_claude_home(home)
    project = make_repository(home / "project")
    trusted = {str(home): {"hasTrustDialogAccepted": True}, str(project): {"hasTrustDialogAccepted": True}}
    _add_to_json(home / ".claude.json", {"projects": trusted, "effortCalloutDismissed": True})
    (home / ".claude").mkdir()
    (home / ".claude/settings.json").write_text(_SETTINGS)
    (home / "bin").mkdir()
    (home / "bin/claude").symlink_to(claude)
    (home / "tmux").mkdir()
    path = f"{home / 'bin'}:{programs}:{os.environ['PATH']}"
    # A login shell, in which some start their agents, sets PATH anew.
    (home / ".bash_profile").write_text(f"export PATH={path}\n")
    kept = {name: os.environ[name] for name in ("LANG", "USER", "TEST_RUN_ID") if name in os.environ}
    environment = {
        **kept,
        **standin_environment(api_url, home),
        "PATH": path,
        "SHELL": "/bin/bash",
        "TERM": "xterm-256color",
        "TMUX_TMPDIR": str(home / "tmux"),
    }
    return Place(home=home, project=project, environment=environment)


class Peer(ABC):
    """What one of them does. Every method blocks; those that fail raise ``PeerError``.

    ``packages``: what is installed from the registry; the first one's version is the peer's. ``cannot``: for a scenario
    that makes no sense for it, why. ``does_not``: what else a user of it misses, in a few words each.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    cannot: ClassVar[Mapping[str, str]] = {}
    does_not: ClassVar[tuple[str, ...]] = ()

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    def programs(cls) -> Path:
        return INSTALLED / cls.name / "bin"

    @abstractmethod
    def open(self) -> None:
        """Starts what must run before the first instance."""

    @abstractmethod
    def close(self) -> None:
        """Ends the peer by its own means; what it leaves is ended by its place."""

    @abstractmethod
    def start(self, text: str) -> str:
        """Starts an agent with its first message; returns how it is addressed."""

    @abstractmethod
    def send(self, instance: str, text: str) -> str:
        """Returns what the sender is told about it: "proved", "sent" or "held"."""

    @abstractmethod
    def end(self, instance: str) -> None: ...

    @abstractmethod
    def agents(self) -> Sequence[psutil.Process]:
        """The processes that anybody would have who runs these agents by hand."""

    @abstractmethod
    def kill_orchestrator(self) -> str:
        """Kills (-9) what stands between sender and agents; returns what that was."""

    def recover(self, instance: str) -> None:
        """What a user does after ``kill_orchestrator`` to go on with this agent."""
        self.open()

    def allow(self, instance: str) -> None:
        """Allows the one tool call for which the agent asks, as a person does: by Enter in the only pane."""
        self.place.run("tmux", "send-keys", "-t", self._only_pane(), "Enter")

    def _only_pane(self) -> str:
        panes = self.place.run("tmux", "list-panes", "-a", "-F", "#{pane_id}").split()
        if len(panes) != 1:
            raise PeerError(f"{len(panes)} panes")
        return panes[0]

    def start_many(self, texts: Sequence[str]) -> list[str]:
        with ThreadPoolExecutor(len(texts)) as pool:
            return list(pool.map(self.start, texts))


def claudes(place: Place) -> list[psutil.Process]:
    """The Claude Codes that run there."""
    return [process for process in place.processes() if _runs_claude(process)]


def _runs_claude(process: psutil.Process) -> bool:
    try:
        return Path(process.exe()).name.startswith("claude")
    except psutil.Error:
        return False


def kill_all(processes: Sequence[psutil.Process]) -> int:
    """By SIGKILL at once; returns how many there were."""
    end_all_found(lambda: [process for process in processes if process.is_running()], grace_s=0)
    return len(processes)


def install(peer: type[Peer]) -> None:
    """Into a directory of its own, unless it is there. Raises ``PeerError``."""
    directory = INSTALLED / peer.name
    if not peer.packages or (directory / "whole").exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    home = directory / "home"
    home.mkdir(parents=True)
    place = Place(home=home, project=home, environment={**os.environ, "HOME": str(home)})
    place.run(_newest_python(), "-m", "venv", directory, timeout_s=_INSTALL_S)
    place.run(directory / "bin/python", "-m", "pip", "install", "-q", *peer.packages, timeout_s=_INSTALL_S)
    (directory / "whole").touch()


def version_of(peer: type[Peer]) -> str:
    """Of what is installed; empty for what is not from the registry."""
    if not peer.packages:
        return ""
    code = f"import importlib.metadata as m; print(m.version({peer.packages[0]!r}))"
    return subprocess.run(
        [peer.programs() / "python", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _newest_python() -> str:
    """Some peers want a newer one than Phalanx does."""
    of_pyenv = sorted(Path.home().glob(".pyenv/versions/3.1[2-9].*/bin/python"))
    found = [*map(str, reversed(of_pyenv)), *filter(None, map(shutil.which, _NEWEST_PYTHONS))]
    return found[0] if found else sys.executable


def _last_words(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return shortened(lines[-1]) if lines else ""


def shortened(said: str) -> str:
    """What a peer said, for a cell of a table."""
    return textwrap.shorten(said, _LONGEST_WORDS, placeholder=" …")


def _add_to_json(path: Path, more: Mapping[str, object]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
