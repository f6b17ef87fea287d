"""Finds files that git would not give back unchanged, although it calls them unchanged.

``snapshot`` uses it. git compares files after its conversions (filters, line ends, encodings, keywords). A filter that
drops content, such as the output of notebooks, hides it from git's status. So this module compares bytes: those of the
file with those that a checkout would write. ``blob_of`` computes git's hash of a file without git.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from actors.errors import WorkspaceError
from actors.git.process import GitRunner
from actors.worktrees.model import WorktreeKeptError, WorktreeLocation

_CHUNK_BYTES = 1 << 20
_SHA1_DIGITS = 40
_CHECKOUT_TIMEOUT_S = 120.0
_OF_ANY_KIND = "filter ident working-tree-encoding"
"""Attributes of conversions that may change a file in any way."""
_OF_LINES = "text eol crlf"
"""Attributes of the conversion that only removes carriage returns."""
_OFF = frozenset({"", "false", "no", "off", "0"})
_REGULAR = frozenset({"100644", "100755"})


@dataclass(frozen=True, slots=True)
class _IndexEntry:
    """A regular file in the index."""

    path: str
    blob: str


def not_given_back(git: GitRunner, location: WorktreeLocation, *, besides: Collection[str]) -> tuple[str, ...]:
    """The paths of such files, other than ``besides``. Changes nothing.

    Raises ``WorkspaceError`` when git fails, ``WorktreeKeptError`` when a file cannot be read.
    """
    known = set(besides)
    of_any_kind = [entry for entry in _with_attributes(git, location, _OF_ANY_KIND) if entry.path not in known]
    known.update(entry.path for entry in of_any_kind)
    of_lines = [entry for entry in _converted_in_lines(git, location) if entry.path not in known]
    suspects = [
        *(
            entry
            for entry in of_any_kind
            if blob_of(location.worktree / entry.path, "100644", kind_of(entry.blob)) != entry.blob
        ),
        *_of_another_size(git, location, of_lines),
    ]
    return _differing_from_checkout(git, location, suspects) if suspects else ()


def _with_attributes(git: GitRunner, location: WorktreeLocation, attributes: str) -> list[_IndexEntry]:
    """The files with any of the attributes."""
    none_of_them = " ".join(f"!{attribute}" for attribute in attributes.split())
    return _listed(git, location, "--", ".", f":(exclude,attr:{none_of_them})")


def _converted_in_lines(git: GitRunner, location: WorktreeLocation) -> list[_IndexEntry]:
    setting = git.run(location.worktree, "config", "--get", "core.autocrlf").output.strip().lower()
    return _with_attributes(git, location, _OF_LINES) if setting in _OFF else _listed(git, location)


def _listed(git: GitRunner, location: WorktreeLocation, *which: str) -> list[_IndexEntry]:
    listing = listing_of(git, location, "ls-files", "--stage", "-z", *which)
    rows = (entry.split("\t", 1) for entry in listing.split("\0") if entry)
    found = ((about.split(" "), path) for about, path in rows)
    return [
        _IndexEntry(path, blob)
        for (mode, blob, stage), path in found
        if mode in _REGULAR and stage == "0" and _is_file(location.worktree / path)
    ]


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _of_another_size(git: GitRunner, location: WorktreeLocation, entries: list[_IndexEntry]) -> list[_IndexEntry]:
    """A file with the size of its blob has lost no carriage return."""
    if not entries:
        return []
    asked = "".join(f"{entry.blob}\n" for entry in entries).encode()
    sizes = listing_of(git, location, "cat-file", "--batch-check=%(objectsize)", stdin=asked).split("\n")
    return [
        entry
        for entry, size in zip(entries, sizes, strict=False)
        if str((location.worktree / entry.path).lstat().st_size) != size
    ]


def _differing_from_checkout(
    git: GitRunner, location: WorktreeLocation, suspects: list[_IndexEntry]
) -> tuple[str, ...]:
    """A file that git cannot check out, because a filter's program is missing, counts as differing."""
    paths = [entry.path for entry in suspects]
    try:
        with tempfile.TemporaryDirectory(prefix="phalanx-", dir=location.registration) as directory:
            written = Path(directory)
            _check_out(git, location, paths, written)
            return tuple(path for path in paths if not _same(location.worktree / path, written / path))
    except OSError as error:
        raise WorktreeKeptError(f"it cannot be compared with what git has ({error.strerror})") from error


def _check_out(git: GitRunner, location: WorktreeLocation, paths: Iterable[str], to: Path) -> None:
    """Checks out what git can within the time limit."""
    stdin = os.fsencode("".join(f"{path}\0" for path in paths))
    try:
        git.run_once(
            *(location.worktree, "checkout-index", "--quiet", "-z", "--stdin", f"--prefix={to}/"),
            stdin=stdin,
            timeout_s=_CHECKOUT_TIMEOUT_S,
        )
    except WorkspaceError:
        return


def _same(file: Path, written: Path) -> bool:
    return _is_file(written) and filecmp.cmp(file, written, shallow=False)


def listing_of(git: GitRunner, location: WorktreeLocation, *arguments: str, stdin: bytes = b"") -> str:
    """What git lists of the worktree. Raises ``WorkspaceError``."""
    answer = git.run(location.worktree, *arguments, stdin=stdin)
    if not answer.ok:
        raise WorkspaceError(
            f"git cannot list the work in {location.worktree}, so nothing was removed: {answer.last_words}. "
            "Inspect it by hand."
        )
    return answer.output


def blob_of(path: Path, git_mode: str, kind: str) -> str:
    """The hash of an unconverted file or symbolic link. Raises ``WorktreeKeptError`` when it cannot be read."""
    if git_mode == "120000":
        target = read_link(path)
        return hashlib.new(kind, b"blob %d\0" % len(target) + target, usedforsecurity=False).hexdigest()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            state = os.fstat(file.fileno())
            digest = hashlib.new(kind, b"blob %d\0" % state.st_size, usedforsecurity=False)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise WorktreeKeptError(f"a file in it cannot be read ({str(path)!a}: {error.strerror})") from error
    return digest.hexdigest()


def read_link(path: Path) -> bytes:
    """Raises ``WorktreeKeptError``."""
    try:
        return os.fsencode(os.readlink(path))  # noqa: PTH115  # Path would tidy the target
    except OSError as error:
        raise WorktreeKeptError(f"a link in it cannot be read ({str(path)!a}: {error.strerror})") from error


def kind_of(name: str) -> str:
    """The hash algorithm of the repository of the object ``name``."""
    return "sha1" if len(name) == _SHA1_DIGITS else "sha256"
