"""Merges a branch into the checked out one, and predicts conflicts before anything changes.

``GitExecutor`` and ``ReadBatch`` use it. Promises: a conflict is reported with its files, and working tree, index and
refs are unchanged; a merge that git starts but does not finish (a hook refuses or hangs, the disk is full) is undone;
an operation that another git has under way is left alone; no untracked file is overwritten. git protects only untracked
files that are not ignored, so this module looks at the file system.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from actors.errors import InvalidRequestError, WorkspaceError, WrongStateError
from actors.git.layout import read_line, under_way
from actors.git.repository import Repository, refusal
from actors.worktrees.source import some_of

_SUBMODULE = "160000"
"""git's mode of a submodule, whose directory git leaves alone."""
_CONFLICTS = 1
_MERGE_OPTIONS = (
    "--commit",
    "--no-squash",
    "--ff",
    "--strategy=ort",
    "--no-autostash",
    "--no-log",
    "--cleanup=whitespace",
)
"""Whatever git's configuration says, the predicted merge is made and committed with the given message. Signing and
hooks stay the user's."""
_WAS_UNDER_WAY = ("MERGE_HEAD exists", "unresolved conflict")
"""git's words about another unfinished merge."""


class MergeConflictError(WorkspaceError):
    """The two sides conflict in ``files``."""

    def __init__(self, text: str, files: list[str]) -> None:
        super().__init__(text)
        self.files = files


@dataclass(frozen=True, slots=True, kw_only=True)
class _PredictedMerge:
    ours: str
    theirs: str
    tree: str
    """The merged tree, with conflict markers where there are conflicts."""
    conflicts: list[str]


def predict(repo: Repository, branch: str) -> dict[str, Any]:
    """What a merge of ``branch`` would do. Changes nothing."""
    predicted = _predict(repo, _commit(repo, branch))
    base = repo.read("merge-base", "--is-ancestor", predicted.theirs, predicted.ours)
    return {
        "branch": branch,
        "commit": predicted.theirs,
        "conflicts": predicted.conflicts,
        "clean": not predicted.conflicts,
        "alreadyMerged": base.ok,
    }


def merge(repo: Repository, branch: str, message: str | None, onto: str | None) -> dict[str, Any]:
    """``onto``: the branch that must be checked out, if it matters.

    Raises ``MergeConflictError``, or another ``PhalanxError`` in git's words; then all is as it was.
    """
    on = repo.head().branch
    if onto not in {None, on}:
        raise WrongStateError(
            f"{repo.top} has {on or 'no branch'} checked out and not its own branch {onto}, so nothing was merged: "
            f"have {onto} checked out there first."
        )
    return merge_commit(repo, _commit(repo, branch), branch, message)


def merge_commit(repo: Repository, commit: str, branch: str, message: str | None) -> dict[str, Any]:
    """As ``merge``, of exactly this commit, by its whole hash; ``branch`` is only what it is called.

    A branch may be named as the hash of another commit.
    """
    top = repo.top
    if (what := under_way(repo.place.git_directory)) is not None:
        raise WorkspaceError(
            f"A {what} is under way in {top}: let the member who began it finish or abort it, then merge again."
        )
    predicted = _predict(repo, commit)
    if predicted.conflicts:
        files = predicted.conflicts
        raise MergeConflictError(
            f"{branch} conflicts in {len(files)} file(s): {some_of(tuple(files))}; nothing was touched. Let the member "
            "that knows the work merge the other way round and resolve them, then merge again.",
            files,
        )
    _refuse_to_overwrite(repo, branch, predicted.ours, predicted.tree)
    on = repo.head().branch
    words = message or f"Merge branch '{branch}'{f' into {on}' if on else ''}"
    _merge(repo, predicted, on, words)
    after = repo.head().commit
    return {
        "branch": branch,
        "commit": after,
        "alreadyMerged": after == predicted.ours,
        "fastForward": after == predicted.theirs and after != predicted.ours,
    }


def _predict(repo: Repository, theirs: str) -> _PredictedMerge:
    ours = repo.head().commit
    if ours is None:
        raise InvalidRequestError("There is no commit yet to merge into: make a first commit.")
    answer = repo.read("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    if not answer.ok and answer.status != _CONFLICTS:
        if "usage:" in answer.error:
            raise WorkspaceError("Merging needs git 2.38 or newer, which can tell conflicts beforehand: update git.")
        raise refusal(answer)
    tree, *files = answer.output.split("\0")[:-1]
    return _PredictedMerge(
        ours=ours, theirs=theirs, tree=tree, conflicts=[] if answer.ok else list(dict.fromkeys(files))
    )


def _commit(repo: Repository, branch: str) -> str:
    """The commit of a local branch, else of any revision of that name."""
    commit = repo.commit_of(f"refs/heads/{branch}") or repo.commit_of(branch)
    if commit is None:
        raise InvalidRequestError(
            f"There is no branch {branch!r} to merge: correct the name (`git branch` lists them)."
        )
    return commit


def _refuse_to_overwrite(repo: Repository, branch: str, before: str, after: str) -> None:
    """Needed because git obeys ``--no-overwrite-ignore`` in a fast-forward only, and not below a directory."""
    changes = repo.read_output("diff-tree", "-r", "-z", "--raw", "--no-renames", before, after)
    if files := untracked_in_the_way(repo.top, read_changed_paths(changes)):
        raise WorkspaceError(
            f"Merging {branch} would overwrite {len(files)} untracked file(s): "
            f"{some_of(tuple(files))}; nothing was touched. Move them away, then merge again."
        )


def fast_forward(repo: Repository, branch: str, before: str, after: str) -> None:
    """Moves the checked out branch on from ``before``, with the working tree. Raises ``WorkspaceError``; then all is as
    it was. Changes that are not committed stay; git refuses when they are in the same files."""
    head = repo.head()
    if (head.branch, head.commit) != (branch, before):
        raise moved_meanwhile(branch)
    _refuse_to_overwrite(repo, branch, before, after)
    command = ("merge", "--quiet", "--ff-only", "--no-squash", "--no-autostash", "--no-overwrite-ignore", after)
    try:
        answer = repo.write(repo.top, *command, settings={f"branch.{branch}.mergeOptions": ""})
    except WorkspaceError:
        if repo.commit_of(f"refs/heads/{branch}") != after:  # else only the user's post-merge hook hangs
            raise
        return
    if repo.commit_of(f"refs/heads/{branch}") != after:
        raise refusal(answer) if not answer.ok else moved_meanwhile(branch)


def moved_meanwhile(branch: str) -> WorkspaceError:
    return WorkspaceError(f"Somebody else has moved {branch} meanwhile, so it was left alone: merge again.")


def _merge(repo: Repository, predicted: _PredictedMerge, on: str | None, words: str) -> None:
    command = ("merge", "--quiet", "--no-edit", "--no-overwrite-ignore", *_MERGE_OPTIONS, "-m", words, predicted.theirs)
    # The branch's own mergeOptions could name a second strategy.
    settings = {f"branch.{on}.mergeOptions": ""} if on else {}
    try:
        answer = repo.write(repo.top, *command, begun=lambda: _is_ours(repo, predicted), settings=settings)
    except WorkspaceError as late:
        now = repo.head().commit
        if now != predicted.ours:
            raise WorkspaceError(f"{late} HEAD is at {now} now: look whether the merge is made.") from late
        _undo_unfinished(repo, predicted)
        raise
    if not answer.ok:
        if _is_ours(repo, predicted) and not any(words in answer.error for words in _WAS_UNDER_WAY):
            _undo(repo, "merge", "--abort")
        raise refusal(answer)


def _is_ours(repo: Repository, predicted: _PredictedMerge) -> bool:
    """Whether the unfinished merge is this one."""
    return read_line(repo.place.git_directory / "MERGE_HEAD") == predicted.theirs


def _undo_unfinished(repo: Repository, predicted: _PredictedMerge) -> None:
    """Undoes a merge whose git was ended during a hook: the result is staged, perhaps without ``MERGE_HEAD``.

    git merges only with an empty stage. So the merge is undone if its tree and nothing else is staged now.
    """
    if under_way(repo.place.git_directory) and not _is_ours(repo, predicted):
        return
    if repo.read("diff", "--cached", "--quiet", predicted.tree).ok:
        _undo(repo, "reset", "--quiet", "--merge", predicted.ours)


def _undo(repo: Repository, *command: str) -> None:
    answer = repo.write(repo.top, *command)
    if not answer.ok:
        raise WorkspaceError(
            f"The merge failed, and git could not undo it: {answer.last_words}. Inspect {repo.top} before you do "
            "anything else there."
        )


@dataclass(frozen=True, slots=True)
class ChangedPaths:
    added: tuple[str, ...]
    deleted: frozenset[str]


def read_changed_paths(raw: str) -> ChangedPaths:
    """Parses ``git diff-tree -r -z --raw --no-renames``."""
    fields = iter(raw.split("\0")[:-1])
    entries = [(about.split(" "), path) for about, path in zip(fields, fields, strict=True)]
    return ChangedPaths(
        added=tuple(path for about, path in entries if about[4] == "A" and about[1] != _SUBMODULE),
        deleted=frozenset(path for about, path in entries if about[4] == "D"),
    )


def untracked_in_the_way(top: Path, changed: ChangedPaths) -> list[str]:
    """Untracked files that the change would overwrite in the working tree at ``top``, where nothing is staged."""
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
    """The type bits of its mode; None without a file."""
    try:
        return stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _files_below(directory: Path) -> Iterator[str]:
    for here, directories, files in os.walk(directory):
        links = (name for name in directories if (Path(here) / name).is_symlink())
        yield from (os.path.join(here, name) for name in (*files, *links))  # noqa: PTH118 - as os.walk gives them
