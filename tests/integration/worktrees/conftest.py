"""A repository, a worktrees' directory and a HOME of the test's own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.worktrees.manager import WorktreeManager
from actors.worktrees.model import Workspace
from tests.integration.worktrees.states import PRELUDE

_ALONE = ("-c", "protocol.file.allow=always", "-c", "gc.auto=0", "-c", "maintenance.auto=false")
"""Git 2.55 tidies up in the background after a command, which a test of what is on the disk would see."""


class Place:
    """``base`` holds everything of one test."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.manager = WorktreeManager(self.worktrees, self.environment)

    def create(self, name: str, directory: Path | None = None) -> Workspace:
        """An isolated workspace."""
        return self.manager.create(name, directory or self.repository, "isolated")

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.base / "home"), "PATH": os.environ["PATH"]}

    @property
    def worktrees(self) -> Path:
        return self.base / "phalanx" / "worktrees"

    @property
    def repository(self) -> Path:
        return self.base / "project"

    def git(self, directory: Path, *arguments: str, check: bool = True) -> str:
        command = ["git", *_ALONE, "-C", str(directory), *arguments]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def leave(self, tree: Path, script: str) -> None:
        """Runs a script of ``states`` in the worktree."""
        more = {"BASE": str(self.base), "REPO": str(self.repository), "PYTHON": sys.executable}
        command = ["bash", "-c", PRELUDE + script]
        done = subprocess.run(
            command, cwd=tree, env=self.environment | more, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def git_bytes(self, *arguments: str) -> bytes:
        """In the repository, as it is."""
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True).stdout

    def commit(self, directory: Path, name: str, content: str = "text\n") -> str:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        self.git(directory, "add", "--force", "--", name)
        self.git(directory, "commit", "-q", "-m", f"Add {name}")
        return self.git(directory, "rev-parse", "HEAD")

    def hook(self, script: str) -> None:
        path = self.repository / ".git/hooks/post-checkout"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def restore(self, ref: str) -> Path:
        """A fresh worktree of what is saved under ``ref``; nothing converts the files."""
        target = Path(tempfile.mkdtemp(prefix="restored", dir=self.base)) / "tree"
        plain = ("-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", "-c", "core.sparseCheckout=false")
        self.git(self.repository, *plain, "worktree", "add", "--quiet", "--detach", str(target), ref)
        return target

    def saved(self) -> set[str]:
        return set(self.git(self.repository, "for-each-ref", "--format=%(refname)", "refs/phalanx/saved").split())

    def branches(self) -> set[str]:
        return set(self.git(self.repository, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())

    def snapshot(self) -> dict[str, bytes | None]:
        """All that the worktrees' directory holds and all files of the repository: git leaves empty directories."""
        found = [*self.worktrees.rglob("*"), *(path for path in self.repository.rglob("*") if path.is_file())]
        return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def photograph(tree: Path) -> dict[bytes, tuple[str, bytes]]:
    """Kind and content of each file and link that a commit can hold, by path."""
    photo = {}
    for directory, below, files in os.walk(tree):
        for path in (Path(directory) / name for name in (*below, *files)):
            relative, mode = os.fsencode(path.relative_to(tree)), path.lstat().st_mode
            if stat.S_ISLNK(mode):
                photo[relative] = ("link", os.fsencode(os.readlink(path)))  # noqa: PTH115
            elif stat.S_ISREG(mode) and relative != b".git":
                photo[relative] = ("program" if mode & stat.S_IXUSR else "file", path.read_bytes())
    return photo


def photograph_of_blobs(place: Place, ref: str) -> dict[bytes, tuple[str, bytes]]:
    """The tree of ``ref`` as git stores it, without any conversion."""
    kinds = {b"120000": "link", b"100755": "program", b"100644": "file"}
    photo = {}
    for entry in place.git_bytes("ls-tree", "-r", "-z", ref).split(b"\0")[:-1]:
        about, path = entry.split(b"\t", 1)
        mode, _, blob = about.split(b" ")
        photo[path] = (kinds[mode], place.git_bytes("cat-file", "blob", blob.decode()))
    return photo


@pytest.fixture
def place() -> Iterator[Place]:
    base = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp")).resolve()
    place = Place(base)
    (base / "home").mkdir()
    place.repository.mkdir()
    for key, value in {"user.name": "Ann", "user.email": "ann@example.com", "init.defaultBranch": "main"}.items():
        place.git(base, "config", "--global", key, value)
    place.git(place.repository, "init", "-q")
    place.commit(place.repository, "src/code.py", "x = 1\n")
    yield place
    shutil.rmtree(base)


@pytest.fixture
def workspace(place: Place) -> Workspace:
    """That of the instance ``spec_1``."""
    return place.create("spec_1")
