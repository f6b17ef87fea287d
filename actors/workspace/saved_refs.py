"""The refs under which work is kept: ``refs/phalanx/saved/<name>``, then ``<name>.2``, ``<name>.3``, …

Each save stands alone and is only ever added, never moved: it can be looked at, merged or deleted by itself, and what
was saved before does not become part of its history. A worktree's name has no dot, so the numbers cannot be mistaken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.command import GitRunner
from actors.workspace.site import KeptError

SAVED_REFS = "refs/phalanx/saved/"
NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
DURABLE = ("-c", "core.fsync=all")
_MOST_TRIES = 5
_FIELDS = "--format=%(refname) %(objectname) %(tree) %(parent)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRef:
    name: str
    number: int
    commit: str
    tree: str
    parents: tuple[str, ...]


def list_saved(git: GitRunner, git_directory: Path, name: str) -> list[SavedRef]:
    """The saves of the worktree ``name``, oldest first."""
    patterns = (SAVED_REFS + name, f"{SAVED_REFS}{name}.*")
    answer = git.run_in_repository(git_directory, "for-each-ref", _FIELDS, "--", *patterns)
    if not answer.ok:
        raise WorkspaceError(f"git cannot list what was saved in {git_directory}: {answer.last_words}. Repair it.")
    found = []
    for line in answer.output.splitlines():
        ref, commit, tree, *parents = line.split(" ")
        number = ref.removeprefix(SAVED_REFS + name).removeprefix(".") or "1"
        if number.isdecimal():
            parents = [parent for parent in parents if parent]
            found.append(SavedRef(name=ref, number=int(number), commit=commit, tree=tree, parents=tuple(parents)))
    return sorted(found, key=lambda saved: saved.number)


def next_saved(git: GitRunner, git_directory: Path, name: str) -> str:
    """The ref that ``add_saved`` would make."""
    return _named(name, _last_number(git, git_directory, name) + 1)


def _last_number(git: GitRunner, git_directory: Path, name: str) -> int:
    return max((saved.number for saved in list_saved(git, git_directory, name)), default=0)


def _named(name: str, number: int) -> str:
    return f"{SAVED_REFS}{name}" if number == 1 else f"{SAVED_REFS}{name}.{number}"


def add_saved(git: GitRunner, git_directory: Path, name: str, commit_for: Callable[[str], str]) -> str:
    """Makes the next ref of ``name`` and returns it. ``commit_for`` gets the ref's name and gives the commit.

    Raises ``KeptError`` when git does not make it.
    """
    last = _last_number(git, git_directory, name)
    for number in range(last + 1, last + _MOST_TRIES):
        ref = _named(name, number)
        commit = commit_for(ref)
        absent = "0" * len(commit)
        words = ("update-ref", "-m", "Saved by phalanx", ref, commit, absent)
        answer = git.run_in_repository(git_directory, *NO_HOOKS, *DURABLE, *words)
        if answer.ok:
            return ref
        # Somebody else took the number in the meantime, or a git that was killed has left its lock on it.
        if "exists" not in answer.error:
            break
    raise KeptError(f"git does not make {ref}: {answer.last_words}")
