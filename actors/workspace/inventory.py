"""Takes stock of a worktree without changing anything: what of it is nowhere else, and whether a commit could hold it.

Retiring and saving call it before they do anything, and once more before a directory goes: two inventories that are
equal mean that nobody wrote in between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.changes import Status, is_rebuilt, read_index, read_status, some_of
from actors.workspace.command import GitRunner
from actors.workspace.conversions import not_given_back
from actors.workspace.site import KeptError, Site, registration_of

MOST_FILES = 20_000
MOST_FILE_BYTES = 100_000_000
MOST_BYTES = 500_000_000
_UNDER_WAY = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "sequencer": "cherry-pick or revert",
    "BISECT_LOG": "bisect",
}
_STRICT = (
    *("-c", "core.trustctime=true"),
    *("-c", "core.checkStat=default"),
    *("-c", "core.untrackedCache=false"),
    *("-c", "core.fileMode=true"),
    *("-c", "core.ignoreCase=false"),
)
"""A file is only taken for unchanged when all that git noted about it is: some settings make it look less closely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A regular file or a symbolic link. Whoever writes to it changes this."""

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
class Inventory:
    commit: str
    """What HEAD is at."""
    status: Status
    hidden: tuple[str, ...]
    """Files of which git was told not to look at their changes. They may have none."""
    ignored: tuple[str, ...]
    """Files that git ignores and that no program makes anew."""
    converted: tuple[str, ...]
    """Files that git calls unchanged and would not give back as they are."""
    empty: tuple[str, ...]
    """Directories without a file, which no commit can hold."""
    files: dict[str, FileState | None]
    """All that may differ from what the index has, by path; None for a file that is not there (any more)."""
    index: FileState | None

    def describe(self) -> str | None:
        """What is not committed, in words; None when everything is."""
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


def take_inventory(git: GitRunner, site: Site) -> Inventory:
    """Raises ``KeptError`` when a commit could not hold all of it, ``WorkspaceError`` when git cannot tell."""
    registration = registration_of(site.worktree)
    if registration is None or registration != site.registration.resolve():
        raise KeptError("it is no longer the worktree that was made for the instance (its .git points elsewhere)")
    _check_idle(registration)
    tree = _walk(site.worktree)
    if (registration / "modules").exists():
        raise KeptError("repositories of submodules are in it")
    status = read_status(
        _read(
            *(git, site, *_STRICT, "status", "--porcelain=v1", "-z", "--no-renames"),
            *("--untracked-files=all", "--ignored=matching", "--ignore-submodules=none"),
        )
    )
    if status.in_conflict:
        raise KeptError(f"conflicts are not resolved in it ({some_of(status.in_conflict)})")
    if _read(git, site, "for-each-ref", "--count=1", "--", "refs/worktree", "refs/rewritten"):
        raise KeptError("it has refs that belong to it alone (git for-each-ref refs/worktree refs/rewritten)")
    head = git.run(site.worktree, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not head.ok:
        raise KeptError("its HEAD is no commit")
    index = read_index(_read(git, site, "ls-files", "-v", "-z"))
    _check_all_listed(site.worktree, tree, {*index.paths, *status.changed, *status.ignored})
    hidden = (*index.unwatched, *(path for path in index.skipped if os.path.lexists(site.worktree / path)))
    ignored = tuple(_spread(site.worktree, (path for path in status.ignored if not is_rebuilt(path))))
    converted = not_given_back(git, site, besides={*status.differing, *hidden})
    return Inventory(
        commit=head.output.strip(),
        status=status,
        hidden=hidden,
        ignored=ignored,
        converted=converted,
        empty=tuple(sorted(path for path, names in tree.items() if names is None)),
        files=_look_at(site.worktree, (*status.differing, *hidden, *ignored, *converted), tree),
        index=_state(registration / "index"),
    )


def _check_idle(registration: Path) -> None:
    under_way = next((what for name, what in _UNDER_WAY.items() if (registration / name).exists()), None)
    if under_way is not None:
        raise KeptError(f"a {under_way} is under way in it")
    if (registration / "locked").exists():
        raise KeptError("it is locked (git worktree unlock ends that)")


def _walk(worktree: Path) -> dict[str, list[str] | None]:
    """The names of the files and links in every directory, None when that is empty. Git does not look everywhere."""
    device = worktree.lstat().st_dev
    tree: dict[str, list[str] | None] = {}
    for place, below, files in os.walk(worktree, onerror=_refuse):
        path = os.path.relpath(place, worktree)
        if path == ".":
            files.remove(".git")
        elif ".git" in below or ".git" in files:
            raise KeptError(f"another repository is in it ({path + '/'!a})")
        if Path(place).lstat().st_dev != device:
            raise KeptError(f"another file system is mounted in it ({path!a})")
        links = [name for name in below if (Path(place) / name).is_symlink()]
        tree[path] = [*files, *links] if files or below else None
    return tree


def _check_all_listed(worktree: Path, tree: dict[str, list[str] | None], listed: Container[str]) -> None:
    """Raises ``KeptError`` when there are files of which git says nothing, as in the directory of a submodule."""
    for directory, names in tree.items():
        parents = (directory, *map(str, Path(directory).parents))
        if not names or any(f"{parent}/" in listed for parent in parents):
            continue
        paths = [name if directory == "." else f"{directory}/{name}" for name in names]
        unlisted = tuple(path for path in paths if path not in listed and _is_savable(worktree / path))
        if unlisted:
            raise KeptError(f"git does not look at files in it ({some_of(unlisted)})")


def _spread(worktree: Path, ignored: Iterator[str]) -> Iterator[str]:
    """Each file of what git lists as one directory. Sockets and pipes hold nothing that could be lost."""
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
    raise KeptError(f"a directory in it cannot be read ({error.filename!a}: {error.strerror})") from error


def _look_at(worktree: Path, paths: tuple[str, ...], tree: Container[str]) -> dict[str, FileState | None]:
    if len(paths) > MOST_FILES:
        raise KeptError(f"{len(paths)} files would have to be saved, and {MOST_FILES} are the most ({some_of(paths)})")
    places = tuple(path for path in paths if path.endswith("/"))
    if places:
        raise KeptError(f"git does not look into directories in it ({some_of(places)})")
    # A path below a link that was once a directory leads to somebody else's file.
    files = {path: _state(worktree / path) if _parent(path) in tree else None for path in paths}
    large = tuple(path for path, state in files.items() if state is not None and state.size_bytes > MOST_FILE_BYTES)
    if large:
        raise KeptError(f"files in it are larger than {MOST_FILE_BYTES // 1_000_000} MB ({some_of(large)})")
    if sum(state.size_bytes for state in files.values() if state is not None) > MOST_BYTES:
        raise KeptError(f"what would have to be saved is larger than {MOST_BYTES // 1_000_000} MB together")
    return files


def _parent(path: str) -> str:
    return str(Path(path).parent)


def _state(path: Path) -> FileState | None:
    """None when there is no file. Raises ``KeptError`` for what is no plain file."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise KeptError(f"a file in it cannot be read ({str(path)!a}: {error.strerror})") from error
    if stat.S_ISDIR(found.st_mode):
        return None
    if not _is_plain(found.st_mode):
        raise KeptError(f"something that is no plain file has the place of one ({str(path)!a})")
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


def _read(git: GitRunner, site: Site, *arguments: str) -> str:
    answer = git.run(site.worktree, *arguments)
    if not answer.ok:
        raise WorkspaceError(
            f"git cannot tell whether {site.worktree} holds work, so nothing was removed: {answer.last_words}. "
            f"Look at it by hand."
        )
    return answer.output
