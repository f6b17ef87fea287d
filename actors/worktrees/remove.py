"""Removing worktrees: only when their work is merged or saved, and what is left of them.

Saves what is in a worktree, and takes the worktree away once nothing in it can be lost.

It never decides for loss: whatever is not understood, or cannot be saved as it is, is kept, with the reason. The
directory goes in one step, by its name; only then it is deleted. So a process that is killed leaves either the whole
worktree or a directory whose content is held by refs, and the next call finishes what is left.

The steps of a removal, in an order in which each can be the last: save, set aside, unregister, delete.

While a directory that was set aside is there, the removal is not finished; whoever meets it goes on from where it is.

Finds and clears directories below the worktrees' root that no instance has any more.

It goes by what is on the disk alone, so it also works when the team's state is lost. A directory in which a process is
at work, or that another call holds, is left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from actors.errors import WorkspaceError
from actors.git.process import GitRunner, pauses_s
from actors.worktrees.create import (
    claimed_existing,
    clear_unfinished,
    delete_branch,
    find_branch,
    find_holder,
    foresee_deletion,
    is_claimed,
    is_reachable,
    is_unfinished,
)
from actors.worktrees.model import (
    KeptError,
    Leftover,
    Rehearsal,
    Retirement,
    Site,
    bound_to,
    branch_of,
    directory_of,
    original_of,
    registration_of,
)
from actors.worktrees.snapshot import Inventory, SnapshotMaker, add_saved, list_saved, next_saved, take_inventory

_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    ref: str
    what: str
    """Words that end a sentence: what would be nowhere else."""
    is_there: bool = False
    """The ref was made before."""


def save_state(git: GitRunner, site: Site) -> Saved | None:
    """Saves all that is in the worktree; None when there is nothing that is not held elsewhere.

    The caller holds the worktree's lock. Raises ``KeptError`` when it cannot be saved as it is.
    """
    return _save(git, site)[0]


def foresee_saving(git: GitRunner, site: Site, rehearsal: Rehearsal) -> Saved | None:
    """What ``set_aside`` would save. Raises ``KeptError`` as it would."""
    inventory = take_inventory(git, site)
    with tempfile.TemporaryDirectory(prefix="phalanx-") as objects:
        saved = _would_save(git, site, inventory, SnapshotMaker(git, site, Path(objects)), rehearsal)
    if saved is not None:
        rehearsal.held.add((str(site.git_directory), inventory.commit))
    return saved


def _would_save(
    git: GitRunner, site: Site, inventory: Inventory, maker: SnapshotMaker, rehearsal: Rehearsal
) -> Saved | None:
    uncommitted = inventory.describe()
    if uncommitted is not None:
        snapshot = maker.take(inventory)
        if not snapshot.adds_nothing:
            ref = maker.find(snapshot) or next_saved(git, site.git_directory, site.name)
            return Saved(ref=ref, what=uncommitted)
    return _commit_to_save(git, site, inventory.commit, rehearsal)


def set_aside(git: GitRunner, site: Site) -> Saved | None:
    """Saves the worktree's state as ``save_state`` does, then moves the directory to ``site.set_aside``.

    Raises ``KeptError`` when it stays.
    """
    for _ in range(_TRIES):
        saved, inventory = _save(git, site)
        if take_inventory(git, site) != inventory:
            continue
        try:
            delete_directory(site.set_aside)
            site.worktree.rename(site.set_aside)
        except OSError as error:
            raise KeptError(f"it cannot be moved ({error.strerror})") from error
        return saved
    raise KeptError("something still writes in it")


def unregister(git: GitRunner, site: Site) -> None:
    """Lets git forget the worktree that was set aside; one that somebody else moved away stays registered.

    Raises ``KeptError``, with the worktree back in its place, when it was locked at the last moment.
    """
    registration = site.registration
    if os.path.lexists(site.worktree) or not site.set_aside.exists() or not _is_of(registration, site):
        return
    answer = git.run_in_repository(site.git_directory, "worktree", "remove", "--", str(site.worktree))
    if (registration / "locked").exists():
        with suppress(OSError):
            site.set_aside.rename(site.worktree)
        raise KeptError(f"git does not remove it: {answer.last_words}")
    # Git gives up in the middle when another one, such as a clean-up, writes there at that moment.
    for pause_s in pauses_s():
        shutil.rmtree(registration, ignore_errors=True)
        if not registration.exists():
            return
        time.sleep(pause_s)
    raise WorkspaceError(f"{registration} cannot be deleted; nothing of the worktree is unsaved. Try again.")


def _is_of(registration: Path, site: Site) -> bool:
    """Whether it is there and of this worktree, also if half of it is gone: another home may have taken the name."""
    directory = directory_of(registration)
    return directory == site.worktree or (
        directory is None and registration.exists() and not (registration / "locked").exists()
    )


def delete_directory(directory: Path) -> None:
    """Raises ``OSError`` when something of it stays. No-op when it is not there."""
    if not os.path.lexists(directory):
        return
    shutil.rmtree(directory, ignore_errors=True)
    if os.path.lexists(directory):
        # Some programs take the write permission from their directories.
        for place, _, _ in os.walk(directory):
            os.chmod(place, 0o700)  # noqa: PTH101  # the name may be no UTF-8
        shutil.rmtree(directory)


def describe_work(git: GitRunner, site: Site) -> str:
    """A sentence on what is in the worktree and nowhere else. Changes nothing."""
    try:
        inventory = take_inventory(git, site)
    except KeptError as reason:
        return f"It cannot be saved: {reason}."
    unmerged = None if _is_held(git, site, inventory.commit, Rehearsal()) else _unmerged(site, inventory.commit)
    found = [words for words in (inventory.describe(), unmerged) if words is not None]
    return f"Work that is nowhere else: {', and '.join(found)}." if found else "It is clean and merged."


def _save(git: GitRunner, site: Site) -> tuple[Saved | None, Inventory]:
    for _ in range(_TRIES - 1):
        inventory = take_inventory(git, site)
        try:
            return _save_once(git, site, inventory), inventory
        except KeptError:
            # What failed because somebody wrote in the meantime may work in a moment.
            if take_inventory(git, site) == inventory:
                raise
    inventory = take_inventory(git, site)
    return _save_once(git, site, inventory), inventory


def _save_once(git: GitRunner, site: Site, inventory: Inventory) -> Saved | None:
    uncommitted = inventory.describe()
    if uncommitted is not None:
        maker = SnapshotMaker(git, site)
        snapshot = maker.take(inventory)
        if not snapshot.adds_nothing:
            return Saved(ref=maker.keep(snapshot, inventory), what=uncommitted)
    missing = _commit_to_save(git, site, inventory.commit, Rehearsal())
    if missing is None or missing.is_there:
        return missing
    return replace(missing, ref=add_saved(git, site.git_directory, site.name, lambda _: inventory.commit))


def _commit_to_save(git: GitRunner, site: Site, commit: str, rehearsal: Rehearsal) -> Saved | None:
    """Under which ref the worktree's commit is saved, or has to be; None when something else holds it."""
    unmerged = _unmerged(site, commit)
    own = [saved for saved in list_saved(git, site.git_directory, site.name) if saved.commit == commit]
    if own:
        return Saved(ref=own[0].name, what=unmerged, is_there=True)
    if _is_held(git, site, commit, rehearsal):
        return None
    return Saved(ref=next_saved(git, site.git_directory, site.name), what=unmerged)


def _is_held(git: GitRunner, site: Site, commit: str, rehearsal: Rehearsal) -> bool:
    if commit == site.base_commit:
        return True
    place = str(site.git_directory)
    besides = {site.branch, *rehearsal.branches_gone(place)}
    if find_holder(git, site.git_directory, commit, besides=besides) is not None:
        return True
    return rehearsal.holds(place, lambda tip: is_reachable(git, site.git_directory, commit, tip=tip))


def _unmerged(site: Site, commit: str) -> str:
    return f"its commit {commit[:12]} is not merged: no branch or tag but {site.branch} has it"


def remove(git: GitRunner, site: Site, *, made_at: str | None = None, rehearsal: Rehearsal | None = None) -> Retirement:
    """Removes worktree and branch as far as that loses nothing. ``made_at`` as in ``delete_branch``.

    With a ``rehearsal`` nothing is changed; the answer is what it would be.
    """
    if not site.git_directory.is_dir():
        gone = f"The repository {site.git_directory} is gone; what is left in {site.worktree} is kept."
        return Retirement(removed=False, kept_reason=gone, branch_deleted=False)
    saved = None
    try:
        with claimed_existing(site.worktree) as there:
            if there:
                saved = foresee_saving(git, site, rehearsal) if rehearsal is not None else set_aside(git, site)
                return _finish(git, site, saved, made_at, rehearsal)
        with claimed_existing(site.set_aside):
            return _finish(git, site, _saved_before(git, site), made_at, rehearsal)
    except KeptError as reason:
        return Retirement(
            removed=False,
            kept_reason=f"The worktree {site.worktree} (branch {site.branch}) is kept: {reason}.",
            branch_deleted=False,
            saved_ref=saved.ref if saved else None,
        )


def _saved_before(git: GitRunner, site: Site) -> Saved | None:
    saves = list_saved(git, site.git_directory, site.name)
    return Saved(ref=saves[-1].name, what="see its commit message") if saves else None


def _finish(
    git: GitRunner, site: Site, saved: Saved | None, made_at: str | None, rehearsal: Rehearsal | None
) -> Retirement:
    if rehearsal is None:
        unregister(git, site)
        branch_kept = delete_branch(git, site.git_directory, site.branch, made_at=made_at)
    else:
        branch_kept = foresee_deletion(git, site, made_at, rehearsal)
    notes = [] if saved is None else [f"What was only in its worktree was saved first: {saved.what}."]
    if branch_kept is not None:
        notes.append(branch_kept)
    try:
        if rehearsal is None:
            delete_directory(site.set_aside)
    except OSError as error:
        notes.append(f"{site.set_aside} cannot be deleted ({error.strerror}); nothing in it is unsaved.")
    return Retirement(
        removed=True,
        kept_reason=" ".join(notes) or None,
        branch_deleted=branch_kept is None,
        saved_ref=saved.ref if saved else None,
    )


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_CUT_OFF = "Its removal was cut off; nothing in it is unsaved."


def list_leftovers(git: GitRunner, root: Path, known: frozenset[str]) -> tuple[Leftover, ...]:
    found = []
    for path in sorted(root.iterdir()):
        name = (original_of(path) or path).name
        if _is_ours(path) and name not in known and not is_claimed(path):
            # It may be collected while it is looked at.
            with suppress(FileNotFoundError):
                found.append(_look_at(git, path))
    return tuple(found)


def collect_leftover(git: GitRunner, path: Path, rehearsal: Rehearsal | None = None) -> Retirement:
    """What was listed may have changed since; it is looked at again. With a ``rehearsal`` nothing is changed."""
    try:
        return _collect(git, path, rehearsal)
    except KeptError as reason:
        return Retirement(removed=False, kept_reason=f"{path} is kept: {reason}.", branch_deleted=False)


def _collect(git: GitRunner, path: Path, rehearsal: Rehearsal | None) -> Retirement:
    if not _is_ours(path):
        raise KeptError("it is no directory that was made here")
    site = _site_of(path)
    if original_of(path) is not None:
        return _collect_set_aside(git, path, site, rehearsal)
    if site is None:
        return _collect_strange(path, rehearsal)
    if not site.git_directory.is_dir():
        return remove(git, site, rehearsal=rehearsal)
    if is_unfinished(site.git_directory, path):
        cleared = not is_claimed(path) if rehearsal is not None else clear_unfinished(git, site.git_directory, path)
        if not cleared:
            raise KeptError("another call of Phalanx is at work in it")
        return Retirement(removed=True, kept_reason=None, branch_deleted=True)
    _check_nobody_inside(site)
    return remove(git, site, rehearsal=rehearsal)


def _collect_set_aside(git: GitRunner, path: Path, site: Site | None, rehearsal: Rehearsal | None) -> Retirement:
    """The last step only, unless the name is free: a worktree that was made under it since has its own branch."""
    if site is not None and site.git_directory.is_dir() and not os.path.lexists(site.worktree):
        return remove(git, site, rehearsal=rehearsal)
    with claimed_existing(path) as there:
        try:
            if there and rehearsal is None:
                delete_directory(path)
        except OSError as error:
            raise KeptError(f"it cannot be deleted ({error.strerror}); nothing in it is unsaved") from error
    return Retirement(removed=True, kept_reason=None, branch_deleted=False)


def _collect_strange(path: Path, rehearsal: Rehearsal | None) -> Retirement:
    """An empty directory may be one in which a worktree is just being made; then it is locked."""
    strange = KeptError("it is no worktree, so nobody knows what is in it")
    with claimed_existing(path) as there:
        if there and rehearsal is not None and any(path.iterdir()):
            raise strange
        try:
            if there and rehearsal is None:
                path.rmdir()
        except OSError as error:
            raise strange from error
    return Retirement(removed=True, kept_reason=None, branch_deleted=False)


def _check_nobody_inside(site: Site) -> None:
    if (site.registration / "index.lock").exists():
        raise KeptError(f"a git process is at work in it; if none is, delete {site.registration / 'index.lock'}")
    insider = next(_processes_in(site.worktree), None)
    if insider is not None:
        raise KeptError(f"the process {insider} is at work in it")


def _processes_in(directory: Path) -> Iterator[int]:
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(directory):
            yield process.pid


def _look_at(git: GitRunner, path: Path) -> Leftover:
    try:
        return _describe(git, path)
    except PermissionError as error:
        return _leftover(path, state=f"It cannot be read ({error.strerror}).")


def _describe(git: GitRunner, path: Path) -> Leftover:
    site = _site_of(path)
    if site is not None and not site.git_directory.is_dir():
        return _leftover(path, state=f"The repository {site.git_directory} is gone.")
    if original_of(path) is not None:
        return _leftover(path, git_directory=site.git_directory if site else None, state=_CUT_OFF)
    if site is None:
        empty = not any(path.iterdir())
        return _leftover(path, state="It is empty." if empty else "It is no worktree, so nobody knows what is in it.")
    try:
        unfinished = is_unfinished(site.git_directory, path)
        state = "It was never finished." if unfinished else describe_work(git, site)
        branch = site.branch if find_branch(git, site.git_directory, site.branch) else None
    except WorkspaceError as error:
        return _leftover(path, git_directory=site.git_directory, state=str(error))
    return _leftover(path, git_directory=site.git_directory, branch=branch, unfinished=unfinished, state=state)


def _leftover(
    path: Path, *, state: str, git_directory: Path | None = None, branch: str | None = None, unfinished: bool = False
) -> Leftover:
    # Git writes the file once, when it makes the worktree.
    git_file = path / ".git"
    made = git_file if os.access(path, os.X_OK) and git_file.is_file() else path
    return Leftover(
        path=path,
        git_directory=git_directory,
        branch=branch,
        unfinished=unfinished,
        state=state,
        age_s=max(0.0, time.time() - made.stat().st_mtime),
    )


def _site_of(path: Path) -> Site | None:
    """The worktree at ``path``, or that was set aside there; None when it is none of ours."""
    worktree = original_of(path) or path
    registration = registration_of(path)
    if registration is None or registration.parent.name != "worktrees" or registration.name != worktree.name:
        return None
    return Site(
        worktree=worktree,
        git_directory=registration.parent.parent,
        branch=bound_to(registration) or branch_of(worktree.name),
        base_commit=None,
    )


def _is_ours(path: Path) -> bool:
    return _NAME.fullmatch((original_of(path) or path).name) is not None and path.is_dir() and not path.is_symlink()
