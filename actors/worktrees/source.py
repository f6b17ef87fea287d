"""Reads ``workDir`` before anything is made: its repository, commit and branch, and what is not committed.

``manager`` and ``transfer`` call ``find_source``. The parsers of git's listings are pure, so what counts as work is
decided and tested without git.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.layout import ASK_GIT, branch_of, find_place, read_head
from actors.git.model import RepositoryPaths
from actors.git.process import GitOutput, GitRunner

_REBUILT = frozenset(
    {
        "__pycache__",
        "node_modules",
        ".venv",
        ".pytest_cache",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        ".tox",
        ".gradle",
    }
)
"""Directories that programs rebuild. Other ignored paths (a ``.env``, a database, ``build/``) may be work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRepository:
    """The repository around ``workDir``."""

    top: Path
    """Root of the worktree around ``workDir``, or of the bare repository."""
    git_directory: Path
    place: RepositoryPaths | None = None
    """Of ``work_dir``; None in a mirror."""
    prefix: PurePath
    """``workDir`` relative to ``top``."""
    bare: bool
    branch: str | None
    commit: str | None


def check_directory(work_dir: Path) -> None:
    """Raises ``InvalidRequestError`` unless ``work_dir`` is absolute and a readable directory."""
    if not work_dir.is_absolute():
        raise InvalidRequestError(f"workDir must be an absolute path, not {str(work_dir)!r}.")
    try:
        is_directory = work_dir.is_dir()
        exists = is_directory or work_dir.exists()
    except (OSError, ValueError) as error:
        raise InvalidRequestError(f"workDir {str(work_dir)!r} cannot be read: {error}. Give another path.") from error
    if not exists:
        raise InvalidRequestError(f"workDir {str(work_dir)!r} does not exist. Create it first, or give another path.")
    if not is_directory:
        raise InvalidRequestError(f"workDir {work_dir} is not a directory. Give the directory to work in.")
    if not os.access(work_dir, os.R_OK | os.X_OK):
        raise InvalidRequestError(f"workDir {work_dir} may not be read by this user. Change its permissions first.")


def find_source(git: GitRunner, work_dir: Path) -> SourceRepository | None:
    """The repository around ``work_dir``; None without one. Raises ``WorkspaceError`` when git refuses it."""
    facts = ("--is-bare-repository", "--is-inside-work-tree", "--absolute-git-dir", "--show-prefix", "HEAD^{commit}")
    answer = git.run(work_dir, "rev-parse", *facts)
    bare, inside, paths, *_ = [*answer.output.split("\n", 2), "", "", ""]
    if not inside:
        if "not a git repository (or any" in answer.error:
            return None
        raise WorkspaceError(_refusal(work_dir, answer))
    place = find_place(work_dir)
    if place is None or not paths.startswith(f"{place.git_directory}\n"):
        raise InvalidRequestError(
            f"workDir {work_dir} lies in {place.git_directory if place else 'no repository'}, but git takes another "
            f"repository for it, {paths.partition(chr(10))[0]}. Remove the broken .git, or give another directory."
        )
    # The prefix stands between two lines, because it may hold a newline.
    shown, _, commit = paths.removeprefix(f"{place.git_directory}\n").removesuffix("\n").rpartition("\n")
    prefix = PurePath(shown)
    if inside == "true":
        here = work_dir.resolve()
        top = here.parents[len(prefix.parts) - 1] if prefix.parts else here
    elif bare == "true":
        top = place.common_directory
    else:
        top = _top_elsewhere(git, work_dir)
    branch = read_head(place).branch
    if branch == ASK_GIT:
        branch = branch_of(git.run(work_dir, "symbolic-ref", "--quiet", "HEAD").output.removesuffix("\n"))
    return SourceRepository(
        top=top,
        git_directory=place.common_directory,
        place=place,
        prefix=prefix,
        bare=inside != "true" and bare == "true",
        branch=branch,
        commit=commit if answer.ok else None,
    )


def _top_elsewhere(git: GitRunner, work_dir: Path) -> Path:
    """The working tree that ``core.worktree`` names, when ``work_dir`` lies beside it."""
    answer = git.run(work_dir, "rev-parse", "--show-toplevel")
    if not answer.ok:
        raise InvalidRequestError(f"workDir {work_dir} lies inside a .git directory. Give the working tree instead.")
    return Path(answer.output.removesuffix("\n"))


def _refusal(work_dir: Path, answer: GitOutput) -> str:
    if "dubious ownership" in answer.error:
        return (
            f"git does not trust {work_dir}, because another user owns it. If you do, run "
            f"`git config --global --add safe.directory <the repository's directory>`, then try again. "
            f"git says: {answer.last_words}"
        )
    return f"git cannot read the repository of {work_dir}: {answer.last_words}. Repair it, or use a shared workspace."


def describe_left_behind(git: GitRunner, source: SourceRepository) -> tuple[str, ...]:
    """Sentences on what a new worktree of ``source`` lacks."""
    if source.bare:
        return ()
    notes = []
    try:
        answer = git.run(source.top, "status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames")
        trouble = None if answer.ok else answer.last_words
        changed = len(read_status(answer.output).changed) if answer.ok else 0
    except WorkspaceError as error:
        trouble, changed = str(error), 0
    if trouble is not None:
        notes.append(f"Uncommitted changes in {source.top}, if any, are not in the worktree (git status: {trouble}).")
    elif changed:
        notes.append(
            f"{changed} uncommitted change(s) in {source.top} are not in the worktree; commit them to hand them on."
        )
    if (source.top / ".gitmodules").exists():
        notes.append("Submodules are not checked out in the worktree; `git submodule update --init` there does it.")
    return tuple(notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeStatus:
    """Paths relative to the root of the worktree, as git lists them: a directory ends in a slash."""

    changed: tuple[str, ...]
    """Modified, staged, in conflict or untracked."""
    ignored: tuple[str, ...]
    differing: tuple[str, ...] = ()
    """Those of ``changed`` whose file differs from the index: modified, deleted or untracked."""
    in_conflict: tuple[str, ...] = ()


def read_status(listing: str) -> WorktreeStatus:
    """Parses ``git status --porcelain=v1 -z --no-renames``."""
    entries = [(entry[:2], entry[3:]) for entry in listing.split("\0") if entry]
    return WorktreeStatus(
        changed=tuple(path for state, path in entries if state != "!!"),
        ignored=tuple(path for state, path in entries if state == "!!"),
        differing=tuple(path for state, path in entries if state != "!!" and state[1:] != " "),
        in_conflict=tuple(path for state, path in entries if "U" in state or state in {"AA", "DD"}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexListing:
    """The paths in the index. ``git status`` does not check those in ``unwatched`` and ``skipped``."""

    paths: tuple[str, ...]
    unwatched: tuple[str, ...]
    """Marked assume-unchanged."""
    skipped: tuple[str, ...]
    """Marked skip-worktree."""


def read_index(listing: str) -> IndexListing:
    """Parses ``git ls-files -v -z``."""
    entries = [(entry[:1], entry[2:]) for entry in listing.split("\0") if entry]
    return IndexListing(
        paths=tuple(path for _, path in entries),
        unwatched=tuple(path for tag, path in entries if tag.islower()),
        skipped=tuple(path for tag, path in entries if tag == "S"),
    )


def is_rebuilt(path: str) -> bool:
    """Whether an ignored path is, or is in, a directory that a program rebuilds."""
    return any(part in _REBUILT for part in PurePath(path).parts)


def some_of(paths: tuple[str, ...]) -> str:
    """The first paths for a sentence, escaped so that any name is safe to print."""
    return ", ".join(map(repr, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
