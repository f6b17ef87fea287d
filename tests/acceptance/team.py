"""A whole team for tests: home, runtime, Ray, tmux, agents; brought up and down by the real means."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.runtime import Runtime
from supervisor.settings import Settings

from actors.home import Home
from supervisor.client import SupervisorClient
from supervisor.requests import Role, SpawnRequest


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def make_repository(directory: Path) -> Path:
    directory.mkdir(parents=True)
    git(directory, "init", "-q", "-b", "main")
    git(directory, "config", "user.name", "Tester")
    git(directory, "config", "user.email", "tester@example.invalid")
    (directory / "README.md").write_text("# Project\n")
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "Start")
    return directory


@dataclass(frozen=True, slots=True)
class Team:
    """A team that is up. ``repository`` is a fresh one with one commit."""

    home: Home
    environment: Mapping[str, str]
    repository: Path
    runtime: Runtime

    async def connect(self, sender: str = "lead") -> SupervisorClient:
        return await SupervisorClient.connect(self.home, sender=sender)

    def specialist(self, context: str = "hello", **more: object) -> SpawnRequest:
        fields = {"role": Role.SPECIALIST, "work_dir": str(self.repository), "context": context, **more}
        return SpawnRequest.model_validate(fields)


def shell_environment(home: Home, **more: str) -> dict[str, str]:
    """What a person's shell would give ``phalanx up``, with the mark that finds left-over processes."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TERM", "TEST_RUN_ID") if name in os.environ}
    git_identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Agent"), ("EMAIL", "agent@example.invalid"))
    }
    return {**kept, **git_identity, "PHALANX_HOME": str(home.root), **more}


def bring_up(directory: Path, **environment: str) -> Team:
    home = Home(directory / "h")
    variables = shell_environment(home, **environment)
    runtime = Runtime(home, Settings.load(home, variables))
    runtime.up(variables, lambda step: None)
    return Team(home, variables, make_repository(directory / "project"), runtime)
