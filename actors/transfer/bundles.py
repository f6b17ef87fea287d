"""Code on its way between hosts: git bundles in files, sent piece by piece, and files that are copied.

bundles of a host: git bundles in files, from which any piece can be read again until they are discarded.

Promises: what is packed is complete for who has ``haves``; packing changes nothing in the repository that is there
afterwards; a bundle that nobody has discarded goes after a while. Every method blocks.

Fetching a bundle from another host, piece by piece, into a file. Knows no Ray: it is given what to ask.

Taking a bundle into a repository.

Files that go along with an instance: its conversation, as the agent has written it. Every function blocks.

Such a file only grows. A copy is brought up to date by asking for what comes after its end.

The values that travel with code. They import no git.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol

from actors.errors import InvalidRequestError, PhalanxError, UnavailableError, WorkspaceError
from actors.git.process import GitFailedError, GitRunner, RepositoryGit

UNPACK_TIMEOUT_S = 900.0


def unpack(repository: RepositoryGit, bundle: Path, commits: Sequence[str]) -> None:
    """Afterwards the repository has ``commits`` with all that belongs to them; no ref is changed.

    Raises ``WorkspaceError``; what was taken in then is of no harm, git's own clean-up removes it some day.
    """
    repository.bundle("unbundle", bundle, kill_after_timeout=UNPACK_TIMEOUT_S)
    # As git fetch does: what came must be whole before a ref says that it is.
    repository.rev_list("--objects", "--quiet", *commits, "--not", "--all", kill_after_timeout=UNPACK_TIMEOUT_S)


PIECE_BYTES = 8 << 20
"""Most that is in memory of a bundle at one time, on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPoint:
    """Where an isolated workspace begins: one commit of a repository on the host that has it."""

    key: str
    """Of the repository, the same for all its worktrees; names its mirrors."""
    git_directory: Path
    top: Path
    prefix: PurePath
    """The directory to work in, relative to ``top``."""
    commit: str
    branch: str
    """Made in the repository for the instance, at ``commit``; of a spare it is not made."""
    directory: str = ""
    """Name of the worktree's directory; empty: as the branch."""
    author: Mapping[str, str] = field(default_factory=dict)
    """``user.name`` and ``user.email`` as they hold in the repository."""
    notes: tuple[str, ...] = ()
    uncommitted: str = ""
    """A save of what was not committed, to be laid over ``commit``; empty: there is none."""

    @property
    def commits(self) -> tuple[str, ...]:
        return (self.commit, self.uncommitted) if self.uncommitted else (self.commit,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one host lacks of another's repository, ready to be asked for. Empty (``size`` 0): it lacks nothing."""

    bundle_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteWork:
    """What an instance on another host has made so far, by its refs there."""

    name: str
    """Of the instance, as its branch says; a worktree that was a spare has another one."""
    branch: str
    commit: str
    """The tip of its branch."""
    saved: Mapping[str, str] = field(default_factory=dict)
    """Further refs below ``refs/phalanx/saved/`` and their commits: work that was not committed."""

    @property
    def commits(self) -> tuple[str, ...]:
        return (self.commit, *self.saved.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of work that came home. ``note`` says why the branch was not moved; empty when it was."""

    work: RemoteWork
    note: str


PACK_TIMEOUT_S = 900.0
_FORGOTTEN_S = 3600.0
_ID = re.compile(r"[0-9a-f]{32}")
_REFS = "refs/phalanx/travel/"


class BundleStore:
    def __init__(self, directory: Path, git: GitRunner) -> None:
        """``directory`` is made (0700) when it is needed."""
        self._directory = directory
        self._git = git

    def pack(self, git_directory: Path, commits: Sequence[str], haves: Collection[str]) -> Bundle:
        """All that is needed for ``commits`` by who has ``haves``, of which some may not be known here.

        Raises ``WorkspaceError`` in git's words, and for a repository that is itself incomplete.
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
                repository.bundle("create", *options, istream=lines, kill_after_timeout=PACK_TIMEOUT_S)
        except GitFailedError as error:
            path.unlink(missing_ok=True)
            if "empty bundle" in error.answer.error:
                return Bundle(bundle_id="", size=0)
            raise
        return Bundle(bundle_id=bundle_id, size=path.stat().st_size)

    def piece(self, bundle_id: str, offset: int) -> bytes:
        """At most ``PIECE_BYTES`` from ``offset``; may be asked for again. Raises ``InvalidRequestError``."""
        try:
            with self._path(bundle_id).open("rb") as bundle:
                bundle.seek(offset)
                return bundle.read(PIECE_BYTES)
        except FileNotFoundError:
            raise InvalidRequestError(f"There is no bundle {bundle_id} (any more): pack it again.") from None

    def discard(self, bundle_id: str) -> None:
        """No-op when there is none."""
        self._path(bundle_id).unlink(missing_ok=True)

    def _path(self, bundle_id: str) -> Path:
        if _ID.fullmatch(bundle_id) is None:
            raise InvalidRequestError(f"{bundle_id!r} is no bundle.")
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
        """Bundles are made of refs; these keep the commits from a clean-up meanwhile, too."""
        refs = {f"{_REFS}{bundle_id}/{number}": commit for number, commit in enumerate(commits)}
        repository.update_ref("--stdin", istream=_lines(f"create {ref} {commit}" for ref, commit in refs.items()))
        try:
            yield list(refs)
        finally:
            repository.update_ref("--stdin", istream=_lines(f"delete {ref}" for ref in refs))

    def _clear_forgotten(self) -> None:
        """Of transfers that died with a host."""
        if not self._directory.is_dir():
            return
        for left in self._directory.glob("*.bundle"):
            try:
                if time.time() - left.stat().st_mtime > _FORGOTTEN_S:
                    os.unlink(left)  # noqa: PTH108 - may be gone meanwhile
            except FileNotFoundError:
                continue


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


class BundleSource(Protocol):
    """The host that has packed the bundle."""

    async def piece(self, bundle_id: str, offset: int) -> bytes: ...
    async def discard(self, bundle_id: str) -> None: ...


@asynccontextmanager
async def download(sender: BundleSource, bundle: Bundle, directory: Path) -> AsyncIterator[Path]:
    """The bundle as a file below ``directory`` (made if need be), there until the block ends.

    Raises ``PhalanxError`` when it cannot be had whole. The sender's copy is discarded in any case.
    """
    path = _path_in(directory)
    try:
        try:
            with path.open("xb") as file:
                await _copy(sender, bundle, file)
        finally:
            with suppress(PhalanxError):
                await sender.discard(bundle.bundle_id)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _path_in(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / f"{secrets.token_hex(8)}.arriving"


async def _copy(sender: BundleSource, bundle: Bundle, file: BinaryIO) -> None:
    at = 0
    while at < bundle.size:
        piece = await sender.piece(bundle.bundle_id, at)
        if not piece:
            raise UnavailableError(f"A bundle ended after {at} of {bundle.size} bytes: try again.")
        await asyncio.to_thread(file.write, piece)
        at += len(piece)


def read_from(path: Path, offset: int) -> bytes:
    """At most ``PIECE_BYTES`` from ``offset``; empty at the end, and when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except FileNotFoundError:
        return b""


def size_of(path: Path) -> int:
    """0 when there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def write_at(path: Path, offset: int, piece: bytes) -> None:
    """Raises ``WorkspaceError`` when the file cannot be written. It is for its user alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "xb") as file:
            path.chmod(0o600)
            file.seek(offset)
            file.write(piece)
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}.") from error
