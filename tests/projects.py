"""Sample repositories, and the environment of the person who works on them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from actors.home import Home


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


def shell_environment(home: Home, **more: str) -> dict[str, str]:
    """What a person's shell would give ``phalanx up``, with the mark that finds left-over processes.

    No spare agents: a test counts the agents that it starts.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TERM", "TEST_RUN_ID") if name in os.environ}
    git_identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Agent"), ("EMAIL", "agent@example.invalid"))
    }
    return {**kept, **git_identity, "PHALANX_HOME": str(home.root), "PREWARM_INSTANCES": "0", **more}
