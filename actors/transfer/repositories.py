"""The git work at both ends of a transfer. ``service`` calls it; every function blocks.

- ``origin_of``, ``origin_of_spare``, ``origin_again``: on the repository's host, what a worker needs to start.
- ``Mirrors``: on a worker, one bare mirror per repository, from which worktrees are made. A mirror only gains commits,
  so nothing is sent twice. Calls on one mirror may run at the same time.
- ``apply_uncommitted``, ``save_latest``, ``work_of``: on a worker, uncommitted work and the refs to send home.
- ``tips_at_home``, ``import_commits``: on the repository's host, work is always kept under
  ``refs/phalanx/instances/<name>``. The branch follows unless somebody else moved it or works on it; then it stays and
  a note says so. Saves are only ever added.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath

from actors.errors import InvalidRequestError, WorkspaceError
from actors.git.process import GitFailedError, GitRunner, RepositoryGit
from actors.transfer.bundles import ImportResult, RemoteWork, StartPoint, unpack
from actors.worktrees.create import claim_free_branch, find_branch, is_reachable
from actors.worktrees.manager import WorktreeManager, usable_source
from actors.worktrees.model import Workspace, branch_of, name_in
from actors.worktrees.snapshot import CAREFUL, SAVED_REFS, add_saved, list_saved
from actors.worktrees.source import SourceRepository, describe_left_behind

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
_ORIGIN_REFS = "refs/phalanx/origin/"
_EARLIER_REFS = "refs/phalanx/earlier/"
_MOST_TIPS = 500
INSTANCE_REFS = "refs/phalanx/instances/"
_LATEST = ".latest"
"""Suffix of the ref with the newest save while the agent works."""
_AUTHOR = ("user.name", "user.email")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def origin_of(git: GitRunner, work_dir: Path, instance_id: str) -> StartPoint:
    """The start point of an instance, with a new branch named like its worktree. Raises ``WorkspaceError``."""
    source = usable_source(git, work_dir)
    origin = _start_point(git, source, branch_of(instance_id))
    branch = claim_free_branch(git, source, instance_id)
    return replace(origin, branch=branch, notes=describe_left_behind(git, source))


def origin_of_spare(git: GitRunner, work_dir: Path, name: str) -> StartPoint:
    """The start point of a spare worktree. No branch is created: the later instance gets one."""
    return _start_point(git, usable_source(git, work_dir), branch_of(name))


def _start_point(git: GitRunner, source: SourceRepository, branch: str) -> StartPoint:
    return StartPoint(
        key=repository_key(source.git_directory),
        git_directory=source.git_directory,
        top=source.top,
        prefix=source.prefix,
        commit=source.commit or "",
        branch=branch,
        author=_author(git, source.top),
    )


def origin_again(git: GitRunner, git_directory: Path, branch: str, prefix: PurePath) -> StartPoint:
    """The start point to continue an instance elsewhere from its last imported work. Raises ``WorkspaceError``."""
    name = name_in(branch)
    repository = git.repository(git_directory)
    tips = [tip_of(repository, ref) for ref in (INSTANCE_REFS + name, f"refs/heads/{branch}")]
    commit = next((tip for tip in tips if tip), "")
    if not commit:
        raise WorkspaceError(f"{git_directory} has no work of {name} to continue with: spawn a new instance.")
    source = SourceRepository(
        top=git_directory, git_directory=git_directory, prefix=prefix, bare=True, branch=branch, commit=commit
    )
    return replace(_start_point(git, source, branch), uncommitted=tip_of(repository, latest_ref(name)))


def repository_key(git_directory: Path) -> str:
    """A readable name with a hash, which distinguishes repositories of the same name."""
    named = git_directory.parent.name if git_directory.name == ".git" else git_directory.stem
    readable = _NOT_IN_A_NAME.sub("-", named).strip("-.")[:40] or "repository"
    return f"{readable}-{hashlib.sha256(str(git_directory).encode(errors='surrogateescape')).hexdigest()[:16]}"


def _author(git: GitRunner, directory: Path) -> dict[str, str]:
    answers = {name: git.run(directory, "config", "--get", name) for name in _AUTHOR}
    return {name: answer.output.strip() for name, answer in answers.items() if answer.ok and answer.output.strip()}


class Mirrors:
    """The mirrors of a host, below ``root``."""

    def __init__(self, root: Path, git: GitRunner) -> None:
        self._root = root.resolve()  # a worktree is known by the real path of its repository
        self._git = git

    def tips(self, origin: StartPoint) -> tuple[str, ...]:
        """Commits of the mirror, newest first; creates it if absent. Raises ``WorkspaceError``."""
        mirror = self._open(origin)
        if all(tip_of(mirror, _ORIGIN_REFS + commit) for commit in origin.commits):
            return origin.commits
        newest: str = mirror.for_each_ref("--sort=-committerdate", f"--count={_MOST_TIPS}", "--format=%(objectname)")
        return tuple(dict.fromkeys(newest.split()))

    def take_in(self, origin: StartPoint, bundle: Path | None) -> SourceRepository:
        """Unpacks the bundle; returns the source for a worktree of ``origin``.

        Raises ``WorkspaceError`` when the mirror is still incomplete.
        """
        mirror = self._open(origin)
        if bundle is not None:
            unpack(mirror, bundle, origin.commits)
        # These refs keep the commits in the mirror also when no instance needs them.
        for commit in origin.commits:
            mirror.update_ref(_ORIGIN_REFS + commit, commit)
        self._free_branch(mirror, origin.branch)
        return SourceRepository(
            top=mirror.directory,
            git_directory=mirror.directory,
            prefix=origin.prefix,
            bare=True,
            branch=origin.branch,
            commit=origin.commit,
        )

    def _free_branch(self, mirror: RepositoryGit, branch: str) -> None:
        """Frees the name of a branch from an earlier stay of the instance on this host, and keeps its commits."""
        earlier = find_branch(mirror, branch)
        if earlier is not None and not earlier.checked_out_in:
            steps = f"update {_EARLIER_REFS}{earlier.target} {earlier.target}\ndelete {earlier.name} {earlier.target}\n"
            with suppress(GitFailedError):
                mirror.update_ref("--stdin", istream=steps.encode())

    def _open(self, origin: StartPoint) -> RepositoryGit:
        if _KEY.fullmatch(origin.key) is None:
            raise InvalidRequestError(f"{origin.key!r} cannot name a mirror.")
        mirror = self._git.repository(self._root / f"{origin.key}.git")
        if not (mirror.directory / "HEAD").exists():
            mirror.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            mirror.init("--bare", "--quiet", "--initial-branch=phalanx-mirror")
        for name, value in origin.author.items():
            with suppress(GitFailedError):
                mirror.config("--local", name, value)
        return mirror


def apply_uncommitted(git: GitRunner, worktree: Path, saved: str) -> str:
    """Restores saved uncommitted work, unstaged; returns a note on why it could not, else an empty text.

    Only on the commit of the save: on a later one it would revert work.
    """
    where = f"Uncommitted work is not in the worktree but in the commit {saved}"
    parents = git.run(worktree, "rev-parse", "HEAD", f"{saved}^1")
    if not parents.ok or len(set(parents.output.split())) != 1:
        return f"{where}: it was saved before the last commit."
    merged = git.run(worktree, "read-tree", "-m", "-u", "HEAD", saved)
    if not merged.ok:
        return f"{where}: {merged.last_words}."
    unstaged = git.run(worktree, "reset", "--quiet", "--mixed")
    return "" if unstaged.ok else f"Uncommitted work is staged in the worktree: {unstaged.last_words}."


def save_latest(git: GitRunner, workspaces: WorktreeManager, workspace: Workspace) -> None:
    """Saves uncommitted work while the agent may be working; replaces the last such save.

    Raises ``WorkspaceError`` when it cannot be saved unchanged.
    """
    git_directory, name, branch = _mirror_of(workspace)
    repository = git.repository(git_directory)
    before = {saved.name for saved in list_saved(repository, name)}
    ref = workspaces.save(workspace)
    if ref is None or ref in before:
        return
    (saved,) = (each for each in list_saved(repository, name) if each.name == ref)
    steps = f"delete {ref} {saved.commit}\n"
    if saved.commit != tip_of(repository, f"refs/heads/{branch}"):
        steps += f"update {latest_ref(name)} {saved.commit}\n"
    repository(c=CAREFUL).update_ref("--stdin", istream=steps.encode())


def work_of(git: GitRunner, workspace: Workspace) -> RemoteWork:
    """The instance's work now. Raises ``WorkspaceError`` when the mirror cannot be read."""
    git_directory, name, branch = _mirror_of(workspace)
    patterns = (f"refs/heads/{branch}", SAVED_REFS + name, f"{SAVED_REFS}{name}.*")
    listing: str = git.repository(git_directory).for_each_ref("--format=%(refname) %(objectname)", "--", *patterns)
    refs = dict(line.split(" ", 1) for line in listing.splitlines())
    commit = refs.pop(f"refs/heads/{branch}", workspace.base_commit or "")
    return RemoteWork(name=name, branch=branch, commit=commit, saved=refs)


def _mirror_of(workspace: Workspace) -> tuple[Path, str, str]:
    if workspace.worktree is None or workspace.git_directory is None or workspace.branch is None:
        raise WorkspaceError(f"{workspace.directory} is not a worktree of a mirror, so it has no work to send.")
    return workspace.git_directory, name_in(workspace.branch), workspace.branch


def tips_at_home(repository: RepositoryGit, work: RemoteWork) -> tuple[str, ...]:
    """Commits of the work, and candidates for its start, that are here already and need not be sent."""
    refs = (f"refs/heads/{work.branch}", INSTANCE_REFS + work.name, SAVED_REFS + work.name, "refs/heads")
    held: str = repository.for_each_ref("--format=%(objectname)", "--", *refs)
    present = [commit for commit in work.commits if tip_of(repository, f"{commit}^{{object}}")]
    return tuple(dict.fromkeys([*(present if _all_held(repository, present) else ()), *held.split()]))


def _all_held(repository: RepositoryGit, commits: list[str]) -> bool:
    """Whether refs reach all of them: an unreferenced commit may lack objects."""
    if not commits:
        return False
    with suppress(GitFailedError):
        return not repository.rev_list("--max-count=1", *commits, "--not", "--all")
    return False


def import_commits(repository: RepositoryGit, work: RemoteWork, bundle: Path | None) -> ImportResult:
    """Keeps the work under refs and moves the branch if safe. May be repeated. Raises ``WorkspaceError``."""
    if bundle is not None:
        unpack(repository, bundle, work.commits)
    known = tip_of(repository, INSTANCE_REFS + work.name)
    for ref, commit in work.saved.items():
        _keep_saved(repository, work.name, ref, commit)
    note = _move_branch(repository, work, known)
    _update(repository, INSTANCE_REFS + work.name, work.commit)
    return ImportResult(work=work, note=note)


def forget_instance_ref(repository: RepositoryGit, name: str) -> None:
    """Deletes the instance's ref, once its branch is deleted and another branch has the commits."""
    with suppress(GitFailedError):
        repository(c=CAREFUL).update_ref("-d", INSTANCE_REFS + name)


def _move_branch(repository: RepositoryGit, work: RemoteWork, known: str) -> str:
    branch = find_branch(repository, work.branch)
    where = f"what {work.name} has done is in {INSTANCE_REFS}{work.name}"
    if branch is None:
        if known:
            return f"The branch {work.branch} was deleted here; {where}."
        _update(repository, f"refs/heads/{work.branch}", work.commit)
        return ""
    if branch.target == work.commit:
        return ""
    if branch.checked_out_in or branch.is_head:
        return f"The branch {work.branch} is checked out in {branch.checked_out_in or repository.directory}; {where}."
    ours = branch.target == known or is_reachable(repository, branch.target, tip=work.commit)
    if not ours:
        return f"Somebody else has moved the branch {work.branch}; {where}."
    try:
        _update(repository, branch.name, work.commit, branch.target)
    except GitFailedError:
        return f"The branch {work.branch} could not be moved now; {where}."
    return ""


def _keep_saved(repository: RepositoryGit, name: str, ref: str, commit: str) -> None:
    if ref == latest_ref(name):
        _update(repository, ref, commit)
    elif all(saved.commit != commit for saved in list_saved(repository, name)):
        add_saved(repository, name, lambda _: commit)


def latest_ref(name: str) -> str:
    """The ref for saves of a worktree while its agent works; each save replaces the last."""
    return f"{SAVED_REFS}{name}{_LATEST}"


def tip_of(repository: RepositoryGit, ref: str) -> str:
    """The ref's commit; empty without the ref."""
    with suppress(GitFailedError):
        return str(repository.rev_parse("--verify", "--quiet", ref))
    return ""


def _update(repository: RepositoryGit, ref: str, commit: str, *before: str) -> None:
    """Sets the ref; with ``before`` only if it still is at that commit. Raises ``GitFailedError``."""
    repository(c=CAREFUL).update_ref("-m", "Carried home by phalanx", ref, commit, *before)
