"""Finds and clears directories below the worktrees' root that no instance has any more.

It goes by what is on the disk alone, so it also works when the team's state is lost. A directory in which a process is
at work, or that another call holds, is left alone.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from actors.errors import WorkspaceError
from actors.workspace.branches import find_branch
from actors.workspace.claims import claimed_existing, is_claimed
from actors.workspace.command import GitRunner
from actors.workspace.rehearsal import Rehearsal
from actors.workspace.removal import remove
from actors.workspace.retirement import delete_directory, describe_work
from actors.workspace.site import KeptError, Site, bound_to, branch_of, original_of, registration_of
from actors.workspace.values import Leftover, Retirement
from actors.workspace.worktree import clear_unfinished, is_unfinished

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
