"""Saves a worktree's state as a commit under a ref of its own, without touching the agent's index and files.

``remove`` calls it: ``take_inventory`` lists the work that is nowhere else and checks that a commit can hold it;
``SnapshotMaker`` writes the commit and verifies it. Two equal inventories mean that nothing was written in between.
Files are stored byte for byte: no filter, line end rule or hook applies. What was staged but differs from the files is
the second parent, so ``git stash apply --index`` understands the commit.

The refs are ``refs/phalanx/saved/<name>``, then ``<name>.2``, ``<name>.3``, …. Each save stands alone and never moves,
so it can be viewed, merged or deleted by itself. A worktree's name has no dot, so the numbers are unambiguous.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from actors.git.layout import under_way
from actors.git.process import GitFailedError, GitRunner, RepositoryGit
from actors.worktrees.conversions import blob_of, kind_of, listing_of, not_given_back, read_link
from actors.worktrees.model import WorktreeKeptError, WorktreeLocation, registration_of
from actors.worktrees.prepare import UnchangedCopies
from actors.worktrees.source import WorktreeStatus, is_rebuilt, read_index, read_status, some_of

SAVED_REFS = "refs/phalanx/saved/"
CAREFUL = ("core.hooksPath=/dev/null", "core.fsync=all")
"""git settings for writes that must survive a crash and skip hooks."""
_MOST_TRIES = 5
_FIELDS = "--format=%(refname) %(objectname) %(tree) %(parent)"
MOST_FILES = 20_000
MOST_FILE_BYTES = 100_000_000
MOST_BYTES = 500_000_000
_STRICT = (
    *("-c", "core.trustctime=true"),
    *("-c", "core.checkStat=default"),
    *("-c", "core.untrackedCache=false"),
    *("-c", "core.fileMode=true"),
    *("-c", "core.ignoreCase=false"),
)
"""Makes git compare all metadata of a file; some settings would make it look less closely."""
_WRITE_TIMEOUT_S = 120.0
_PLAIN_INDEX = ("-c", "core.splitIndex=false", "-c", "index.sparse=false", "-c", "core.sparseCheckout=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """The metadata of a regular file or symbolic link. Every write changes it."""

    mode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int

    @property
    def git_mode(self) -> str:
        if stat.S_ISLNK(self.mode):
            return "120000"
        return "100755" if self.mode & stat.S_IXUSR else "100644"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorktreeState:
    """What a worktree holds that a commit does not."""

    commit: str
    """HEAD's commit."""
    status: WorktreeStatus
    hidden: tuple[str, ...]
    """Files whose changes git was told to ignore; they may have none."""
    ignored: tuple[str, ...]
    """Ignored files that no program rebuilds, and that are no unchanged copies."""
    converted: tuple[str, ...]
    """Files that git calls unchanged but would not give back unchanged."""
    empty: tuple[str, ...]
    """Empty directories, which no commit can hold."""
    files: dict[str, FileState | None]
    """All files that may differ from the index, by path; None for a missing file."""
    index: FileState | None

    def describe(self) -> str | None:
        """The uncommitted work in words; None without any."""
        if self.status.changed:
            changes = "change is" if len(self.status.changed) == 1 else "changes are"
            return f"{len(self.status.changed)} uncommitted {changes} in it ({some_of(self.status.changed)})"
        if self.ignored:
            return f"files that git ignores are in it and nowhere else ({some_of(self.ignored)})"
        if self.converted:
            return f"git's filters do not keep all of some files in it ({some_of(self.converted)})"
        if self.hidden:
            return f"git was told not to look at changes of some files in it ({some_of(self.hidden)})"
        return None


def take_inventory(git: GitRunner, location: WorktreeLocation) -> WorktreeState:
    """Raises ``WorktreeKeptError`` when a commit cannot hold all of it, ``WorkspaceError`` when git fails."""
    registration = registration_of(location.worktree)
    if registration is None or registration != location.registration.resolve():
        raise WorktreeKeptError(
            "it is no longer the worktree that was made for the instance (its .git points elsewhere)"
        )
    _check_idle(registration)
    tree = _walk(location.worktree)
    if (registration / "modules").exists():
        raise WorktreeKeptError("repositories of submodules are in it")
    status = read_status(
        listing_of(
            *(git, location, *_STRICT, "status", "--porcelain=v1", "-z", "--no-renames"),
            *("--untracked-files=all", "--ignored=matching", "--ignore-submodules=none"),
        )
    )
    if status.in_conflict:
        raise WorktreeKeptError(f"conflicts are not resolved in it ({some_of(status.in_conflict)})")
    if listing_of(git, location, "for-each-ref", "--count=1", "--", "refs/worktree", "refs/rewritten"):
        raise WorktreeKeptError("it has refs that belong to it alone (git for-each-ref refs/worktree refs/rewritten)")
    head = git.run(location.worktree, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not head.ok:
        raise WorktreeKeptError("its HEAD is no commit")
    index = read_index(listing_of(git, location, "ls-files", "-v", "-z"))
    _check_all_listed(location.worktree, tree, {*index.paths, *status.changed, *status.ignored})
    hidden = (*index.unwatched, *(path for path in index.skipped if os.path.lexists(location.worktree / path)))
    copies = UnchangedCopies(location.worktree, registration)
    listed = _spread(location.worktree, (path for path in status.ignored if not is_rebuilt(path)))
    ignored = tuple(path for path in listed if path not in copies)
    converted = not_given_back(git, location, besides={*status.differing, *hidden})
    return WorktreeState(
        commit=head.output.strip(),
        status=status,
        hidden=hidden,
        ignored=ignored,
        converted=converted,
        empty=tuple(sorted(path for path, names in tree.items() if names is None)),
        files=_look_at(location.worktree, (*status.differing, *hidden, *ignored, *converted), tree),
        index=_state(registration / "index"),
    )


def _check_idle(registration: Path) -> None:
    if (what := under_way(registration)) is not None:
        raise WorktreeKeptError(f"a {what} is under way in it")
    if (registration / "locked").exists():
        raise WorktreeKeptError("it is locked (git worktree unlock ends that)")


def _walk(worktree: Path) -> dict[str, list[str] | None]:
    """The names of the files and links in every directory, None for an empty one. git does not list all of them."""
    device = worktree.lstat().st_dev
    tree: dict[str, list[str] | None] = {}
    for place, below, files in os.walk(worktree, onerror=_refuse):
        path = os.path.relpath(place, worktree)
        if path == ".":
            files.remove(".git")
        elif ".git" in below or ".git" in files:
            raise WorktreeKeptError(f"another repository is in it ({path + '/'!a})")
        if Path(place).lstat().st_dev != device:
            raise WorktreeKeptError(f"another file system is mounted in it ({path!a})")
        links = [name for name in below if (Path(place) / name).is_symlink()]
        tree[path] = [*files, *links] if files or below else None
    return tree


def _check_all_listed(worktree: Path, tree: dict[str, list[str] | None], listed: Container[str]) -> None:
    """Raises ``WorktreeKeptError`` for files that git does not list, as in the directory of a submodule."""
    for directory, names in tree.items():
        parents = (directory, *map(str, Path(directory).parents))
        if not names or any(f"{parent}/" in listed for parent in parents):
            continue
        paths = [name if directory == "." else f"{directory}/{name}" for name in names]
        unlisted = tuple(path for path in paths if path not in listed and _is_savable(worktree / path))
        if unlisted:
            raise WorktreeKeptError(f"git does not look at files in it ({some_of(unlisted)})")


def _spread(worktree: Path, ignored: Iterator[str]) -> Iterator[str]:
    """The files in directories that git lists as one entry, without sockets and pipes, which hold no work."""
    for path in ignored:
        if not path.endswith("/"):
            yield path
            continue
        for place, below, files in os.walk(worktree / path, onerror=_refuse):
            below[:] = sorted(below)
            links = [name for name in below if (Path(place) / name).is_symlink()]
            found = (os.path.relpath(Path(place) / name, worktree) for name in (*links, *sorted(files)))
            yield from (name for name in found if not is_rebuilt(name) and _is_savable(worktree / name))


def _refuse(error: OSError) -> None:
    raise WorktreeKeptError(f"a directory in it cannot be read ({error.filename!a}: {error.strerror})") from error


def _look_at(worktree: Path, paths: tuple[str, ...], tree: Container[str]) -> dict[str, FileState | None]:
    if len(paths) > MOST_FILES:
        raise WorktreeKeptError(
            f"{len(paths)} files would have to be saved, and {MOST_FILES} are the most ({some_of(paths)})"
        )
    places = tuple(path for path in paths if path.endswith("/"))
    if places:
        raise WorktreeKeptError(f"git does not look into directories in it ({some_of(places)})")
    # A path below a link that once was a directory leads to a file elsewhere.
    files = {path: _state(worktree / path) if _parent(path) in tree else None for path in paths}
    large = tuple(path for path, state in files.items() if state is not None and state.size_bytes > MOST_FILE_BYTES)
    if large:
        raise WorktreeKeptError(f"files in it are larger than {MOST_FILE_BYTES // 1_000_000} MB ({some_of(large)})")
    if sum(state.size_bytes for state in files.values() if state is not None) > MOST_BYTES:
        raise WorktreeKeptError(f"what would have to be saved is larger than {MOST_BYTES // 1_000_000} MB together")
    return files


def _parent(path: str) -> str:
    return str(Path(path).parent)


def _state(path: Path) -> FileState | None:
    """None without a file. Raises ``WorktreeKeptError`` for anything but a plain file or link."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WorktreeKeptError(f"a file in it cannot be read ({str(path)!a}: {error.strerror})") from error
    if stat.S_ISDIR(found.st_mode):
        return None
    if not _is_plain(found.st_mode):
        raise WorktreeKeptError(f"something that is no plain file has the place of one ({str(path)!a})")
    return FileState(
        mode=found.st_mode,
        size_bytes=found.st_size,
        modified_ns=found.st_mtime_ns,
        changed_ns=found.st_ctime_ns,
        inode=found.st_ino,
    )


def _is_plain(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _is_savable(path: Path) -> bool:
    try:
        return _is_plain(path.lstat().st_mode)
    except OSError:
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeSnapshot:
    """The trees of one moment. They are in the repository, but no ref holds them yet."""

    commit: str
    """HEAD's commit."""
    committed: str
    staged: str
    whole: str
    """Everything in the worktree."""

    @property
    def adds_nothing(self) -> bool:
        return self.committed == self.staged == self.whole

    @property
    def needs_second_parent(self) -> bool:
        return self.staged not in {self.committed, self.whole}


class SnapshotMaker:
    """Makes snapshots of one worktree. Scratch files are in its registration, which is removed with it."""

    def __init__(self, git: GitRunner, location: WorktreeLocation, objects: Path | None = None) -> None:
        """``objects``: an empty directory for new objects, when the repository must not change."""
        self._git = git
        self._location = location
        own = str(location.git_directory / "objects")
        self._objects = (
            {"GIT_OBJECT_DIRECTORY": str(objects), "GIT_ALTERNATE_OBJECT_DIRECTORIES": own} if objects else {}
        )

    def take(self, inventory: WorktreeState) -> TreeSnapshot:
        """Writes the trees. Raises ``WorktreeKeptError`` when git cannot store them, or files changed meanwhile."""
        committed = self._ask("rev-parse", "--verify", f"{inventory.commit}^{{tree}}").strip()
        try:
            with tempfile.TemporaryDirectory(prefix="phalanx-", dir=self._location.registration) as directory:
                return self._take(inventory, committed, Path(directory))
        except OSError as error:
            raise WorktreeKeptError(f"its state cannot be written down ({error.strerror})") from error

    def keep(self, snapshot: TreeSnapshot, inventory: WorktreeState) -> str:
        """The ref that holds the snapshot, existing or new. Its objects are checked to be complete."""
        repository, name = self._git.repository(self._location.git_directory), self._location.name
        ref = self.find(snapshot) or add_saved(repository, name, lambda ref: self._commit(snapshot, inventory, ref))
        # A clean-up may have removed objects before the ref existed; this finds out.
        self._ask("rev-list", "--objects", "--quiet", ref, "--not", inventory.commit)
        return ref

    def find(self, snapshot: TreeSnapshot) -> str | None:
        """An existing ref with this snapshot."""
        parents = (snapshot.commit, *((self._commit_staged(snapshot),) if snapshot.needs_second_parent else ()))
        saves = list_saved(self._git.repository(self._location.git_directory), self._location.name)
        return next((saved.name for saved in saves if (saved.tree, saved.parents) == (snapshot.whole, parents)), None)

    def _take(self, inventory: WorktreeState, committed: str, scratch: Path) -> TreeSnapshot:
        index = scratch / "index"
        with suppress(FileNotFoundError):
            shutil.copyfile(self._location.registration / "index", index)
        environment = {"GIT_INDEX_FILE": str(index)}
        staged = self._ask("write-tree", environment=environment).strip()
        blobs = self._write_blobs(inventory, scratch)
        index.unlink(missing_ok=True)
        self._ask("read-tree", staged, environment=environment)
        absent = "0" * len(staged)
        gone = [f"0 {absent}\t{path}" for path, state in inventory.files.items() if state is None]
        there = [f"{mode} {blob}\t{path}" for path, (mode, blob) in blobs.items()]
        changes = "".join(f"{line}\0" for line in (*gone, *there))
        self._ask("update-index", "-z", "--index-info", stdin=os.fsencode(changes), environment=environment)
        whole = self._ask("write-tree", environment=environment).strip()
        self._verify(inventory, staged, whole)
        return TreeSnapshot(commit=inventory.commit, committed=committed, staged=staged, whole=whole)

    def _write_blobs(self, inventory: WorktreeState, scratch: Path) -> dict[str, tuple[str, str]]:
        """Writes each file as a blob; returns mode and hash by path."""
        there = {path: state.git_mode for path, state in inventory.files.items() if state is not None}
        sources = []
        for number, (path, mode) in enumerate(there.items()):
            source = path
            if mode == "120000":
                target = scratch / f"link-{number}"
                target.write_bytes(read_link(self._location.worktree / path))
                source = str(target)
            sources.append(_quoted(source))
        if not sources:
            return {}
        stdin = b"".join(source + b"\n" for source in sources)
        written = self._ask("hash-object", "-w", "-t", "blob", "--no-filters", "--stdin-paths", stdin=stdin).split()
        return {path: (mode, blob) for (path, mode), blob in zip(there.items(), written, strict=True)}

    def _verify(self, inventory: WorktreeState, staged: str, whole: str) -> None:
        """Compares the written tree with the files by hash and mode, computed without git."""
        kind = kind_of(whole)
        expected = self._list(staged)
        for path, state in inventory.files.items():
            expected.pop(path, None)
            if state is not None:
                expected[path] = (state.git_mode, blob_of(self._location.worktree / path, state.git_mode, kind))
        written = self._list(whole)
        refused = tuple(path for path in expected if path not in written)
        if refused:
            raise WorktreeKeptError(f"git refuses the names of files in it ({some_of(refused)})")
        if expected != written:
            raise WorktreeKeptError(
                "its files are not what was saved of them a moment before: something still writes in it"
            )

    def _list(self, tree: str) -> dict[str, tuple[str, str]]:
        entries = (entry.split("\t", 1) for entry in self._ask("ls-tree", "-r", "-z", tree).split("\0") if entry)
        return {path: (about.split(" ")[0], about.split(" ")[2]) for about, path in entries}

    def _commit(self, snapshot: TreeSnapshot, inventory: WorktreeState, ref: str) -> str:
        parents = ["-p", snapshot.commit]
        if snapshot.needs_second_parent:
            parents += ["-p", self._commit_staged(snapshot)]
        message = _message(self._location, snapshot, inventory, ref)
        return self._commit_tree(snapshot.whole, parents, message, f"@{int(time.time())} +0000")

    def _commit_staged(self, snapshot: TreeSnapshot) -> str:
        """Deterministic: the same state gives the same commit, which identifies an earlier save."""
        date = self._ask("show", "--no-patch", "--format=%ct", snapshot.commit, "--").split()[-1]
        message = f"What was staged by {self._location.name}\n"
        return self._commit_tree(snapshot.staged, ["-p", snapshot.commit], message, f"@{date} +0000")

    def _commit_tree(self, tree: str, parents: list[str], message: str, date: str) -> str:
        person = {"NAME": "Phalanx", "EMAIL": "phalanx@localhost", "DATE": date}
        environment = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in person.items()}
        words = ("commit-tree", "--no-gpg-sign", *parents, "-F", "-", tree)
        return self._ask(*words, stdin=message.encode(), environment=environment).strip()

    def _ask(self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        words = (*(word for setting in CAREFUL for word in ("-c", setting)), *_PLAIN_INDEX, *arguments)
        answer = self._git.run(
            self._location.worktree,
            *words,
            stdin=stdin,
            environment={**self._objects, **(environment or {})},
            timeout_s=_WRITE_TIMEOUT_S,
        )
        if not answer.ok:
            raise WorktreeKeptError(f"git cannot save its state: {answer.last_words}")
        return answer.output


def _message(location: WorktreeLocation, snapshot: TreeSnapshot, inventory: WorktreeState, ref: str) -> str:
    lines = [
        f"Work of {location.name}, saved by Phalanx",
        "",
        f"Instance: {location.name}",
        f"Branch: {location.branch}",
        f"Commit that it was on: {snapshot.commit}",
        f"Worktree: {str(location.worktree)!a}",
        f"Saved: {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}",
    ]
    if inventory.status.changed:
        lines.append(f"Not committed: {len(inventory.status.changed)} file(s): {some_of(inventory.status.changed)}")
    if inventory.ignored:
        lines.append(f"Ignored by git, but part of this commit: {some_of(inventory.ignored)}")
    if inventory.converted:
        lines += [
            f"As they were, not as git's filters would keep them: {some_of(inventory.converted)}",
            f"To get such a file back: git cat-file blob {ref}:PATH > PATH",
        ]
    if inventory.empty:
        lines.append(f"Empty directories, which no commit can hold: {some_of(inventory.empty)}")
    if snapshot.needs_second_parent:
        lines.append("What was staged is not what the files hold; it is the second parent of this commit.")
    lines += ["", "To get all of it back:", f"    git checkout -b {location.name}-saved {ref}"]
    if snapshot.needs_second_parent:
        lines += ["To get it back as changes, staged and not:", f"    git stash apply --index {ref}"]
    return "\n".join(lines) + "\n"


def _quoted(path: str) -> bytes:
    """Quoted as git reads any name in a list with one name per line."""
    return b'"' + b"".join(b"\\%03o" % byte for byte in os.fsencode(path)) + b'"'


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRef:
    """One save. ``name`` is the full ref."""

    name: str
    number: int
    commit: str
    tree: str
    parents: tuple[str, ...]


def list_saved(repository: RepositoryGit, name: str) -> list[SavedRef]:
    """The saves of the worktree ``name``, oldest first."""
    listing: str = repository.for_each_ref(_FIELDS, "--", SAVED_REFS + name, f"{SAVED_REFS}{name}.*")
    found = []
    for line in listing.splitlines():
        ref, commit, tree, *parents = line.split(" ")
        number = ref.removeprefix(SAVED_REFS + name).removeprefix(".") or "1"
        if number.isdecimal():
            parents = [parent for parent in parents if parent]
            found.append(SavedRef(name=ref, number=int(number), commit=commit, tree=tree, parents=tuple(parents)))
    return sorted(found, key=lambda saved: saved.number)


def next_saved(repository: RepositoryGit, name: str) -> str:
    """The ref that ``add_saved`` would create."""
    return _named(name, _last_number(repository, name) + 1)


def add_saved(repository: RepositoryGit, name: str, commit_for: Callable[[str], str]) -> str:
    """Creates and returns the next ref of ``name``. ``commit_for`` makes the commit for the ref's name.

    Raises ``WorktreeKeptError`` when git does not create it.
    """
    number = _last_number(repository, name)
    for tries_left in reversed(range(_MOST_TRIES - 1)):
        number += 1
        ref = _named(name, number)
        commit = commit_for(ref)
        try:
            repository(c=CAREFUL).update_ref("-m", "Saved by phalanx", ref, commit, "0" * len(commit))
        except GitFailedError as error:
            # Another call took the number, or a killed git has left its lock.
            if not tries_left or "exists" not in error.answer.error:
                raise WorktreeKeptError(f"git does not make {ref}: {error.answer.last_words}") from error
        else:
            break
    return ref


def _last_number(repository: RepositoryGit, name: str) -> int:
    return max((saved.number for saved in list_saved(repository, name)), default=0)


def _named(name: str, number: int) -> str:
    return f"{SAVED_REFS}{name}" if number == 1 else f"{SAVED_REFS}{name}.{number}"
