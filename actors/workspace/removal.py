"""The steps of a removal, in an order in which each can be the last: save, set aside, unregister, delete.

While a directory that was set aside is there, the removal is not finished; whoever meets it goes on from where it is.
"""

from __future__ import annotations

from actors.workspace.branches import delete_branch, foresee_deletion
from actors.workspace.claims import claimed_existing
from actors.workspace.command import GitRunner
from actors.workspace.rehearsal import Rehearsal
from actors.workspace.retirement import Saved, delete_directory, foresee_saving, set_aside, unregister
from actors.workspace.saved_refs import list_saved
from actors.workspace.site import KeptError, Site
from actors.workspace.values import Retirement


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
