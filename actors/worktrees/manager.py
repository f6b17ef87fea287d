"""Makes and removes the workspaces of a host's instances. The host actor calls it with ``asyncio.to_thread``.

Promises: work is never deleted; nothing that exists is reused or reset; a call that raises leaves nothing behind; calls
may run at the same time, in several threads and processes, on one repository or several. Every call blocks and ends by
itself; the longest wait is for a checkout (``CHECKOUT_TIMEOUT_S``).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from actors.errors import InvalidRequestError, PhalanxError, UnavailableError, WorkspaceError
from actors.git.process import GitRunner
from actors.worktrees.create import (
    TemporaryWorktree,
    bind_spare,
    claimed_existing,
    is_claimed,
    make_spare,
    make_worktree,
    make_worktree_on,
    temporary_worktree,
)
from actors.worktrees.model import (
    OrphanWorktree,
    PlannedRemovals,
    RemovalResult,
    Workspace,
    WorkspaceMode,
    WorktreeKeptError,
    WorktreeLocation,
    bound_to,
    branch_of,
    instance_in,
    note_bound,
    original_of,
    registration_at,
)
from actors.worktrees.remove import list_orphans, remove, remove_orphan, save_state
from actors.worktrees.source import SourceRepository, check_directory, describe_left_behind, find_source

_TEMPORARY = "merging"
"""The name begins so. It is none of an instance, and tells no number of one."""
_INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


class WorktreeManager:
    """The worktrees below one directory, ``$PHALANX_HOME/worktrees``."""

    def __init__(self, worktrees_root: Path, environment: Mapping[str, str]) -> None:
        """Creates ``worktrees_root`` (0700). git gets ``HOME``, ``PATH`` and the like of the team's ``environment``."""
        try:
            worktrees_root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{worktrees_root} cannot be created: {error.strerror}. Make its parent writable."
            ) from error
        self._root = worktrees_root.resolve()
        self._git = GitRunner(environment)

    def create(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        """Makes the workspace of an instance.

        Raises ``InvalidRequestError`` when ``work_dir`` does not allow this mode, ``WorkspaceError`` when git or the
        file system refuses; both say what to do, and nothing is left behind.
        """
        if mode == "shared":
            return self._share(work_dir)
        if _INSTANCE_ID.fullmatch(instance_id) is None:
            raise InvalidRequestError(f"{instance_id!r} cannot name a branch. Use letters, digits, '_' and '-'.")
        return self._isolate(instance_id, work_dir)

    def create_from(self, name: str, source: SourceRepository, directory: str = "") -> Workspace:
        """A worktree of the mirror ``source`` on exactly the branch ``phalanx/<name>``.

        ``directory``: the name of its directory, if not ``name``. Raises ``WorkspaceError`` also when a name is taken.
        """
        worktree, branch = self._root / (directory or name), branch_of(name)
        notes = make_worktree_on(self._git, source, worktree, branch)
        made = self._placed(source, worktree, branch, notes)
        if worktree.name != name:
            # For a later clean-up, which knows the directory only.
            try:
                note_bound(registration_at(source.git_directory, worktree), branch)
            except OSError as error:
                self.undo(made)
                raise WorkspaceError(f"{source.git_directory} cannot be written: {error.strerror}.") from error
        return made

    def create_spare(self, name: str, work_dir: Path) -> Workspace:
        """A worktree for a later instance, on no branch, in the directory ``name``. ``undo`` discards it.

        Raises as ``create``.
        """
        source = usable_source(self._git, work_dir)
        self._check_outside(source)
        return self.create_spare_from(name, source)

    def create_spare_from(self, name: str, source: SourceRepository) -> Workspace:
        """``create_spare`` from the mirror ``source``."""
        worktree = self._root / name
        make_spare(self._git, source, worktree)
        return self._placed(source, worktree, branch_of(name), ())

    def bound_branch(self, workspace: Workspace) -> str:
        """The branch that a spare is bound to; empty: none, or the spare is gone."""
        registration = workspace.registration
        return bound_to(registration) or "" if registration else ""

    def is_spare(self, workspace: Workspace) -> bool:
        """Whether it exists and is not bound."""
        worktree, registration = workspace.worktree, workspace.registration
        return worktree is not None and registration is not None and worktree.is_dir() and not bound_to(registration)

    def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        """Turns a spare into what ``create`` would make for the instance now, at the last commit of ``work_dir``.

        Raises ``WorkspaceError`` when the spare was touched or is of another repository, or when its agent has read
        what is different now: then discard it.
        """
        if spare.worktree is None:
            raise WorkspaceError(f"There is no spare worktree for {work_dir}.")
        with ThreadPoolExecutor(2) as aside:  # reads the spare and its repository at the same time
            finding = aside.submit(self._source_for, spare, work_dir)
            notes = aside.submit(lambda: describe_left_behind(self._git, finding.result()))
            branch, on_branch = bind_spare(self._git, spare.worktree, instance_id, finding.result, spare.read)
        return self._placed(finding.result(), spare.worktree, branch, (*notes.result(), *on_branch))

    def _source_for(self, spare: Workspace, work_dir: Path) -> SourceRepository:
        source = usable_source(self._git, work_dir)
        if spare.git_directory != source.git_directory:
            raise WorkspaceError(f"The spare worktree {spare.worktree} is of another repository than {work_dir}.")
        return source

    def bind_spare_from(self, spare: Workspace, name: str, source: SourceRepository) -> Workspace:
        """``bind_spare`` for a spare of the mirror ``source``, on exactly the branch ``phalanx/<name>``."""
        if spare.worktree is None or spare.git_directory != source.git_directory:
            raise WorkspaceError(f"The spare worktree {spare.worktree} is of another repository than {source.top}.")
        branch, notes = bind_spare(self._git, spare.worktree, name, lambda: source, spare.read)
        if branch != branch_of(name):
            raise WorkspaceError(f"{branch_of(name)} is taken in {source.top}. Try again.")
        return self._placed(source, spare.worktree, branch, notes)

    def temporary(self, git_directory: Path, patience_s: float) -> AbstractContextManager[TemporaryWorktree]:
        """A worktree of the repository for the time of the block, one at a time. Raises ``WorkspaceError``."""
        name = hashlib.sha256(os.fsencode(f"{self._root}\0{git_directory}")).hexdigest()[:12]
        return temporary_worktree(self._git, git_directory, self._root / f"{_TEMPORARY}-{name}", patience_s)

    def retire(self, workspace: Workspace) -> RemovalResult:
        """Removes the worktree, after saving what is nowhere else under ``refs/phalanx/saved/<name>``.

        The worktree stays when it cannot be saved unchanged, and the branch while no other branch has its commits; the
        result says why and where. Call it when the instance's agent has ended. May be repeated, also after a cut-off
        call. Raises ``WorkspaceError`` when git fails.
        """
        return self._remove(workspace)

    def undo(self, workspace: Workspace) -> RemovalResult:
        """``retire``, but also deletes a branch that still is where ``create`` made it, whatever holds that commit."""
        return self._remove(workspace, made_at=workspace.base_commit)

    def save(self, workspace: Workspace) -> str | None:
        """Saves the worktree as ``retire`` does and removes nothing; returns the ref, or None if all is held elsewhere.

        The agent may be working. The same state is saved only once. Raises ``WorkspaceError`` with the reason when it
        cannot be saved unchanged.
        """
        location = self._location_of(workspace)
        if location is None:
            return None
        try:
            with claimed_existing(location.worktree) as there:
                saved = save_state(self._git, location)[0] if there else None
        except WorktreeKeptError as reason:
            raise WorkspaceError(
                f"The work in {location.worktree} was not saved: {reason}. Save it by hand."
            ) from reason
        return saved.ref if saved else None

    def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        """The directories below the root other than ``known`` and those that a call is working in. Changes nothing.

        ``known`` are names of worktrees (``Workspace.worktree.name``), not of instances: they differ when a name was
        taken. It must include the worktrees of running spawns.
        """
        return list_orphans(self._git, self._root, frozenset(known))

    def collect(self, orphan: OrphanWorktree) -> RemovalResult:
        """``retire`` for an orphan, also to finish a cut-off removal or creation.

        It stays, with the reason, when it is not a worktree or a process works in it. Its state is read again. Raises
        ``InvalidRequestError`` when it is not below the root.
        """
        self._check_is_below(orphan.path)
        return remove_orphan(self._git, orphan.path)

    def discard_named(self, instance_id: str, known: Collection[str]) -> None:
        """``collect`` for all that is named after the instance, as far as no work is lost, besides ``known``.

        Call it when this process makes nothing for the instance. Raises ``UnavailableError`` while another one, which
        an earlier process has started, still makes a worktree of that name.
        """
        for path in sorted(self._root.iterdir()):
            name = (original_of(path) or path).name
            if name in known or instance_in(name) != instance_id:
                continue
            if is_claimed(path) or (not remove_orphan(self._git, path).removed and is_claimed(path)):
                raise UnavailableError(f"Something still works in {path}: try again.")

    def plan_removals(self, what: Sequence[Workspace | OrphanWorktree]) -> tuple[RemovalResult | PhalanxError, ...]:
        """The results or errors of ``retire`` or ``collect`` for each, in this order. Changes nothing."""
        planned = PlannedRemovals()
        return tuple(self._plan_removal(each, planned) for each in what)

    def _plan_removal(self, what: Workspace | OrphanWorktree, planned: PlannedRemovals) -> RemovalResult | PhalanxError:
        try:
            if isinstance(what, Workspace):
                return self._remove(what, planned=planned)
            self._check_is_below(what.path)
            return remove_orphan(self._git, what.path, planned=planned)
        except PhalanxError as error:
            return error

    def _check_is_below(self, worktree: Path) -> None:
        if worktree.parent != self._root:
            raise InvalidRequestError(f"{worktree} is not below {self._root}, so it is not ours to remove.")

    def _share(self, work_dir: Path) -> Workspace:
        check_directory(work_dir)
        work_dir = work_dir.resolve()  # on another host it may be reached by a link there
        shared = Workspace(mode="shared", directory=work_dir)
        try:
            source = find_source(self._git, work_dir)
        except PhalanxError as error:
            return replace(shared, notes=(f"git could not read workDir: {error}",))
        if source is None:
            return shared
        return replace(
            shared,
            repository=source.top,
            git_directory=source.git_directory,
            shared_place=source.place,
            branch=source.branch,
            base_commit=source.commit,
        )

    def _isolate(self, instance_id: str, work_dir: Path) -> Workspace:
        source = usable_source(self._git, work_dir)
        self._check_outside(source)
        with ThreadPoolExecutor(1) as aside:  # a large tree takes long
            left_behind = aside.submit(describe_left_behind, self._git, source)
            worktree, branch, notes = make_worktree(self._git, source, self._root, instance_id)
        return self._placed(source, worktree, branch, (*left_behind.result(), *notes))

    def _placed(self, source: SourceRepository, worktree: Path, branch: str, more: tuple[str, ...]) -> Workspace:
        directory = (worktree / source.prefix).resolve()
        if not (directory.is_dir() and directory.is_relative_to(worktree)):
            more = (
                *more,
                f"{source.prefix} is not a directory in the last commit, so the agent works in the worktree's root.",
            )
            directory = worktree
        if source.branch is None:
            more = (*more, f"HEAD of {source.top} is detached; {branch} starts at its commit.")
        return Workspace(
            mode="isolated",
            directory=directory,
            worktree=worktree,
            repository=source.top,
            git_directory=source.git_directory,
            branch=branch,
            base_commit=source.commit,
            notes=more,
        )

    def _check_outside(self, source: SourceRepository) -> None:
        """Worktrees inside the repository's own tree would appear there as untracked files."""
        trees = (source.top, source.git_directory.parent if source.git_directory.name == ".git" else source.top)
        inside = next((tree for tree in trees if self._root.is_relative_to(tree)), None)
        if inside is not None:
            raise InvalidRequestError(
                f"The worktrees' directory {self._root} lies inside the repository {inside}. Set PHALANX_HOME to a "
                "directory outside of it and bring the team up again, or use a shared workspace."
            )

    def _remove(
        self, workspace: Workspace, *, made_at: str | None = None, planned: PlannedRemovals | None = None
    ) -> RemovalResult:
        location = self._location_of(workspace)
        if location is None:
            return RemovalResult(removed=False, kept_reason=None, branch_deleted=False)
        return remove(self._git, location, made_at=made_at, planned=planned)

    def _location_of(self, workspace: Workspace) -> WorktreeLocation | None:
        """None when shared. Raises ``InvalidRequestError`` when the worktree is not below the root."""
        worktree, git_directory, branch = workspace.worktree, workspace.git_directory, workspace.branch
        if workspace.mode == "shared" or worktree is None or git_directory is None or branch is None:
            return None
        self._check_is_below(worktree)
        bound = bound_to(registration_at(git_directory, worktree))
        base = workspace.base_commit
        return WorktreeLocation(
            worktree=worktree, git_directory=git_directory, branch=bound or branch, base_commit=base
        )


def usable_source(git: GitRunner, work_dir: Path) -> SourceRepository:
    """The repository around ``work_dir``, with a commit to start from. Raises ``InvalidRequestError``."""
    check_directory(work_dir)
    source = find_source(git, work_dir)
    if source is None:
        raise InvalidRequestError(
            f"workDir {work_dir} is not in a git repository, and an isolated workspace is a worktree of one. Run "
            "`git init` there and make a first commit, or use a shared workspace."
        )
    if source.commit is None:
        raise InvalidRequestError(
            f"The repository {source.top} has no commit yet on {source.branch or 'its HEAD'}, so there is nothing to "
            "start from. Make a first commit (`git commit --allow-empty -m start` will do), or use a shared workspace."
        )
    return source
