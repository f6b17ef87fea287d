"""The work of several members of a project, and the merger that brings it together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from actors.git.compare import Comparer
from actors.git.merge_branches import BranchMerger
from actors.git.model import (
    Comparison,
    ComparisonReport,
    MergedBranches,
    MergeJob,
    MergeReport,
    PreparedMerge,
    WorkBranch,
)
from actors.worktrees.manager import WorktreeManager
from tests.integration.git.conftest import Project

LIMIT_S = 60.0


class Merging:
    """Over a project in ``base``. Members have worktrees of their names beside it."""

    def __init__(self, base: Path) -> None:
        self.project = Project(base)
        self.worktrees = WorktreeManager(base / "worktrees", self.project.environment)
        self.comparer = Comparer(self.project.environment)
        self._merger = BranchMerger(self.project.environment, self.worktrees, self.comparer)

    @property
    def repository(self) -> Path:
        return self.project.repository

    def member(self, name: str, files: Mapping[str, str | bytes] | None = None, *, start: str = "main") -> Path:
        """A worktree on a new branch of this name, with a commit of these files."""
        tree = self.project.base / name
        self.project.git("worktree", "add", "-q", "-b", name, str(tree), start)
        if files:
            self.commit(tree, files)
        return tree

    def commit(self, tree: Path, files: Mapping[str, str | bytes]) -> str:
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        self.project.git("add", "--all", "--force", at=tree)
        self.project.git("commit", "-q", "-m", f"Work on {len(files)} files", at=tree)
        return self.project.git("rev-parse", "HEAD", at=tree)

    def merge(self, *names: str, **job: object) -> MergeReport:
        made = self.prepare(*names, **job)
        if isinstance(made, MergeReport):
            return made
        self.move(made)
        return made.report

    def prepare(self, *names: str, **job: object) -> MergeReport | PreparedMerge:
        return self._merger.prepare(self.job(*names, **job), LIMIT_S)

    def move(self, prepared: PreparedMerge) -> None:
        self._merger.move(prepared, LIMIT_S)

    def find_merged(self, *names: str, **job: object) -> MergedBranches:
        return self._merger.find_merged(self.job(*names, **job), LIMIT_S)

    def job(self, *names: str, **more: object) -> MergeJob:
        fields: dict[str, object] = {
            "git_directory": self.repository / ".git",
            "branches": tuple(WorkBranch(name=name, branch=name) for name in names),
            "into": None,
            "trees": (self.repository,),
            "check_timeout_s": 30.0,
            **more,
        }
        return MergeJob(**fields)  # type: ignore[arg-type]

    def compare(self, *names: str, base: Path | None = None) -> ComparisonReport:
        return self.comparer.compare(
            Comparison(
                git_directory=self.repository / ".git",
                branches=tuple(WorkBranch(name=name, branch=name) for name in names),
                bases=(base or self.repository,) * len(names),
            )
        )

    def main(self) -> str:
        return self.project.git("rev-parse", "main")

    def photograph(self) -> dict[str, bytes | str]:
        """All of the project, its members' trees and what the team has beside them."""
        trees = [path for path in self.project.base.iterdir() if path.name not in {"user", "signs"}]
        files = {
            str(path): path.read_bytes()
            for tree in trees
            for path in tree.rglob("*")
            if path.is_file() and not path.is_symlink() and "objects" not in path.parts
        }
        return {**self.project.photograph(), **files}

    def leftovers(self) -> list[str]:
        trees = self.project.git("worktree", "list", "--porcelain").split("\n")
        registered = [line for line in trees if "/worktrees/" in line]
        return [*registered, *(path.name for path in (self.project.base / "worktrees").iterdir())]
