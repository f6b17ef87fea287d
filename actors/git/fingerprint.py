"""Fingerprints of the files that an answer of git depends on, taken quickly and without git.

``ReadBatch`` uses ``Fingerprinter``. An answer may be reused while its fingerprint is the same. File systems keep time
in steps, and a second change within one step would look the same, so an answer near a change is not kept (git takes the
same care with its index).

The fewer files an answer depends on, the longer it holds: a member's commit on its own branch must not invalidate the
answers of all other working trees. So a status depends on the checked out branch only, unless that has an upstream.
"""

from __future__ import annotations

import marshal
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

from actors.git.layout import STATES, read_small
from actors.git.model import Fingerprint, ListRefs, ListWorktrees, Read, ReadLog, ReadStatus, RepositoryPaths

STEP_NS = 50_000_000
"""Longer than the time step of Linux file systems."""
_COARSE_STEP_NS = 2_000_000_000
"""The same for file systems with whole seconds."""
_SECOND_NS = 1_000_000_000
_MARSHAL_VERSION = 2
"""The last format of ``marshal`` whose output does not depend on reference counts."""
MOST_ENTRIES = 1500
"""In a working tree: with more, git's own status is faster than this check."""
Parts: TypeAlias = "dict[str, FingerprintBuilder]"
HEAD, COMMIT, REFS, INDEX, TREE, WORKTREES = "head", "commit", "refs", "index", "tree", "worktrees"
"""What an answer depends on. ``COMMIT``: only HEAD's commit, even if HEAD moved in between."""
_FILES_IN_CONFIG = re.compile(rb"^\s*(?:excludesfile|attributesfile)\s*=\s*\"?([^\"\n]+?)\"?\s*$", re.MULTILINE | re.I)
_INCLUDES = re.compile(rb"^\s*\[\s*include", re.MULTILINE | re.I)
_OTHER_TREE = re.compile(rb"\bworktree\s*=", re.I)
"""The working tree is then not where ``.git`` is."""
_UNWATCHED = re.compile(r"@\{|worktree|[\w/-]HEAD|HEAD[\w/-]|[A-Z]_[A-Z]")
"""Revisions that may change without a change of a ref: by time or reflog, ``FETCH_HEAD`` and the like, HEAD of another
working tree."""
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_LINKS = 5


class Fingerprinter:
    """Takes and checks fingerprints. ``environment``: git's, which locates the user's configuration."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        user = Path(environment.get("HOME", "/nonexistent"))
        shared = Path(environment.get("XDG_CONFIG_HOME") or user / ".config") / "git"
        self._user = user
        self._config = [str(path) for path in (Path("/etc/gitconfig"), user / ".gitconfig", shared / "config")]
        self._rules = [str(shared / "ignore"), str(shared / "attributes")]

    def begin(
        self, place: RepositoryPaths, read: Read, since_ns: int, parts: Parts | None = None
    ) -> Fingerprint | None:
        """The fingerprint without the working tree, before git runs; None when the answer can have none.

        ``since_ns``: system clock before the first look at any of the ``parts`` (see ``FingerprintBuilder``).
        """
        watched = _watched(read)
        if watched is None or (TREE in watched and _tracked_files(place) > MOST_ENTRIES):
            return None
        builder = FingerprintBuilder(parts)
        configuration, head = self._look_around(builder, place, watched)
        if TREE in watched and _may_follow(configuration, head):
            watched |= {REFS}
        _look_at(builder, place, watched)
        if not (builder.reliable and builder.is_settled(since_ns)):
            return None
        return Fingerprint(digest=builder.digest, watched=watched)

    def finish(
        self,
        place: RepositoryPaths,
        begun: Fingerprint,
        since_ns: int,
        parts: Parts,
        ignored: frozenset[str] = frozenset(),
        changed: Iterable[str] = (),
    ) -> Fingerprint | None:
        """The answer's fingerprint, after git ran; None when something changed meanwhile or just before.

        ``ignored`` and ``changed``: git's paths in the working tree. If a changed one is too new, the others need no
        look.
        """
        latest = FingerprintBuilder()
        for path in changed:
            latest.file(f"{place.top}/{path}")
        if len(ignored) > MOST_ENTRIES or not latest.is_settled(since_ns):
            return None
        builder = self._look(place, begun.watched, parts)
        if builder.digest != begun.digest:
            return None
        if TREE in begun.watched:
            builder.tree(str(place.top), ignored)
        if not (builder.reliable and builder.is_settled(since_ns)):
            return None
        return replace(begun, digest=builder.digest, ignored=ignored)

    def holds(self, place: RepositoryPaths, fingerprint: Fingerprint, parts: Parts) -> bool:
        """Whether everything looks as it did when the fingerprint was taken."""
        builder = self._look(place, fingerprint.watched, parts)
        if TREE in fingerprint.watched:
            builder.tree(str(place.top), fingerprint.ignored)
        return builder.reliable and builder.digest == fingerprint.digest

    def _look(self, place: RepositoryPaths, watched: frozenset[str], parts: Parts) -> FingerprintBuilder:
        """Looks at everything but the working tree."""
        builder = FingerprintBuilder(parts)
        self._look_around(builder, place, watched)
        _look_at(builder, place, watched)
        return builder

    def _look_around(
        self, builder: FingerprintBuilder, place: RepositoryPaths, watched: frozenset[str]
    ) -> tuple[list[bytes], bytes]:
        """Looks at what every answer depends on; returns the configuration and HEAD."""
        own, common = str(place.git_directory), str(place.common_directory)
        builder.note((own, common, str(place.top), self._config))
        shared = builder.part(f"around {common}", lambda part: self._look_at_configuration(part, common))
        of_tree = builder.content(f"{own}/config.worktree")
        if of_tree:
            self._look_at_named(builder, of_tree)
        builder.file(f"{own}/info/sparse-checkout")
        return [*shared.contents, of_tree or b""], _look_at_head(builder, own, common, times=COMMIT not in watched)

    def _look_at_configuration(self, builder: FingerprintBuilder, common: str) -> None:
        """Looks at the configuration of user and repository, and at the rules for its files."""
        found = (builder.content(path) for path in (*self._config, f"{common}/config"))
        builder.contents += [content for content in found if content]
        for content in builder.contents:
            self._look_at_named(builder, content)
        named = ("info/exclude", "info/attributes", "info/grafts", "shallow", "refs/replace")
        for path in (*self._rules, *(f"{common}/{name}" for name in named)):
            builder.file(path)

    def _look_at_named(self, builder: FingerprintBuilder, configuration: bytes) -> None:
        """Looks at the files that the configuration names."""
        if _INCLUDES.search(configuration) or _OTHER_TREE.search(configuration):
            builder.reliable = False
        for named in _FILES_IN_CONFIG.findall(configuration):
            builder.file(str(self._user / os.fsdecode(named).removeprefix("~/")))


def _watched(read: Read) -> frozenset[str] | None:
    match read:
        case ReadStatus():
            return frozenset({INDEX, TREE})
        case ReadLog(revision=None):
            return frozenset({HEAD})
        case ReadLog(revision=str(revision)) if _HASH.fullmatch(revision):
            return frozenset({COMMIT})
        case ReadLog(revision=str(revision)) if not _UNWATCHED.search(revision):
            return frozenset({REFS})
        case ListRefs() | ListWorktrees():
            return frozenset({REFS, WORKTREES})
        case _:
            return None


def _may_follow(configuration: Iterable[bytes], head: bytes) -> bool:
    """Whether the checked out branch may have an upstream."""
    branch = head.removeprefix(b"ref: refs/heads/").strip()
    return b'"' in branch or any(b'[branch "' + branch in content for content in configuration)


def _tracked_files(place: RepositoryPaths) -> int:
    """The number in the index header."""
    try:
        with (place.git_directory / "index").open("rb") as index:
            head = index.read(12)
    except OSError:
        return 0
    return int.from_bytes(head[8:], "big")


def _look_at(builder: FingerprintBuilder, place: RepositoryPaths, watched: frozenset[str]) -> None:
    own, common = str(place.git_directory), str(place.common_directory)
    if REFS in watched:
        builder.part(f"refs {common}", lambda part: _look_at_refs(part, common))
        if own != common:
            _look_at_refs(builder, own)
    if WORKTREES in watched:
        builder.part(f"worktrees {common}", lambda part: _look_at_worktrees(part, common))
    if INDEX in watched:
        builder.file(f"{own}/index")
        builder.note([name for name in STATES if os.path.lexists(f"{own}/{name}")])


def _look_at_head(builder: FingerprintBuilder, own: str, common: str, *, times: bool) -> bytes:
    """Looks at HEAD, its branch and that branch's commit; returns HEAD."""
    head = content = builder.content(f"{own}/HEAD")
    if times:
        builder.file(f"{own}/HEAD")
    for directory in {own: None, common: None}:
        builder.content(f"{directory}/reftable/tables.list")
    for _ in range(_MOST_LINKS):
        if content is None:
            builder.file(f"{common}/packed-refs")
        if content is None or not content.startswith(b"ref: "):
            return head or b""
        path = f"{common}/{os.fsdecode(content[5:].strip())}"
        content = builder.content(path)
        if times:
            builder.file(path)
    builder.reliable = False
    return head or b""


def _look_at_refs(builder: FingerprintBuilder, directory: str) -> None:
    builder.refs(f"{directory}/refs")
    builder.file(f"{directory}/packed-refs")
    builder.content(f"{directory}/reftable/tables.list")


def _look_at_worktrees(builder: FingerprintBuilder, common: str) -> None:
    """Looks at the registered worktrees: their places and what is checked out."""
    builder.content(f"{common}/HEAD")
    builder.file(f"{common}/HEAD")
    if not builder.file(f"{common}/worktrees"):
        return
    for path in sorted(entry.path for entry in builder.entries(f"{common}/worktrees")):
        for name in ("HEAD", "gitdir", "locked"):
            builder.content(f"{path}/{name}")
            builder.file(f"{path}/{name}")
        builder.content(f"{path}/reftable/tables.list")
        builder.note(os.path.lexists(_tree_of(path)))


def _tree_of(registration: str) -> str:
    """The registered working tree."""
    written = read_small(f"{registration}/gitdir")
    return registration if written is None else os.fsdecode(written).strip()


class FingerprintBuilder:
    """Collects what is seen. ``reliable`` turns false when something cannot be judged from file metadata."""

    def __init__(self, parts: Parts | None = None) -> None:
        """``parts``: the parts that fingerprints taken together share."""
        self._seen: list[object] = []
        self._newest_ns = 0
        self._parts: Parts = {} if parts is None else parts
        self.reliable = True
        self.contents: list[bytes] = []
        """Raw contents for the caller to parse."""

    @property
    def digest(self) -> bytes:
        return blake2b(marshal.dumps(self._seen, _MARSHAL_VERSION), digest_size=16).digest()

    def is_settled(self, since_ns: int) -> bool:
        """Whether nothing that was seen has changed since ``since_ns`` (system clock)."""
        return self._newest_ns < since_ns

    def note(self, what: object) -> None:
        self._seen.append(what)

    def part(self, name: str, look: Callable[[FingerprintBuilder], None]) -> FingerprintBuilder:
        """Adds a part that several fingerprints share and that is looked at once; ``name`` identifies it."""
        seen = self._parts.get(name)
        if seen is None:
            seen = self._parts[name] = FingerprintBuilder(self._parts)
            look(seen)
        self._seen.append(seen.digest)
        self._newest_ns = max(self._newest_ns, seen._newest_ns)
        self.reliable = self.reliable and seen.reliable
        return seen

    def file(self, path: str) -> bool:
        """Adds a file's metadata, and that of a link's target; returns whether it exists. Every change of a file
        changes its ctime or, when it is replaced, its inode."""
        try:
            seen = os.lstat(path)
        except OSError:
            self._seen.append(None)
            return False
        self._metadata(seen)
        if stat.S_ISLNK(seen.st_mode):  # git follows links among its own files
            try:
                self._metadata(os.stat(path))  # noqa: PTH116 - called for every answer
            except OSError:
                self._seen.append(None)
        return True

    def content(self, path: str) -> bytes | None:
        """Adds and returns a small file's bytes."""
        content = read_small(path)
        self._seen.append(content)
        return content

    def refs(self, directory: str) -> None:
        """Adds all files below a directory of refs; the times of the directories show created and deleted ones."""
        below = [directory]
        while below:
            here = below.pop()
            if not self.file(here):
                continue
            for entry in sorted(self.entries(here), key=attrgetter("name")):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    self._seen.append(entry.name)
                    self.file(entry.path)

    def tree(self, top: str, ignored: Iterable[str]) -> None:
        """Adds a working tree without ignored paths. ``reliable`` only if it is small and contains no other
        repository."""
        skipped = {os.path.join(top, path.rstrip("/")) for path in ignored}  # noqa: PTH118 - called for every answer
        below = [top]
        looked_at = 0
        while below and looked_at <= MOST_ENTRIES:
            here = below.pop()
            self.file(here)
            for entry in self.entries(here):
                if entry.name == ".git":
                    self.reliable = self.reliable and here == top
                elif not skipped or entry.path not in skipped:
                    looked_at += 1
                    if self._is_directory(entry):
                        below.append(entry.path)  # its times are added with its contents
        self.reliable = self.reliable and looked_at <= MOST_ENTRIES

    def entries(self, directory: str) -> list[os.DirEntry[str]]:
        """The entries of a directory. It may have vanished or be unreadable; then ``reliable`` turns false."""
        try:
            with os.scandir(directory) as entries:
                return list(entries)
        except OSError:
            self.reliable = False
            return []

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        """Whether it is a directory; adds anything else."""
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:
            self.reliable = False
            return False
        self._seen.append(entry.name)
        if stat.S_ISDIR(seen.st_mode):
            return True
        self._metadata(seen)
        return False

    def _metadata(self, seen: os.stat_result) -> None:
        changed_ns = seen.st_ctime_ns
        is_directory = stat.S_ISDIR(seen.st_mode)
        self._seen.append((seen.st_ino, changed_ns, seen.st_mode, 0 if is_directory else seen.st_size))
        settled_ns = changed_ns + (STEP_NS if changed_ns % _SECOND_NS else _COARSE_STEP_NS)
        self._newest_ns = max(self._newest_ns, settled_ns)
