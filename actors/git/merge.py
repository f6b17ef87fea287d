"""Merges a branch into the one that is checked out. A conflict is found before anything is touched.

Promises: a merge that conflicts is told with its files, and neither the working tree, the index nor a ref has changed;
one that git begins and does not finish (a hook refuses or hangs, the machine is full) is taken back. What somebody else
has under way there is left alone. No file that git does not track is overwritten: git itself asks that only of files
that are not ignored, so here the file system is looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.fingerprint import under_way
from actors.git.layout import read_line
from actors.git.repository import Repository, refusal
from actors.worktrees.source import some_of

_SUBMODULE = "160000"
"""A mode of git: it leaves alone what is in the directory."""


@dataclass(frozen=True, slots=True)
class ChangedPaths:
    added: tuple[str, ...]
    deleted: frozenset[str]


def read_changed_paths(raw: str) -> ChangedPaths:
    """Of ``git diff-tree -r -z --raw --no-renames``."""
    fields = iter(raw.split("\0")[:-1])
    entries = [(about.split(" "), path) for about, path in zip(fields, fields, strict=True)]
    return ChangedPaths(
        added=tuple(path for about, path in entries if about[4] == "A" and about[1] != _SUBMODULE),
        deleted=frozenset(path for about, path in entries if about[4] == "D"),
    )


def untracked_in_the_way(top: Path, changed: ChangedPaths) -> list[str]:
    """Of the working tree at ``top``, where nothing is staged."""
    found: dict[str, None] = {}
    clear: set[str] = set()
    for path in changed.added:
        for parent in map(str, PurePosixPath(path).parents[:-1]):
            if parent in clear:
                break
            clear.add(parent)
            if parent not in changed.deleted and _kind(top / parent) not in (None, stat.S_IFDIR):
                found[parent] = None
        if _kind(top / path) == stat.S_IFDIR:
            below = (os.path.relpath(file, top) for file in _files_below(top / path))
            found.update((file, None) for file in below if file not in changed.deleted)
        elif _kind(top / path) is not None:
            found[path] = None
    return list(found)


def _kind(path: Path) -> int | None:
    """Type bits of its mode; None when there is nothing."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _files_below(directory: Path) -> Iterator[str]:
    for here, directories, files in os.walk(directory):
        links = (name for name in directories if (Path(here) / name).is_symlink())
        yield from (os.path.join(here, name) for name in (*files, *links))  # noqa: PTH118 - as os.walk gives them


_CONFLICTS = 1
_AS_FORESEEN = (
    "--commit",
    "--no-squash",
    "--ff",
    "--strategy=ort",
    "--no-autostash",
    "--no-log",
    "--cleanup=whitespace",
)
"""Whatever git's configuration says: what was foreseen is made, committed, with the words that were given. Whether it
must be signed, and what the hooks say to it, stays with the user."""
_WAS_UNDER_WAY = ("MERGE_HEAD exists", "unresolved conflict")
"""So git says of a merge that another has begun."""


class MergeConflictError(WorkspaceError):
    """Both sides changed the same."""

    def __init__(self, text: str, files: list[str]) -> None:
        super().__init__(text)
        self.files = files


@dataclass(frozen=True, slots=True, kw_only=True)
class _PredictedMerge:
    ours: str
    theirs: str
    tree: str
    """What the merge makes; with marks in it where there are conflicts."""
    conflicts: list[str]


def predict(repo: Repository, branch: str) -> dict[str, Any]:
    """What a merge of ``branch`` would do; nothing is changed."""
    foreseen = _foresee(repo, branch)
    base = repo.ask("merge-base", "--is-ancestor", foreseen.theirs, foreseen.ours)
    return {
        "branch": branch,
        "commit": foreseen.theirs,
        "conflicts": foreseen.conflicts,
        "clean": not foreseen.conflicts,
        "alreadyMerged": base.ok,
    }


def merge(repo: Repository, branch: str, message: str | None) -> dict[str, Any]:
    """Raises ``MergeConflictError``, or ``WorkspaceError`` in git's words; then all is as it was."""
    top = repo.top
    if (what := under_way(repo.place)) is not None:
        raise WorkspaceError(
            f"A {what} is under way in {top}: let whoever began it finish it (or abort it), then merge again."
        )
    foreseen = _foresee(repo, branch)
    if foreseen.conflicts:
        files = foreseen.conflicts
        raise MergeConflictError(
            f"{branch} conflicts in {len(files)} file(s): {some_of(tuple(files))}; nothing was touched. Let the member "
            "that knows the work merge the other way round and resolve them, then merge again.",
            files,
        )
    _refuse_to_overwrite(repo, branch, foreseen)
    on = repo.head().branch
    words = message or f"Merge branch '{branch}'{f' into {on}' if on else ''}"
    _merge(repo, foreseen, on, words)
    after = repo.head().commit
    return {
        "branch": branch,
        "commit": after,
        "alreadyMerged": after == foreseen.ours,
        "fastForward": after == foreseen.theirs and after != foreseen.ours,
    }


def _foresee(repo: Repository, branch: str) -> _PredictedMerge:
    theirs = _commit(repo, branch)
    ours = repo.head().commit
    if ours is None:
        raise InvalidRequestError("There is no commit yet to merge into: make a first commit.")
    answer = repo.ask("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    if not answer.ok and answer.status != _CONFLICTS:
        if "usage:" in answer.error:
            raise WorkspaceError("Merging needs git 2.38 or newer, which can tell conflicts beforehand: update git.")
        raise refusal(answer)
    tree, *files = answer.output.split("\0")[:-1]
    return _PredictedMerge(
        ours=ours, theirs=theirs, tree=tree, conflicts=[] if answer.ok else list(dict.fromkeys(files))
    )


def _refuse_to_overwrite(repo: Repository, branch: str, foreseen: _PredictedMerge) -> None:
    """git heeds ``--no-overwrite-ignore`` in a fast-forward only."""
    told = repo.told("diff-tree", "-r", "-z", "--raw", "--no-renames", foreseen.ours, foreseen.tree)
    if files := untracked_in_the_way(repo.top, read_changed_paths(told)):
        raise WorkspaceError(
            f"{branch} brings what would overwrite {len(files)} file(s) that git does not track: "
            f"{some_of(tuple(files))}; nothing was touched. Move them away, then merge again."
        )


def _merge(repo: Repository, foreseen: _PredictedMerge, on: str | None, words: str) -> None:
    command = ("merge", "--quiet", "--no-edit", "--no-overwrite-ignore", *_AS_FORESEEN, "-m", words, foreseen.theirs)
    # Options that the branch has of its own may name another strategy, which git would take as well.
    settings = {f"branch.{on}.mergeOptions": ""} if on else {}
    try:
        answer = repo.act(repo.top, *command, begun=lambda: _is_ours(repo, foreseen), settings=settings)
    except WorkspaceError as late:
        now = repo.head().commit
        if now != foreseen.ours:
            raise WorkspaceError(f"{late} HEAD is at {now} now: look whether the merge is made.") from late
        _take_back_unfinished(repo, foreseen)
        raise
    if not answer.ok:
        if _is_ours(repo, foreseen) and not any(words in answer.error for words in _WAS_UNDER_WAY):
            _take_back(repo, "merge", "--abort")
        raise refusal(answer)


def _commit(repo: Repository, branch: str) -> str:
    """Of a local branch, else of whatever else is called so."""
    commit = repo.commit_of(f"refs/heads/{branch}") or repo.commit_of(branch)
    if commit is None:
        raise InvalidRequestError(f"There is no branch {branch!r} to merge: correct the name (type branch lists them).")
    return commit


def _is_ours(repo: Repository, foreseen: _PredictedMerge) -> bool:
    """Whether the merge that is under way is of what was to be merged."""
    return read_line(repo.place.git_directory / "MERGE_HEAD") == foreseen.theirs


def _take_back_unfinished(repo: Repository, foreseen: _PredictedMerge) -> None:
    """A git that is ended while a hook runs leaves what it has merged staged, and may not have noted that it merges.

    It merges only where nothing is staged. So what it left is taken back if that and nothing else is staged now.
    """
    if under_way(repo.place) and not _is_ours(repo, foreseen):
        return
    if repo.ask("diff", "--cached", "--quiet", foreseen.tree).ok:
        _take_back(repo, "reset", "--quiet", "--merge", foreseen.ours)


def _take_back(repo: Repository, *command: str) -> None:
    answer = repo.act(repo.top, *command)
    if not answer.ok:
        raise WorkspaceError(
            f"The merge failed, and git could not take it back: {answer.last_words}. Look into {repo.top} before "
            "you do anything else there."
        )
