"""Removes worktrees once their work is held elsewhere or saved, and clears directories without an instance.

``manager`` calls it. Promises: a worktree that is not understood, or cannot be saved unchanged, is kept, with the
reason. The steps are ordered so that each may be the last: save, rename (set aside), unregister, delete. So a killed
process leaves either the whole worktree or a directory whose content refs hold, and the next call finishes the removal.

Orphans are found from the disk alone, so this also works when the team's state is lost. A directory in which a process
works, or which another call holds, is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import psutil

from actors.errors import WorkspaceError
from actors.git.process import GitFailedError, GitRunner, pauses_s
from actors.worktrees.create import (
    claimed_existing,
    clear_unfinished,
    delete_branch,
    find_branch,
    find_holder,
    is_claimed,
    is_reachable,
    is_unfinished,
    plan_deletion,
)
from actors.worktrees.model import (
    OrphanWorktree,
    PlannedRemovals,
    RemovalResult,
    WorktreeKeptError,
    WorktreeLocation,
    bound_to,
    branch_of,
    directory_of,
    original_of,
    registration_of,
)
from actors.worktrees.snapshot import SnapshotMaker, WorktreeState, add_saved, list_saved, next_saved, take_inventory

_TRIES = 3
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_NOT_OURS = "it is not a worktree, so its content is unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWork:
    """A save that a removal makes or finds."""

    ref: str
    what: str
    """Ends a sentence: the work that would be nowhere else."""


def remove(
    git: GitRunner,
    location: WorktreeLocation,
    *,
    made_at: str | None = None,
    planned: PlannedRemovals | None = None,
) -> RemovalResult:
    """Removes worktree and branch as far as no work is lost. ``made_at`` as in ``delete_branch``.

    ``planned``: changes nothing; returns the result that the removal will have after these, and adds it to them.
    """
    if not location.git_directory.is_dir():
        gone = f"The repository {location.git_directory} is gone; what is left in {location.worktree} is kept."
        return RemovalResult(removed=False, kept_reason=gone, branch_deleted=False)
    saved = None
    try:
        with claimed_existing(location.worktree) as there:
            if planned is not None:
                saved = _plan_saving(git, location, planned) if there else _saved_before(git, location)
                return _removed(saved, plan_deletion(git.repository(location.git_directory), location, planned))
            if there:
                saved = set_aside(git, location)
                return _finish(git, location, saved, made_at)
        with claimed_existing(location.set_aside):
            return _finish(git, location, _saved_before(git, location), made_at)
    except WorktreeKeptError as reason:
        return RemovalResult(
            removed=False,
            kept_reason=f"The worktree {location.worktree} (branch {location.branch}) is kept: {reason}.",
            branch_deleted=False,
            saved_ref=saved.ref if saved else None,
        )


def _finish(git: GitRunner, location: WorktreeLocation, saved: SavedWork | None, made_at: str | None) -> RemovalResult:
    unregister(git, location)
    branch_kept = delete_branch(git.repository(location.git_directory), location.branch, made_at=made_at)
    try:
        delete_directory(location.set_aside)
    except OSError as error:
        left = f"{location.set_aside} cannot be deleted ({error.strerror}); nothing in it is unsaved."
        return _removed(saved, branch_kept, left)
    return _removed(saved, branch_kept)


def _removed(saved: SavedWork | None, branch_kept: str | None, left: str | None = None) -> RemovalResult:
    saved_first = f"What was only in its worktree was saved first: {saved.what}." if saved else None
    return RemovalResult(
        removed=True,
        kept_reason=" ".join(filter(None, (saved_first, branch_kept, left))) or None,
        branch_deleted=branch_kept is None,
        saved_ref=saved.ref if saved else None,
    )


def _saved_before(git: GitRunner, location: WorktreeLocation) -> SavedWork | None:
    saves = list_saved(git.repository(location.git_directory), location.name)
    return SavedWork(ref=saves[-1].name, what="see its commit message") if saves else None


def save_state(git: GitRunner, location: WorktreeLocation) -> tuple[SavedWork | None, WorktreeState]:
    """Saves the worktree; returns the save and what it is of. None: everything is held elsewhere.

    The caller holds the worktree's lock. Raises ``WorktreeKeptError`` when it cannot be saved unchanged.
    """
    maker = SnapshotMaker(git, location)
    for _ in range(_TRIES - 1):
        inventory = take_inventory(git, location)
        try:
            return _save(git, location, inventory, maker), inventory
        except WorktreeKeptError:
            # A failure because of a concurrent write may not repeat.
            if take_inventory(git, location) == inventory:
                raise
    inventory = take_inventory(git, location)
    return _save(git, location, inventory, maker), inventory


def set_aside(git: GitRunner, location: WorktreeLocation) -> SavedWork | None:
    """Saves the worktree as ``save_state`` does, then renames it to ``location.set_aside``.

    Raises ``WorktreeKeptError`` when it stays.
    """
    for _ in range(_TRIES):
        saved, inventory = save_state(git, location)
        if take_inventory(git, location) != inventory:
            continue
        try:
            delete_directory(location.set_aside)
            location.worktree.rename(location.set_aside)
        except OSError as error:
            raise WorktreeKeptError(f"it cannot be moved ({error.strerror})") from error
        return saved
    raise WorktreeKeptError("something still writes in it")


def unregister(git: GitRunner, location: WorktreeLocation) -> None:
    """Unregisters the renamed worktree; one that somebody else moved stays registered.

    Raises ``WorktreeKeptError``, with the worktree back in its place, when it was just locked.
    """
    registration = location.registration
    if os.path.lexists(location.worktree) or not location.set_aside.exists() or not _is_of(registration, location):
        return
    try:
        git.repository(location.git_directory).worktree("remove", "--", location.worktree)
    except GitFailedError as error:
        if (registration / "locked").exists():
            with suppress(OSError):
                location.set_aside.rename(location.worktree)
            raise WorktreeKeptError(f"git does not remove it: {error.answer.last_words}") from error
    # git stops halfway when another git, such as a clean-up, writes there at that moment.
    for pause_s in pauses_s():
        shutil.rmtree(registration, ignore_errors=True)
        if not registration.exists():
            return
        time.sleep(pause_s)
    raise WorkspaceError(f"{registration} cannot be deleted; nothing of the worktree is unsaved. Try again.")


def _is_of(registration: Path, location: WorktreeLocation) -> bool:
    """Whether the registration, perhaps incomplete, is of this worktree and not of another home with the same name."""
    directory = directory_of(registration)
    return directory == location.worktree or (
        directory is None and registration.exists() and not (registration / "locked").exists()
    )


def delete_directory(directory: Path) -> None:
    """Raises ``OSError`` when some of it stays. No-op without it."""
    if not os.path.lexists(directory):
        return
    shutil.rmtree(directory, ignore_errors=True)
    if os.path.lexists(directory):
        # Some programs make their directories read-only.
        for place, _, _ in os.walk(directory):
            os.chmod(place, 0o700)  # noqa: PTH101  # the name may be no UTF-8
        shutil.rmtree(directory)


def _plan_saving(git: GitRunner, location: WorktreeLocation, planned: PlannedRemovals) -> SavedWork | None:
    """What ``set_aside`` would save; adds it to ``planned``. Raises as ``set_aside``."""
    inventory = take_inventory(git, location)
    with tempfile.TemporaryDirectory(prefix="phalanx-") as objects:
        saved = _save(git, location, inventory, SnapshotMaker(git, location, Path(objects)), planned)
    if saved is not None:
        planned.held.add((location.git_directory, inventory.commit))
    return saved


def _save(
    git: GitRunner,
    location: WorktreeLocation,
    inventory: WorktreeState,
    maker: SnapshotMaker,
    planned: PlannedRemovals | None = None,
) -> SavedWork | None:
    """Saves the uncommitted work, else the commit, unless it is held elsewhere. With ``planned`` only says so."""
    repository, name = git.repository(location.git_directory), location.name
    uncommitted = inventory.describe()
    if uncommitted is not None:
        snapshot = maker.take(inventory)
        if not snapshot.adds_nothing:
            if planned is None:
                return SavedWork(ref=maker.keep(snapshot, inventory), what=uncommitted)
            return SavedWork(ref=maker.find(snapshot) or next_saved(repository, name), what=uncommitted)
    commit = inventory.commit
    unmerged = _unmerged(location, commit)
    own = [saved for saved in list_saved(repository, name) if saved.commit == commit]
    if own:
        return SavedWork(ref=own[0].name, what=unmerged)
    if _is_held(git, location, commit, planned or PlannedRemovals()):
        return None
    if planned is None:
        return SavedWork(ref=add_saved(repository, name, lambda _: commit), what=unmerged)
    return SavedWork(ref=next_saved(repository, name), what=unmerged)


def _is_held(git: GitRunner, location: WorktreeLocation, commit: str, planned: PlannedRemovals) -> bool:
    if commit == location.base_commit:
        return True
    besides = {location.branch, *planned.branches_gone(location.git_directory)}
    repository = git.repository(location.git_directory)
    if find_holder(repository, commit, besides=besides) is not None:
        return True
    return planned.holds(location.git_directory, lambda tip: is_reachable(repository, commit, tip=tip))


def _unmerged(location: WorktreeLocation, commit: str) -> str:
    return f"its commit {commit[:12]} is not merged: no branch or tag but {location.branch} has it"


class _OrphanKind(Enum):
    WORKTREE = auto()
    """Removed like the worktree of an instance."""
    UNFINISHED = auto()
    """Its creation was cut off."""
    SET_ASIDE = auto()
    """Its removal was cut off, and another worktree may have its name: only the directory is deleted."""
    STRANGE = auto()
    """Not a worktree. In an empty one a worktree may just be made; then it is locked."""


def list_orphans(git: GitRunner, root: Path, known: frozenset[str]) -> tuple[OrphanWorktree, ...]:
    found = []
    for path in sorted(root.iterdir()):
        name = (original_of(path) or path).name
        if not _is_ours(path) or name in known or is_claimed(path):
            continue
        with suppress(FileNotFoundError):  # another call may remove it meanwhile
            try:
                found.append(_describe(git, path))
            except PermissionError as error:
                found.append(_orphan(path, state=f"It cannot be read ({error.strerror})."))
    return tuple(found)


def _describe(git: GitRunner, path: Path) -> OrphanWorktree:
    location = _location_of(path)
    if location is not None and not location.git_directory.is_dir():
        return _orphan(path, state=f"The repository {location.git_directory} is gone.")
    if original_of(path) is not None:
        cut_off = "Its removal was cut off; nothing in it is unsaved."
        return _orphan(path, git_directory=location.git_directory if location else None, state=cut_off)
    if location is None:
        empty = not any(path.iterdir())
        return _orphan(path, state="It is empty." if empty else "It is not a worktree, so its content is unknown.")
    try:
        unfinished = is_unfinished(location.git_directory, path)
        state = "It was never finished." if unfinished else describe_work(git, location)
        branch = location.branch if find_branch(git.repository(location.git_directory), location.branch) else None
    except WorkspaceError as error:
        return _orphan(path, git_directory=location.git_directory, state=str(error))
    return _orphan(path, git_directory=location.git_directory, branch=branch, unfinished=unfinished, state=state)


def _orphan(
    path: Path, *, state: str, git_directory: Path | None = None, branch: str | None = None, unfinished: bool = False
) -> OrphanWorktree:
    # git writes .git once, when it makes the worktree.
    git_file = path / ".git"
    made = git_file if os.access(path, os.X_OK) and git_file.is_file() else path
    return OrphanWorktree(
        path=path,
        git_directory=git_directory,
        branch=branch,
        unfinished=unfinished,
        state=state,
        age_s=max(0.0, time.time() - made.stat().st_mtime),
    )


def describe_work(git: GitRunner, location: WorktreeLocation) -> str:
    """A sentence on the work that is in the worktree and nowhere else. Changes nothing."""
    try:
        inventory = take_inventory(git, location)
    except WorktreeKeptError as reason:
        return f"It cannot be saved: {reason}."
    held = _is_held(git, location, inventory.commit, PlannedRemovals())
    unmerged = None if held else _unmerged(location, inventory.commit)
    found = [words for words in (inventory.describe(), unmerged) if words is not None]
    return f"Work that is nowhere else: {', and '.join(found)}." if found else "It is clean and merged."


def remove_orphan(git: GitRunner, path: Path, *, planned: PlannedRemovals | None = None) -> RemovalResult:
    """Removes an orphan. Reads its state again, which may have changed since it was listed.

    ``planned`` as in ``remove``.
    """
    try:
        return _remove_orphan(git, path, planned)
    except WorktreeKeptError as reason:
        return RemovalResult(removed=False, kept_reason=f"{path} is kept: {reason}.", branch_deleted=False)


def _remove_orphan(git: GitRunner, path: Path, planned: PlannedRemovals | None) -> RemovalResult:
    kind, location = _examine(path)
    if kind is _OrphanKind.WORKTREE and location is not None:
        return remove(git, location, planned=planned)
    if kind is _OrphanKind.UNFINISHED and location is not None:
        free = clear_unfinished(git, location.git_directory, path) if planned is None else not is_claimed(path)
        if not free:
            raise WorktreeKeptError("another call of Phalanx is working in it")
        return RemovalResult(removed=True, kept_reason=None, branch_deleted=True)
    with claimed_existing(path) as there:
        if there and kind is _OrphanKind.STRANGE and any(path.iterdir()):
            raise WorktreeKeptError(_NOT_OURS)
        if there and planned is None:
            _delete_orphan(path, kind)
    return RemovalResult(removed=True, kept_reason=None, branch_deleted=False)


def _examine(path: Path) -> tuple[_OrphanKind, WorktreeLocation | None]:
    """Raises ``WorktreeKeptError`` when it is not ours or a process works in it."""
    if not _is_ours(path):
        raise WorktreeKeptError("it is not a directory that was made here")
    location = _location_of(path)
    whole = location is not None and location.git_directory.is_dir()
    if original_of(path) is not None:
        free = whole and location is not None and not os.path.lexists(location.worktree)
        return (_OrphanKind.WORKTREE if free else _OrphanKind.SET_ASIDE), location
    if location is None:
        return _OrphanKind.STRANGE, None
    if whole and is_unfinished(location.git_directory, path):
        return _OrphanKind.UNFINISHED, location
    if whole:
        _check_nobody_inside(location)
    return _OrphanKind.WORKTREE, location


def _delete_orphan(path: Path, kind: _OrphanKind) -> None:
    try:
        if kind is _OrphanKind.STRANGE:
            path.rmdir()  # another program may just have written in it
        else:
            delete_directory(path)
    except OSError as error:
        reason = f"it cannot be deleted ({error.strerror}); nothing in it is unsaved"
        raise WorktreeKeptError(_NOT_OURS if kind is _OrphanKind.STRANGE else reason) from error


def _check_nobody_inside(location: WorktreeLocation) -> None:
    if (location.registration / "index.lock").exists():
        raise WorktreeKeptError(
            f"a git process is working in it; if none is, delete {location.registration / 'index.lock'}"
        )
    insider = next(_processes_in(location.worktree), None)
    if insider is not None:
        raise WorktreeKeptError(f"the process {insider} is working in it")


def _processes_in(directory: Path) -> Iterator[int]:
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(directory):
            yield process.pid


def _location_of(path: Path) -> WorktreeLocation | None:
    """The worktree at ``path``, or renamed to it; None when it is not ours."""
    worktree = original_of(path) or path
    registration = registration_of(path)
    if registration is None or registration.parent.name != "worktrees" or registration.name != worktree.name:
        return None
    return WorktreeLocation(
        worktree=worktree,
        git_directory=registration.parent.parent,
        branch=bound_to(registration) or branch_of(worktree.name),
        base_commit=None,
    )


def _is_ours(path: Path) -> bool:
    return _NAME.fullmatch((original_of(path) or path).name) is not None and path.is_dir() and not path.is_symlink()
