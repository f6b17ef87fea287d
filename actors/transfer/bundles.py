"""The values of a transfer, git bundle files, and files that are copied along.

``service`` packs a bundle on one host and downloads it on another, piece by piece. Promises: a
bundle holds all that a repository with ``haves`` lacks; packing leaves the repository unchanged; a bundle that was
never discarded is deleted after an hour. An instance's transcript goes along as a copy: the file only grows, so a copy
is updated from its end on. All functions block.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.process import GitFailedError, GitRunner, RepositoryGit

BUNDLE_TIMEOUT_S = 900.0
"""Longest that git may pack or unpack a bundle."""
PIECE_BYTES = 8 << 20
"""Largest part of a bundle in memory, on either side."""
_FORGOTTEN_S = 3600.0
_ID = re.compile(r"[0-9a-f]{32}")
_REFS = "refs/phalanx/travel/"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPoint:
    """Where an isolated workspace starts: one commit of a repository, and what a worker must know of that."""

    key: str
    """Identifies the repository for all its worktrees; names its mirrors."""
    git_directory: Path
    top: Path
    prefix: PurePath
    """The directory to work in, relative to ``top``."""
    commit: str
    branch: str
    """Created in the repository for the instance, at ``commit``; not created for a spare."""
    directory: str = ""
    """Name of the worktree's directory; empty: named like the branch."""
    author: Mapping[str, str] = field(default_factory=dict)
    """``user.name`` and ``user.email`` of the repository."""
    notes: tuple[str, ...] = ()
    uncommitted: str = ""
    """The commit with saved uncommitted work on top of ``commit``; empty: none."""

    @property
    def commits(self) -> tuple[str, ...]:
        return (self.commit, self.uncommitted) if self.uncommitted else (self.commit,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A packed bundle, ready for download. ``size`` 0: the other host lacks nothing."""

    bundle_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWork:
    """The work of an instance on another host so far, by its refs there."""

    name: str
    """The instance's, from its branch; a worktree that was a spare has another name."""
    branch: str
    commit: str
    """The tip of its branch."""
    saved: Mapping[str, str] = field(default_factory=dict)
    """Refs below ``refs/phalanx/saved/`` and their commits: uncommitted work."""

    @property
    def commits(self) -> tuple[str, ...]:
        return (self.commit, *self.saved.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """The imported work. ``note`` says why the branch was not moved; empty when it was."""

    work: RemoteWork
    note: str


class BundleStore:
    """The bundle files of a host. Any piece can be read again until the bundle is discarded."""

    def __init__(self, directory: Path, git: GitRunner) -> None:
        """``directory`` is created (0700) on demand."""
        self._directory = directory
        self._git = git

    def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle:
        """Packs ``commits`` for a repository that has ``haves``, of which some may be unknown here.

        Raises ``WorkspaceError`` in git's words, and for a shallow clone.
        """
        self._clear_forgotten()
        repository = self._git.repository(git_directory)
        known = self._known(repository, haves)
        if set(commits) <= known:
            return Bundle(bundle_id="", size=0)
        self._check_complete(repository)
        bundle_id = secrets.token_hex(16)
        path = self._path(bundle_id)
        try:
            with self._named(repository, bundle_id, commits) as refs:
                lines = _lines([*refs, *(f"^{commit}" for commit in sorted(known))])
                options = ("--quiet", path, "--stdin")
                repository.bundle("create", *options, istream=lines, kill_after_timeout=BUNDLE_TIMEOUT_S)
        except GitFailedError as error:
            path.unlink(missing_ok=True)
            if "empty bundle" in error.answer.error:
                return Bundle(bundle_id="", size=0)
            raise
        return Bundle(bundle_id=bundle_id, size=path.stat().st_size)

    def piece(self, bundle_id: str, offset: int) -> bytes:
        """At most ``PIECE_BYTES`` from ``offset``. Raises ``InvalidRequestError``."""
        try:
            return _read_at(self._path(bundle_id), offset)
        except FileNotFoundError as error:
            raise InvalidRequestError(f"There is no bundle {bundle_id} (any more): pack it again.") from error

    def discard(self, bundle_id: str) -> None:
        """No-op when there is none."""
        self._path(bundle_id).unlink(missing_ok=True)

    def _path(self, bundle_id: str) -> Path:
        if _ID.fullmatch(bundle_id) is None:
            raise InvalidRequestError(f"{bundle_id!r} is not a bundle: pack one first.")
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory / f"{bundle_id}.bundle"

    def _known(self, repository: RepositoryGit, haves: Collection[str]) -> set[str]:
        if not haves:
            return set()
        listing: str = repository.cat_file("--batch-check=%(objectname) %(objecttype)", istream=_lines(haves))
        return {line.split(" ")[0] for line in listing.splitlines() if line.endswith(" commit")}

    def _check_complete(self, repository: RepositoryGit) -> None:
        if repository.rev_parse("--is-shallow-repository") == "true":
            raise WorkspaceError(
                f"The repository {repository.directory} is a shallow clone, which cannot be carried to other hosts. "
                "Run `git fetch --unshallow` there, or spawn on its own host."
            )

    @contextmanager
    def _named(self, repository: RepositoryGit, bundle_id: str, commits: Sequence[str]) -> Iterator[list[str]]:
        """Temporary refs, because git bundles refs; they also protect the commits from a clean-up."""
        refs = {f"{_REFS}{bundle_id}/{number}": commit for number, commit in enumerate(commits)}
        repository.update_ref("--stdin", istream=_lines(f"create {ref} {commit}" for ref, commit in refs.items()))
        try:
            yield list(refs)
        finally:
            repository.update_ref("--stdin", istream=_lines(f"delete {ref}" for ref in refs))

    def _clear_forgotten(self) -> None:
        """Deletes the bundles of transfers that ended with a host."""
        if not self._directory.is_dir():
            return
        for left in self._directory.glob("*.bundle"):
            try:
                if time.time() - left.stat().st_mtime > _FORGOTTEN_S:
                    os.unlink(left)  # noqa: PTH108 - another call may delete it
            except FileNotFoundError:
                continue


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def unpack(repository: RepositoryGit, bundle: Path, commits: Sequence[str]) -> None:
    """Adds ``commits`` and all their objects to the repository; no ref is changed.

    After a ``WorkspaceError`` unused objects may stay, until git's own clean-up removes them.
    """
    repository.bundle("unbundle", bundle, kill_after_timeout=BUNDLE_TIMEOUT_S)
    # As git fetch does: the objects must be complete before a ref points to them.
    repository.rev_list("--objects", "--quiet", *commits, "--not", "--all", kill_after_timeout=BUNDLE_TIMEOUT_S)


def read_from(path: Path, offset: int) -> bytes:
    """At most ``PIECE_BYTES`` from ``offset``; empty at the end and without the file."""
    try:
        return _read_at(path, offset)
    except FileNotFoundError:
        return b""


def _read_at(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(PIECE_BYTES)


def size_of(path: Path) -> int:
    """0 without the file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def write_at(path: Path, offset: int, piece: bytes) -> None:
    """Writes ``piece`` at ``offset`` of a file that only the user can read. Raises ``WorkspaceError``."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "xb") as file:
            path.chmod(0o600)
            file.seek(offset)
            file.write(piece)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}.") from error
