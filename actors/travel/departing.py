"""What an instance on this host has made in the mirror of its repository, to be carried home. Every method blocks."""

from __future__ import annotations

from pathlib import Path

from actors.errors import WorkspaceError
from actors.travel.homecoming import latest_ref
from actors.travel.values import Work
from actors.workspace.command import GitRunner
from actors.workspace.saved_refs import DURABLE, NO_HOOKS, SAVED_REFS, list_saved
from actors.workspace.site import name_in
from actors.workspace.values import Workspace
from actors.workspace.workspaces import Workspaces


def work_of(git: GitRunner, workspace: Workspace) -> Work:
    """As it is now. Raises ``WorkspaceError`` when the mirror cannot be read."""
    git_directory, name, branch = _place(workspace)
    patterns = (f"refs/heads/{branch}", SAVED_REFS + name, f"{SAVED_REFS}{name}.*")
    answer = git.run_in_repository(git_directory, "for-each-ref", "--format=%(refname) %(objectname)", "--", *patterns)
    if not answer.ok:
        raise WorkspaceError(f"git cannot list the branches of {git_directory}: {answer.last_words}. Repair it.")
    refs = dict(line.split(" ", 1) for line in answer.output.splitlines())
    commit = refs.pop(f"refs/heads/{branch}", workspace.base_commit or "")
    return Work(name=name, branch=branch, commit=commit, saved=refs)


def save_latest(git: GitRunner, workspaces: Workspaces, workspace: Workspace) -> None:
    """Saves what is not committed, beside the agent that is at work; it takes the place of the last such save.

    Raises ``WorkspaceError`` when it cannot be saved as it is.
    """
    git_directory, name, branch = _place(workspace)
    before = {saved.name for saved in list_saved(git, git_directory, name)}
    ref = workspaces.save(workspace)
    if ref is None or ref in before:
        return
    (saved,) = (each for each in list_saved(git, git_directory, name) if each.name == ref)
    head = git.run_in_repository(git_directory, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    steps = [f"delete {ref} {saved.commit}"]
    if saved.commit != head.output.strip():
        steps.append(f"update {latest_ref(name)} {saved.commit}")
    stdin = "".join(f"{step}\n" for step in steps).encode()
    answer = git.run_in_repository(git_directory, *NO_HOOKS, *DURABLE, "update-ref", "--stdin", stdin=stdin)
    if not answer.ok:
        raise WorkspaceError(f"git does not write {latest_ref(name)}: {answer.last_words}. Try again.")


def _place(workspace: Workspace) -> tuple[Path, str, str]:
    if workspace.worktree is None or workspace.git_directory is None or workspace.branch is None:
        raise WorkspaceError(f"{workspace.directory} is no worktree of a mirror, so nothing of it is carried.")
    return workspace.git_directory, name_in(workspace.branch), workspace.branch
