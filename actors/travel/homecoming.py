"""Work of instances on other hosts, in the repository that it belongs to.

What an instance has is always held under ``refs/phalanx/instances/<name>``. Its branch follows as long as nobody else
has moved it or works on it; otherwise it stays and a note says so. Saves are only ever added. Every method blocks.
"""

from __future__ import annotations

from pathlib import Path

from actors.errors import WorkspaceError
from actors.travel.unpacking import unpack
from actors.travel.values import Arrival, Work
from actors.workspace.branches import Ref, find_branch
from actors.workspace.command import GitRunner
from actors.workspace.saved_refs import DURABLE, NO_HOOKS, SAVED_REFS, add_saved, list_saved

INSTANCE_REFS = "refs/phalanx/instances/"
_WRITE = ("update-ref", "-m", "Carried home by phalanx")
_LATEST = ".latest"
"""Ends the ref of the newest save that was made while the agent was at work."""


def tips_at_home(git: GitRunner, git_directory: Path, work: Work) -> tuple[str, ...]:
    """What of the work is there, and where it may have begun, so that only the rest is carried."""
    refs = (f"refs/heads/{work.branch}", INSTANCE_REFS + work.name, SAVED_REFS + work.name, "refs/heads")
    answer = git.run_in_repository(git_directory, "for-each-ref", "--format=%(objectname)", "--", *refs)
    if not answer.ok:
        raise WorkspaceError(f"git cannot list the branches of {git_directory}: {answer.last_words}. Repair it.")
    present = [commit for commit in work.commits if git.run_in_repository(git_directory, "cat-file", "-e", commit).ok]
    held = [*dict.fromkeys(answer.output.split())]
    return tuple(dict.fromkeys([*(present if _all_held(git, git_directory, present) else ()), *held]))


def _all_held(git: GitRunner, git_directory: Path, commits: list[str]) -> bool:
    """Whether refs reach all of them: an object that is merely there may lack what belongs to it."""
    if not commits:
        return False
    answer = git.run_in_repository(git_directory, "rev-list", "--max-count=1", *commits, "--not", "--all")
    return answer.ok and not answer.output.strip()


def bring_home(git: GitRunner, git_directory: Path, work: Work, parcel: Path | None) -> Arrival:
    """Takes what came into refs, and moves the branch if that is safe. May be repeated. Raises ``WorkspaceError``."""
    if parcel is not None:
        unpack(git, git_directory, parcel, work.commits)
    known = tip_of(git, git_directory, INSTANCE_REFS + work.name)
    for ref, commit in work.saved.items():
        _keep_saved(git, git_directory, work.name, ref, commit)
    note = _move_branch(git, git_directory, work, known)
    _update(git, git_directory, INSTANCE_REFS + work.name, work.commit)
    return Arrival(work=work, note=note)


def forget_instance_ref(git: GitRunner, git_directory: Path, name: str) -> None:
    """Once the branch was deleted because another one holds what is in it, nothing else needs it either."""
    git.run_in_repository(git_directory, *NO_HOOKS, "update-ref", "-d", INSTANCE_REFS + name)


def _move_branch(git: GitRunner, git_directory: Path, work: Work, known: str) -> str:
    branch = find_branch(git, git_directory, work.branch)
    where = f"what {work.name} has done is in {INSTANCE_REFS}{work.name}"
    if branch is None:
        if known:
            return f"The branch {work.branch} was deleted here; {where}."
        _update(git, git_directory, f"refs/heads/{work.branch}", work.commit)
        return ""
    if branch.target == work.commit:
        return ""
    if branch.checked_out_in or branch.is_head:
        return f"The branch {work.branch} is checked out in {branch.checked_out_in or git_directory}; {where}."
    ours = branch.target == known or _is_ancestor(git, git_directory, branch.target, work.commit)
    if not ours:
        return f"Somebody else has moved the branch {work.branch}; {where}."
    moved = _move(git, git_directory, branch, work.commit)
    return "" if moved else f"The branch {work.branch} could not be moved just now; {where}."


def _keep_saved(git: GitRunner, git_directory: Path, name: str, ref: str, commit: str) -> None:
    if ref == latest_ref(name):
        _update(git, git_directory, ref, commit)
    elif all(saved.commit != commit for saved in list_saved(git, git_directory, name)):
        add_saved(git, git_directory, name, lambda _: commit)


def latest_ref(name: str) -> str:
    """Where the state of a worktree is saved while its agent is at work; each save takes the place of the last."""
    return f"{SAVED_REFS}{name}{_LATEST}"


def _is_ancestor(git: GitRunner, git_directory: Path, ancestor: str, commit: str) -> bool:
    return git.run_in_repository(git_directory, "merge-base", "--is-ancestor", ancestor, commit).ok


def tip_of(git: GitRunner, git_directory: Path, ref: str) -> str:
    """The commit that the ref is at; empty when there is no such ref."""
    answer = git.run_in_repository(git_directory, "rev-parse", "--verify", "--quiet", ref)
    return answer.output.strip() if answer.ok else ""


def _update(git: GitRunner, git_directory: Path, ref: str, commit: str) -> None:
    answer = git.run_in_repository(git_directory, *NO_HOOKS, *DURABLE, *_WRITE, ref, commit)
    if not answer.ok:
        raise WorkspaceError(f"git does not write {ref} in {git_directory}: {answer.last_words}. Set this right.")


def _move(git: GitRunner, git_directory: Path, ref: Ref, commit: str) -> bool:
    """Whether it was still where it was when it was looked at."""
    return git.run_in_repository(git_directory, *NO_HOOKS, *DURABLE, *_WRITE, ref.name, commit, ref.target).ok
