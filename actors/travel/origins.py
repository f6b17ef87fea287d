"""What another host must know to work on a repository of this one, and the branch that it is given here."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path, PurePath

from actors.errors import WorkspaceError
from actors.travel.homecoming import INSTANCE_REFS, latest_ref, tip_of
from actors.travel.values import Origin
from actors.workspace.branches import create_branch, find_branch
from actors.workspace.command import GitRunner
from actors.workspace.site import branch_of
from actors.workspace.source import Source, describe_left_behind

_MOST_NAMES = 50
_AUTHOR = ("user.name", "user.email")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def origin_of(git: GitRunner, source: Source, instance_id: str) -> Origin:
    """Claims a branch for the instance, named as its worktree on one machine would be. Raises ``WorkspaceError``."""
    origin = origin_of_spare(git, source, instance_id)
    branch = _claimed(git, source, instance_id)
    return replace(origin, branch=branch, notes=describe_left_behind(git, source))


def origin_of_spare(git: GitRunner, source: Source, name: str) -> Origin:
    """As it is now, and nothing is claimed: who gets the spare has a branch of his own."""
    return Origin(
        key=repository_key(source.git_directory),
        git_directory=source.git_directory,
        top=source.top,
        prefix=source.prefix,
        commit=source.commit or "",
        branch=branch_of(name),
        author=_author(git, source.top),
    )


def origin_again(git: GitRunner, git_directory: Path, branch: str, prefix: PurePath) -> Origin:
    """To go on elsewhere with what came home of an instance last. Raises ``WorkspaceError``."""
    name = branch.removeprefix("phalanx/")
    tips = [tip_of(git, git_directory, ref) for ref in (INSTANCE_REFS + name, f"refs/heads/{branch}")]
    commit = next((tip for tip in tips if tip), "")
    if not commit:
        raise WorkspaceError(f"Nothing of {name} is in {git_directory}: there is nothing to go on with.")
    return Origin(
        key=repository_key(git_directory),
        git_directory=git_directory,
        top=git_directory,
        prefix=prefix,
        commit=commit,
        branch=branch,
        author=_author(git, git_directory),
        uncommitted=tip_of(git, git_directory, latest_ref(name)),
    )


def _claimed(git: GitRunner, source: Source, instance_id: str) -> str:
    for number in range(1, _MOST_NAMES):
        branch = branch_of(instance_id if number == 1 else f"{instance_id}-{number}")
        answer = create_branch(git, source.git_directory, branch, source.commit or "")
        if answer.ok:
            return branch
        if find_branch(git, source.git_directory, branch) is None:
            break
    raise WorkspaceError(
        f"git could not make the branch {branch} in {source.top}: {answer.last_words}. Set this right."
    )


def repository_key(git_directory: Path) -> str:
    """A name for people, and a hash that tells two repositories of one name apart."""
    named = git_directory.parent.name if git_directory.name == ".git" else git_directory.stem
    readable = _NOT_IN_A_NAME.sub("-", named).strip("-.")[:40] or "repository"
    return f"{readable}-{hashlib.sha256(str(git_directory).encode(errors='surrogateescape')).hexdigest()[:16]}"


def _author(git: GitRunner, directory: Path) -> dict[str, str]:
    answers = {name: git.run(directory, "config", "--get", name) for name in _AUTHOR}
    return {name: answer.output.strip() for name, answer in answers.items() if answer.ok and answer.output.strip()}
