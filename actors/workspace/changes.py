"""Reads what git lists: pure, so that what counts as work is decided (and tested) without git."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

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
"""Directories that programs fill and fill again. Everything else that git ignores (a ``.env``, a database, ``build/``)
may be somebody's work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Paths relative to the root of the worktree, as git lists them: a directory ends in a slash."""

    changed: tuple[str, ...]
    """Modified, staged, in conflict or untracked."""
    ignored: tuple[str, ...]
    differing: tuple[str, ...] = ()
    """Those of ``changed`` whose file is not what the index has: modified, deleted or untracked."""
    in_conflict: tuple[str, ...] = ()


def read_status(listing: str) -> Status:
    """Parses ``git status --porcelain=v1 -z --no-renames``."""
    entries = [(entry[:2], entry[3:]) for entry in listing.split("\0") if entry]
    return Status(
        changed=tuple(path for state, path in entries if state != "!!"),
        ignored=tuple(path for state, path in entries if state == "!!"),
        differing=tuple(path for state, path in entries if state != "!!" and state[1:] != " "),
        in_conflict=tuple(path for state, path in entries if "U" in state or state in {"AA", "DD"}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexListing:
    paths: tuple[str, ...]
    unwatched: tuple[str, ...]
    """Those marked as assumed to be unchanged."""
    skipped: tuple[str, ...]
    """Those marked to be skipped in the worktree. Status does not look at either."""


def read_index(listing: str) -> IndexListing:
    """Parses ``git ls-files -v -z``."""
    entries = [(entry[:1], entry[2:]) for entry in listing.split("\0") if entry]
    return IndexListing(
        paths=tuple(path for _, path in entries),
        unwatched=tuple(path for tag, path in entries if tag.islower()),
        skipped=tuple(path for tag, path in entries if tag == "S"),
    )


def is_rebuilt(path: str) -> bool:
    """Whether an ignored path is, or lies in, a directory that its program makes anew."""
    return any(part in _REBUILT for part in PurePath(path).parts)


def some_of(paths: tuple[str, ...]) -> str:
    """The first paths for a sentence, quoted so that any name is safe to print."""
    return ", ".join(map(ascii, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
