"""Merges the work of several instances into one branch: all of it, or none.

``Host`` calls ``BranchMerger`` in threads. Conflicts are predicted pair by pair before anything is made. Then the
branches are merged one after another in a temporary worktree, in an order in which each merge and its check succeeds.
Only then the target moves, in one step of git, and only if nobody has moved it meanwhile. That is a call of its own:
the checks take long, and meanwhile somebody may begin to work in the tree that changes with the target. Whatever fails
or dies before, the target and everybody's working tree is as it was; what a killed call has left is cleared away by the
next one, or by ``gc``.

A call goes on when its caller dies. One that is made after that waits for it, and finds the branches merged.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.errors import InvalidRequestError, RefusedError, WorkspaceError, WrongStateError
from actors.git import merge
from actors.git.check import run_check
from actors.git.compare import Comparer, base_of, commits_of, whole_repository
from actors.git.layout import branch_of, find_place, under_way
from actors.git.model import (
    Conflict,
    MergedBranches,
    MergeJob,
    MergeOutcome,
    MergeReport,
    PreparedMerge,
    WorkBranch,
    sendable,
)
from actors.git.process import GitRunner
from actors.git.repository import Repository, identity_in, refusal
from actors.worktrees.create import TemporaryWorktree, why_in_use
from actors.worktrees.manager import WorktreeManager
from actors.worktrees.source import read_status, some_of

_NO_HOOKS = ("-c", "core.hooksPath=/dev/null")
_MOVED = ("is at", "but expected", "reference already exists", "unable to resolve reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    branch: str
    commit: str
    tree: Repository | None
    """The working tree that has it checked out."""


class BranchMerger:
    """Keeps nothing between calls. ``environment``: the agents'."""

    def __init__(self, environment: Mapping[str, str], worktrees: WorktreeManager, comparer: Comparer) -> None:
        self._environment = dict(environment)
        self._git = GitRunner(environment)
        self._identity = identity_in(environment)
        self._worktrees = worktrees
        self._comparer = comparer

    def prepare(self, job: MergeJob, limit_s: float) -> MergeReport | PreparedMerge:
        """The report says why there is nothing to move. No merge is begun whose check may not be done in ``limit_s``.

        Raises ``PhalanxError`` when nothing could be tried.
        """
        deadline_s = time.monotonic() + limit_s - (job.check_timeout_s if job.check else 0)
        with self._worktrees.temporary(job.git_directory, limit_s) as place:
            return self._prepare(job, place, deadline_s)

    def move(self, prepared: PreparedMerge, limit_s: float) -> None:
        """Moves the target. Raises ``PhalanxError``; then it is where it was."""
        into = prepared.report.into
        with self._worktrees.temporary(prepared.git_directory, limit_s):
            repo = whole_repository(self._git, prepared.git_directory, self._identity)
            if _trees_with(repo, into) != ({prepared.tree} if prepared.tree else set()):
                raise WrongStateError(f"{into} was checked out elsewhere meanwhile, so it was left alone: merge again.")
            _check_not_in_use(prepared.git_directory, into)
            tree = self._repository_in(prepared.tree, prepared.git_directory) if prepared.tree else None
            _move(repo, _Target(branch=into, commit=prepared.before, tree=tree), prepared.report.commit)

    def find_merged(self, job: MergeJob, limit_s: float) -> MergedBranches:
        """Changes nothing. Waits for a merge that is under way in the repository, also one whose caller has died.

        Raises ``PhalanxError``.
        """
        with self._worktrees.temporary(job.git_directory, limit_s):
            repo = whole_repository(self._git, job.git_directory, self._identity)
            into = self._branch_meant(repo, job)
            target = repo.commit_of(f"refs/heads/{into}")
            commits = commits_of(repo, job.branches)
            ahead = {
                name: target is None or self._comparer.work(repo, target, commit).ahead
                for name, commit in commits.items()
            }
            return MergedBranches(
                into=into, commits=commits, merged=frozenset(name for name, number in ahead.items() if not number)
            )

    def _prepare(self, job: MergeJob, place: TemporaryWorktree, deadline_s: float) -> MergeReport | PreparedMerge:
        repo = whole_repository(self._git, job.git_directory, self._identity)
        target = self._target(repo, job)
        commits = _found(repo, job.branches)
        work = {name: self._comparer.work(repo, target.commit, commit) for name, commit in commits.items()}
        new = {name: commit for name, commit in commits.items() if work[name].ahead}
        outcomes = {
            name: MergeOutcome(state="not_merged" if name in new else "already_merged", commit=commit)
            for name, commit in commits.items()
        }
        to_merge = _independent(repo, new)
        conflicts = self._comparer.conflicts(repo, dict.fromkeys(to_merge, target.commit), to_merge, work)
        outcomes |= _in_conflict(conflicts, commits)
        if new and not conflicts:
            _check_tree(target, {file for name in to_merge for file in work[name].files})
            trial = _Trial(job, target, place, self._environment, self._identity, self._git)
            order, failed = trial.merge_all(to_merge, deadline_s)
            if failed:
                conflicts = self._unforeseen(repo, target, order, failed, commits)
                outcomes |= {**_in_conflict(conflicts, commits), **failed}
            else:
                report = MergeReport(
                    into=target.branch,
                    commit=trial.commit,
                    moved=True,
                    # What another of them had merged already came with that one.
                    order=(*order, *(name for name in new if name not in order)),
                    outcomes=outcomes | {name: MergeOutcome(state="merged", commit=commits[name]) for name in new},
                    conflicts=(),
                )
                return PreparedMerge(
                    git_directory=job.git_directory,
                    before=target.commit,
                    tree=target.tree.top if target.tree else None,
                    report=report,
                )
        return MergeReport(
            into=target.branch, commit=target.commit, moved=False, order=(), outcomes=outcomes, conflicts=conflicts
        )

    def _unforeseen(
        self,
        repo: Repository,
        target: _Target,
        order: Sequence[str],
        failed: Mapping[str, MergeOutcome],
        commits: Mapping[str, str],
    ) -> tuple[Conflict, ...]:
        """With what each conflicts that did so only once ``order`` was merged: branches that change no file
        in common, as when one moves a directory, were not compared before."""
        found: list[Conflict] = []
        for name, outcome in failed.items():
            if outcome.state != "conflict":
                continue
            befores = {"": target.commit, **{one: commits[one] for one in order}}
            pairs = self._comparer.between(
                repo, [((one, name), (commit, commits[name])) for one, commit in befores.items()]
            )
            # With none of them alone, but with all of them.
            found += pairs or [Conflict(one=one, other=name, files=outcome.files) for one in order or ("",)]
        return tuple(found)

    def _branch_meant(self, repo: Repository, job: MergeJob) -> str:
        try:
            named = job.into or base_of(self._git, job.git_directory, job.trees)
        except InvalidRequestError as error:
            raise InvalidRequestError(f"{error} Give into, the branch that is meant.") from None
        # A branch may be an alias of another one, which is checked out by its own name.
        alias = repo.read("symbolic-ref", "--quiet", f"refs/heads/{named}").output.removesuffix("\n")
        return branch_of(alias) or named

    def _target(self, repo: Repository, job: MergeJob) -> _Target:
        branch = self._branch_meant(repo, job)
        commit = repo.commit_of(f"refs/heads/{branch}")
        if commit is None:
            raise InvalidRequestError(
                f"There is no branch {branch} with a commit to merge into: correct into, or make a first commit."
            )
        trees = _trees_with(repo, branch)
        if job.movable_trees is not None and branch not in job.movable_branches and trees.isdisjoint(job.movable_trees):
            raise RefusedError(
                f"You may merge into a branch that you or those below you have checked out, not into {branch}: tell "
                "your lead that the work is ready."
            )
        if len(trees) > 1:
            raise WrongStateError(
                f"{branch} is checked out in {len(trees)} working trees, {' and '.join(map(str, sorted(trees)))}, of "
                "which only one could follow it: check out another branch in the others."
            )
        _check_not_in_use(job.git_directory, branch)
        tree = next(iter(trees), None)
        if tree is not None and (who := job.busy.get(tree)) is not None:
            raise WrongStateError(f"{who} is at work in {tree}, which has {branch} checked out: wait for it first.")
        return _Target(
            branch=branch, commit=commit, tree=self._repository_in(tree, job.git_directory) if tree else None
        )

    def _repository_in(self, tree: Path, git_directory: Path) -> Repository:
        """Who works there may have put a link or another repository in its place."""
        place = find_place(tree)
        if place is None or (place.top, place.common_directory) != (tree, git_directory):
            raise WorkspaceError(
                f"{tree} is no working tree of {git_directory} any more: restore it there, or run `git worktree prune`."
            )
        return Repository(self._git, place, tree, self._identity, stays=True)


class _Trial:
    """Merges in the temporary worktree. ``commit`` is how far it has got."""

    def __init__(
        self,
        job: MergeJob,
        target: _Target,
        place: TemporaryWorktree,
        environment: Mapping[str, str],
        identity: Mapping[str, str],
        git: GitRunner,
    ) -> None:
        self.commit = target.commit
        self._job = job
        self._into = target.branch
        self._titles = {each.name: each.title for each in job.branches}
        self._environment = environment
        place.check_out(self.commit)
        found = find_place(place.directory)
        if found is None:
            raise WorkspaceError(f"The worktree {place.directory} is gone: merge again.")
        self._repo = Repository(git, found, place.directory, identity)

    def merge_all(
        self, branches: Mapping[str, str], deadline_s: float
    ) -> tuple[tuple[str, ...], Mapping[str, MergeOutcome]]:
        """The order that worked, and the failures of those for which none did."""
        left, order = dict(branches), list[str]()
        while left:
            failed: dict[str, MergeOutcome] = {}
            for name, commit in left.items():
                if time.monotonic() > deadline_s:
                    raise WorkspaceError(
                        f"The time ran out after {len(order)} of {len(branches)} merges, and nothing was moved: merge "
                        "fewer at once, or with a quicker check."
                    )
                failure = self._try(name, commit, order)
                if failure is None:
                    order.append(name)
                    del left[name]
                    break
                failed[name] = failure
            else:
                return tuple(order), failed
        return tuple(order), {}

    def _try(self, name: str, commit: str, before: Collection[str]) -> MergeOutcome | None:
        """Why it cannot be merged now; None: it is merged."""
        words = self._job.message or f"Merge branch '{self._titles[name]}' into {self._into}"
        try:
            merge.merge_commit(self._repo, commit, self._titles[name], words)
        except merge.MergeConflictError as conflict:
            reason = f"It conflicts once {', '.join(before) or 'nothing'} is merged."
            return MergeOutcome(
                state="conflict", commit=commit, files=tuple(map(sendable, conflict.files)), reason=reason
            )
        except WorkspaceError as error:
            return MergeOutcome(state="failed", commit=commit, reason=str(error))
        merged = self._repo.head().commit or self.commit
        if self._job.check:
            why = run_check(self._job.check, self._repo.top, self._environment, self._job.check_timeout_s)
            self._restore(self.commit if why else merged)
            if why:
                reason = f"The check `{shlex.join(self._job.check)}` fails with it. {why}"
                return MergeOutcome(state="failed", commit=commit, reason=reason)
        self.commit = merged
        return None

    def _restore(self, commit: str) -> None:
        """Takes back what a check has changed, but for what git ignores: caches make the next check quicker."""
        top = self._repo.top
        for words in (("checkout", "--quiet", "--force", "--detach", commit), ("clean", "-ffdq")):
            self._repo.output_of(self._repo.write(top, *_NO_HOOKS, *words))


def _found(repo: Repository, branches: Iterable[WorkBranch]) -> dict[str, str]:
    branches = tuple(branches)
    commits = commits_of(repo, branches)
    for each in branches:
        if each.name not in commits:
            raise InvalidRequestError(f"The branch {each.title} of {each.name} is gone: leave {each.name} out.")
    return commits


def _independent(repo: Repository, commits: Mapping[str, str]) -> dict[str, str]:
    """Those that none of the others has merged already, each commit once."""
    if not commits:
        return {}
    tips = set(repo.read_output("merge-base", "--independent", *commits.values()).split())
    by_commit = {commit: name for name, commit in reversed(tuple(commits.items())) if commit in tips}
    return {name: commit for name, commit in commits.items() if by_commit.get(commit) == name}


def _in_conflict(conflicts: Iterable[Conflict], commits: Mapping[str, str]) -> dict[str, MergeOutcome]:
    files: dict[str, dict[str, None]] = {}
    for conflict in conflicts:
        for name in filter(None, (conflict.one, conflict.other)):
            files.setdefault(name, {}).update(dict.fromkeys(conflict.files))
    return {
        name: MergeOutcome(state="conflict", commit=commits[name], files=tuple(found)) for name, found in files.items()
    }


def _trees_with(repo: Repository, branch: str) -> set[Path]:
    """The working trees that have it checked out; without those that are gone."""
    output = repo.read_output("worktree", "list", "--porcelain", "-z")
    blocks = (block.split("\0") for block in output.split("\0\0") if block)
    return {
        Path(lines[0].removeprefix("worktree "))
        for lines in blocks
        if f"branch refs/heads/{branch}" in lines and not any(line.startswith(("bare", "prunable")) for line in lines)
    }


def _check_not_in_use(git_directory: Path, branch: str) -> None:
    if (why := why_in_use(git_directory, branch)) is not None:
        raise WrongStateError(f"{why} Have that finished or aborted first.")


def _check_tree(target: _Target, files: Collection[str]) -> None:
    """Refuses before anything is tried what git would refuse in the end."""
    if target.tree is None:
        return
    top = target.tree.top
    if (what := under_way(target.tree.place.git_directory)) is not None:
        raise WrongStateError(f"A {what} is under way in {top}: let it be finished or aborted, then merge again.")
    listing = target.tree.read_output("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all")
    changed = tuple(path for path in read_status(listing).changed if path in files)
    if changed:
        raise WorkspaceError(
            f"{top}, which has {target.branch} checked out, has changes that are not committed in files that would "
            f"change: {some_of(changed)}. Nothing was touched: commit them or move them away, then merge again."
        )


def _move(repo: Repository, target: _Target, commit: str) -> None:
    """Raises ``WorkspaceError``; then the target is where it was."""
    if target.tree is not None:
        merge.fast_forward(target.tree, target.branch, target.commit, commit)
        return
    command = ("update-ref", "-m", "merge: by phalanx", f"refs/heads/{target.branch}", commit, target.commit)
    answer = repo.write(repo.directory, f"--git-dir={repo.directory}", *command)
    if not answer.ok:
        raise (
            merge.moved_meanwhile(target.branch) if any(words in answer.error for words in _MOVED) else refusal(answer)
        )
