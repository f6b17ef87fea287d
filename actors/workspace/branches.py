"""Branches: made only if they are not there, deleted only as long as another one holds their commits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from actors.errors import WorkspaceError
from actors.workspace.command import Answer, GitRunner
from actors.workspace.rehearsal import Rehearsal
from actors.workspace.site import Site
from actors.workspace.unfinished import comes_back_to

_SAFE_PLACES = ("refs/heads", "refs/remotes", "refs/tags", "refs/phalanx")
_FIELDS = "--format=%(refname)%00%(objectname)%00%(worktreepath)%00%(symref)%00%(HEAD)%00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    name: str
    target: str
    checked_out_in: str
    is_alias: bool
    is_head: bool
    """HEAD of the repository (not of a worktree of ours) is on it."""


def create_branch(git: GitRunner, git_directory: Path, branch: str, commit: str) -> Answer:
    """Makes the branch; fails if there is one of that name, however short a time ago it was made."""
    absent = "0" * len(commit)
    return git.run_in_repository(
        git_directory, "update-ref", "-m", "branch: Created by phalanx", _ref(branch), commit, absent
    )


def find_branch(git: GitRunner, git_directory: Path, branch: str) -> Ref | None:
    return next((ref for ref in _refs(git, git_directory, _ref(branch)) if ref.name == _ref(branch)), None)


def find_holder(
    git: GitRunner, git_directory: Path, commit: str, *, besides: Collection[str], in_branches: bool = False
) -> Ref | None:
    """A ref other than the branches ``besides`` from which ``commit`` can be reached."""
    places = ("refs/heads",) if in_branches else _SAFE_PLACES
    found = _refs(git, git_directory, *places, containing=commit)
    others = set(map(_ref, besides))
    return next((ref for ref in found if ref.name not in others and not ref.is_alias), None)


def is_reachable(git: GitRunner, git_directory: Path, commit: str, *, tip: str) -> bool:
    return git.run_in_repository(git_directory, "merge-base", "--is-ancestor", commit, tip).ok


def foresee_deletion(git: GitRunner, site: Site, made_at: str | None, rehearsal: Rehearsal) -> str | None:
    """What ``delete_branch`` would answer once the worktree is gone."""
    own = find_branch(git, site.git_directory, site.branch)
    gone = rehearsal.branches_gone(str(site.git_directory))
    if own is None or site.branch in gone:
        return None
    if own.checked_out_in and Path(own.checked_out_in) == site.worktree:
        own = replace(own, checked_out_in="")
    kept = _why_waited_for(site.git_directory, site.branch, leaving=site.registration)
    if kept is None:
        kept, _ = _why_kept(git, site.git_directory, own, made_at, besides={site.branch, *gone})
    if kept is None:
        rehearsal.gone.add((str(site.git_directory), site.branch))
    return kept


def delete_branch(git: GitRunner, git_directory: Path, branch: str, *, made_at: str | None = None) -> str | None:
    """Deletes the branch if that loses no commit; otherwise says why it stays.

    It may go when another branch holds its commits, or when it still is at ``made_at``. Both refs are compared and one
    deleted in a single transaction: two that hold each other's commits cannot go at the same time. Only a branch that
    HEAD is on is not compared: it is never deleted here, and git would note a deletion in HEAD's log.
    """
    own = find_branch(git, git_directory, branch)
    if own is None:
        return None
    kept, holder = _why_kept(git, git_directory, own, made_at, besides={branch})
    kept = kept or _why_waited_for(git_directory, branch)
    if kept is not None:
        return kept
    steps = {own.name: f"delete {own.name}\0{own.target}\0"}
    if holder is not None and not holder.is_head:
        steps[holder.name] = f"verify {holder.name}\0{holder.target}\0"
    # Git locks them in this order: two that hold each other's commits would otherwise wait for each other.
    in_order = "".join(steps[name] for name in sorted(steps))
    stdin = in_order.encode(errors="surrogateescape")
    answer = git.run_in_repository(git_directory, "update-ref", "--stdin", "-z", stdin=stdin)
    if not answer.ok:
        return f"The branch {branch} stays, because git did not delete it: {answer.last_words}"
    # What a push may have noted about the branch; most have nothing, and then git says so.
    git.run_in_repository(git_directory, "config", "--local", "--remove-section", f"branch.{branch}")
    return None


def _why_kept(
    git: GitRunner, git_directory: Path, own: Ref, made_at: str | None, *, besides: Collection[str]
) -> tuple[str | None, Ref | None]:
    """Why the branch must stay; if it may go, perhaps another one that holds its commits."""
    branch = own.name.removeprefix(_ref(""))
    if own.checked_out_in or own.is_head:
        return f"The branch {branch} is checked out in {own.checked_out_in or git_directory}.", None
    if own.target == made_at:
        return None, None
    holder = find_holder(git, git_directory, own.target, besides=besides, in_branches=True)
    if holder is None:
        return f"The branch {branch} has commits that no other branch has; merge it, then delete it.", None
    return None, holder


def _why_waited_for(git_directory: Path, branch: str, *, leaving: Path | None = None) -> str | None:
    waiting = comes_back_to(git_directory, branch, besides=leaving)
    return None if waiting is None else f"The branch {branch} is being rebased or bisected: {waiting} tells where."


def _refs(git: GitRunner, git_directory: Path, *patterns: str, containing: str | None = None) -> list[Ref]:
    only = () if containing is None else ("--contains", containing)
    answer = git.run_in_repository(git_directory, "for-each-ref", _FIELDS, *only, "--", *patterns)
    if not answer.ok:
        raise WorkspaceError(
            f"git cannot list the branches of {git_directory}: {answer.last_words}. Repair it, then try again."
        )
    # Every field ends in a zero byte, because the path of a worktree may hold a newline; so a newline begins a name.
    fields = iter(answer.output.split("\0")[:-1])
    return [
        Ref(name=name.strip(), target=target, checked_out_in=worktree, is_alias=bool(alias), is_head=head == "*")
        for name, target, worktree, alias, head in zip(fields, fields, fields, fields, fields, strict=True)
    ]


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"
