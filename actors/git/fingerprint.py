"""What of the file system an answer of git depends on, and whether it is still the same: seen quickly and without git.

An answer may be given again when everything that it was made from looks as it did then. A change that leaves no trace
in what is compared would make a stale answer. So an answer near to whose making something changed is not kept: file
systems keep time in steps, and a second change within one step would look the same (git has the same care with its
index).

The less an answer depends on the better: a commit of one member on its own branch must not end the answers in all other
working trees. So a status depends on the one branch that is checked out, unless it is compared with an upstream.
"""

from __future__ import annotations

import marshal
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TypeAlias

from actors.git.layout import read_small
from actors.git.model import Fingerprint, ListRefs, ListWorktrees, Read, ReadLog, ReadStatus, RepositoryPaths

STEP_NS = 50_000_000
"""Longer than the step in which Linux keeps the times of files."""
_COARSE_STEP_NS = 2_000_000_000
"""The same for file systems that know whole seconds only."""
_SECOND_NS = 1_000_000_000
_PLAIN = 2
"""Of the formats of ``marshal`` the last that writes equal values alike, whoever else holds them."""
MOST_ENTRIES = 1500
"""Of a working tree: of more, git itself tells the status sooner than they can be looked at here."""

Parts: TypeAlias = "dict[str, FingerprintBuilder]"


class FingerprintBuilder:
    """Gathers what is seen. ``reliable`` turns false when something cannot be told from a glance."""

    def __init__(self, parts: Parts | None = None) -> None:
        """``parts``: of all sights that are taken in one go."""
        self._seen: list[object] = []
        self._newest_ns = 0
        self._parts: Parts = {} if parts is None else parts
        self.reliable = True
        self.read: list[bytes] = []
        """What those who look at this sight must read of it themselves."""

    @property
    def digest(self) -> bytes:
        return blake2b(marshal.dumps(self._seen, _PLAIN), digest_size=16).digest()

    def is_settled(self, since_ns: int) -> bool:
        """Whether all that was seen has been as it is since before ``since_ns`` (of the system's clock)."""
        return self._newest_ns < since_ns

    def note(self, what: object) -> None:
        self._seen.append(what)

    def part(self, name: str, look: Callable[[FingerprintBuilder], None]) -> FingerprintBuilder:
        """What several sights have in common is looked at once in one go; ``name`` tells such parts apart."""
        seen = self._parts.get(name)
        if seen is None:
            seen = self._parts[name] = FingerprintBuilder(self._parts)
            look(seen)
        self._seen.append(seen.digest)
        self._newest_ns = max(self._newest_ns, seen._newest_ns)
        self.reliable = self.reliable and seen.reliable
        return seen

    def file(self, path: str) -> bool:
        """By its metadata: every change of a file changes its ctime or, when it is replaced, its inode. Of a link also
        what it leads to."""
        try:
            seen = os.lstat(path)
        except OSError:
            self._seen.append(None)
            return False
        self._metadata(seen)
        if stat.S_ISLNK(seen.st_mode):
            self._target(path)
        return True

    def _target(self, link: str) -> None:
        """git reads what a link of its own files leads to."""
        try:
            self._metadata(os.stat(link))  # noqa: PTH116 - called for every answer
        except OSError:
            self._seen.append(None)

    def content(self, path: str) -> bytes | None:
        """A small file's own bytes."""
        content = read_small(path)
        self._seen.append(content)
        return content

    def refs(self, directory: str) -> None:
        """All files below a directory of refs; those that come and go show in the times of the directories."""
        below = [directory]
        while below:
            here = below.pop()
            if not self.file(here):
                continue
            for entry in sorted(self.entries(here), key=_name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                else:
                    self._seen.append(entry.name)
                    self.file(entry.path)

    def tree(self, top: str, ignored: Iterable[str]) -> None:
        """A working tree without what git ignores. ``reliable`` only if it is small and holds no other repository."""
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
                        below.append(entry.path)  # its own times are noted with what is in it
        self.reliable = self.reliable and looked_at <= MOST_ENTRIES

    def entries(self, directory: str) -> list[os.DirEntry[str]]:
        """Of a directory that is there; others change it at any time, and some may not be read."""
        try:
            with os.scandir(directory) as entries:
                return list(entries)
        except OSError:
            self.reliable = False
            return []

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        """Notes it, unless it is one."""
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


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


HEAD, COMMIT, REFS, INDEX, TREE, WORKTREES = "head", "commit", "refs", "index", "tree", "worktrees"
"""``COMMIT``: only which one HEAD is at; that it was at another one meanwhile does not matter."""
STATES = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "BISECT_LOG": "bisect",
}
"""Files of a git directory that tell what is under way in its working tree."""
_FILES_IN_CONFIG = re.compile(rb"^\s*(?:excludesfile|attributesfile)\s*=\s*\"?([^\"\n]+?)\"?\s*$", re.MULTILINE | re.I)
_INCLUDES = re.compile(rb"^\s*\[\s*include", re.MULTILINE | re.I)
_OTHER_TREE = re.compile(rb"\bworktree\s*=", re.I)
"""Then the files are not where ``.git`` is."""
_UNWATCHED = re.compile(r"@\{|worktree|[\w/-]HEAD|HEAD[\w/-]|[A-Z]_[A-Z]")
"""Revisions that may stand for another commit though no ref has changed: by time or log, ``FETCH_HEAD`` and the like,
HEAD of another working tree."""
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MOST_LINKS = 5


def under_way(place: RepositoryPaths) -> str | None:
    """What somebody has begun in the working tree and not finished."""
    return next((what for name, what in STATES.items() if os.path.lexists(place.git_directory / name)), None)


class Fingerprinter:
    """Proves answers. ``environment`` is the one that git runs in: it says where the user's configuration is."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        user = Path(environment.get("HOME", "/nonexistent"))
        shared = Path(environment.get("XDG_CONFIG_HOME") or user / ".config") / "git"
        self._user = user
        self._config = [str(path) for path in (Path("/etc/gitconfig"), user / ".gitconfig", shared / "config")]
        self._rules = [str(shared / "ignore"), str(shared / "attributes")]

    def begin(
        self, place: RepositoryPaths, read: Read, since_ns: int, parts: Parts | None = None
    ) -> FingerprintedRead | None:
        """Before git is asked; None when the answer cannot be proved later. ``since_ns``: of the system's clock, before
        the first look at any of the ``parts`` (see ``FingerprintBuilder``)."""
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
        return FingerprintedRead(self, place, Fingerprint(digest=builder.digest, watched=watched), since_ns)

    def holds(self, place: RepositoryPaths, fingerprint: Fingerprint, parts: Parts | None = None) -> bool:
        """Whether everything looks as it did when the proof was made."""
        builder = self.look(place, fingerprint.watched, parts)
        if TREE in fingerprint.watched:
            builder.tree(str(place.top), fingerprint.ignored)
        return builder.reliable and builder.digest == fingerprint.digest

    def look(self, place: RepositoryPaths, watched: frozenset[str], parts: Parts | None = None) -> FingerprintBuilder:
        """At all but the working tree."""
        builder = FingerprintBuilder(parts)
        self._look_around(builder, place, watched)
        _look_at(builder, place, watched)
        return builder

    def _look_around(
        self, builder: FingerprintBuilder, place: RepositoryPaths, watched: frozenset[str]
    ) -> tuple[list[bytes], bytes]:
        """At what every answer depends on; tells the configuration and HEAD."""
        own, common = str(place.git_directory), str(place.common_directory)
        builder.note((own, common, str(place.top), self._config))
        shared = builder.part(f"around {common}", lambda part: self._look_at_configuration(part, common))
        of_tree = builder.content(f"{own}/config.worktree")
        if of_tree:
            self._look_at_named(builder, of_tree)
        builder.file(f"{own}/info/sparse-checkout")
        return [*shared.read, of_tree or b""], _look_at_head(builder, own, common, times=COMMIT not in watched)

    def _look_at_configuration(self, builder: FingerprintBuilder, common: str) -> None:
        """That of the user and of the repository, with the rules for its files."""
        found = (builder.content(path) for path in (*self._config, f"{common}/config"))
        builder.read += [content for content in found if content]
        for content in builder.read:
            self._look_at_named(builder, content)
        named = ("info/exclude", "info/attributes", "info/grafts", "shallow", "refs/replace")
        for path in (*self._rules, *(f"{common}/{name}" for name in named)):
            builder.file(path)

    def _look_at_named(self, builder: FingerprintBuilder, configuration: bytes) -> None:
        """At the files that it names."""
        if _INCLUDES.search(configuration) or _OTHER_TREE.search(configuration):
            builder.reliable = False
        for named in _FILES_IN_CONFIG.findall(configuration):
            builder.file(str(self._user / os.fsdecode(named).removeprefix("~/")))


class FingerprintedRead:
    """One answer while it is made. ``begun``: what was seen before, without the working tree."""

    def __init__(self, watch: Fingerprinter, place: RepositoryPaths, begun: Fingerprint, since_ns: int) -> None:
        self._watch = watch
        self._place = place
        self._begun = begun
        self._since_ns = since_ns

    def fingerprint(
        self, ignored: frozenset[str] = frozenset(), changed: Iterable[str] = (), parts: Parts | None = None
    ) -> Fingerprint | None:
        """After git has answered; None when something changed meanwhile or just before.

        ``ignored`` and ``changed``: paths in the working tree, of which git told. When one of those that have changed
        did so only just now, the look at all others is spared.
        """
        if len(ignored) > MOST_ENTRIES or not self._have_settled(changed):
            return None
        builder = self._watch.look(self._place, self._begun.watched, parts)
        if builder.digest != self._begun.digest:
            return None
        if TREE in self._begun.watched:
            builder.tree(str(self._place.top), ignored)
        if not (builder.reliable and builder.is_settled(self._since_ns)):
            return None
        return replace(self._begun, digest=builder.digest, ignored=ignored)

    def _have_settled(self, paths: Iterable[str]) -> bool:
        builder = FingerprintBuilder()
        for path in paths:
            builder.file(f"{self._place.top}/{path}")
        return builder.is_settled(self._since_ns)


def _may_follow(configuration: Iterable[bytes], head: bytes) -> bool:
    """Whether the branch that is checked out may be compared with an upstream."""
    branch = head.removeprefix(b"ref: refs/heads/").strip()
    return b'"' in branch or any(b'[branch "' + branch in content for content in configuration)


def _tracked_files(place: RepositoryPaths) -> int:
    """As the head of the index says."""
    try:
        with (place.git_directory / "index").open("rb") as index:
            head = index.read(12)
    except OSError:
        return 0
    return int.from_bytes(head[8:], "big")


def _watched(read: Read) -> frozenset[str] | None:
    match read:
        case ReadStatus():
            return frozenset({INDEX, TREE})
        case ReadLog(revision=None):
            return frozenset({HEAD})
        case ReadLog(revision=revision) if revision is not None and _HASH.fullmatch(revision):
            return frozenset({COMMIT})
        case ReadLog(revision=revision) if revision is not None and not _UNWATCHED.search(revision):
            return frozenset({REFS})
        case ListRefs():
            return frozenset({REFS, WORKTREES})
        case ListWorktrees():
            return frozenset({REFS, WORKTREES})
        case _:
            return None


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
    """HEAD and the branch that it is on, with what that is at; tells HEAD."""
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
    """Which there are, where they are and what each has checked out."""
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
    """The working tree that a registration is of."""
    written = read_small(f"{registration}/gitdir")
    return registration if written is None else os.fsdecode(written).strip()
