"""Saves what is in a worktree, and takes the worktree away once nothing in it can be lost.

It never decides for loss: whatever is not understood, or cannot be saved as it is, is kept, with the reason. The
directory goes in one step, by its name; only then it is deleted. So a process that is killed leaves either the whole
worktree or a directory whose content is held by refs, and the next call finishes what is left.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.branches import find_holder, is_reachable
from actors.workspace.command import GitRunner, pauses_s
from actors.workspace.inventory import Inventory, take_inventory
from actors.workspace.rehearsal import Rehearsal
from actors.workspace.saved_refs import add_saved, list_saved, next_saved
from actors.workspace.site import KeptError, Site, directory_of
from actors.workspace.snapshot import SnapshotMaker

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
