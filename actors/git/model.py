"""The values of ``git_batch`` between supervisor and host: operations, requests and responses.

They import no git. Operations are hashable: with its directory an operation is the key of a kept answer. File names and
contents may be invalid UTF-8, but messages between processes must be valid: ``with_time`` replaces other bytes.
Fingerprints keep them, because they must name the same files again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgpack

from actors.errors import PhalanxError, WorkspaceError, to_wire

logger = logging.getLogger(__name__)

HEAVY_S = 300.0
"""Longest that one writing git may take: the user's hooks run in it."""
READ_S = 90.0
WRITE_S = 2 * HEAVY_S + READ_S
"""Longest that one write may take: it runs several gits, each with its own limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPaths:
    """The repository that a directory lies in. All paths are real."""

    top: Path | None
    """Root of the working tree; None in a bare repository."""
    git_directory: Path
    """That of this working tree."""
    common_directory: Path
    """Shared by all working trees; it identifies the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadStatus:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRefs:
    kind: Literal["branch", "tag"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLog:
    revision: str | None
    """None: HEAD."""
    limit: int
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDiff:
    """Two commits, or a commit against the working tree or, with ``staged``, the index; git's defaults apply."""

    base: str | None
    head: str | None
    staged: bool
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWorktrees:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictMerge:
    branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRef:
    kind: Literal["branch", "tag"]
    name: str
    start: str | None
    """A revision; None: HEAD of the working tree."""

    @property
    def ref(self) -> str:
        return f"refs/{'heads' if self.kind == 'branch' else 'tags'}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteBranch:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    branch: str
    create: bool
    start: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    message: str
    files: tuple[str, ...]
    everything: bool
    """All changes of the working tree, including new files. Without it and ``files``: what is staged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    branch: str
    message: str | None
    onto: str | None = None
    """The branch that must be checked out; None: whichever is."""


Read: TypeAlias = ReadStatus | ListRefs | ReadLog | ReadDiff | ListWorktrees | PredictMerge
Write: TypeAlias = CreateRef | DeleteBranch | Checkout | Commit | Merge
Operation: TypeAlias = Read | Write


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkBranch:
    """The work of one instance, as it was seen last."""

    name: str
    """The instance's id."""
    branch: str | None
    """None: its working tree is on no branch."""
    commit: str | None = None
    """None: the branch's, whatever it is by then."""

    @property
    def title(self) -> str:
        """For texts: the branch, or the commit."""
        return self.branch or (self.commit or "")[:12]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Two that change the same differently. ``one`` is empty for the branch that the other is to be merged into."""

    one: str
    other: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Asks what each branch of a repository has that its base does not, and what would conflict."""

    git_directory: Path
    branches: tuple[WorkBranch, ...]
    bases: tuple[Path, ...]
    """For each branch a working tree: its base is what that has checked out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchWork:
    ahead: int
    """Commits that the base does not have."""
    behind: int
    """Commits of the base that it does not have."""
    files: tuple[str, ...]
    """Changed by its own commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonReport:
    """By name; a branch that is gone, or whose base is, is left out."""

    bases: Mapping[str, str]
    work: Mapping[str, BranchWork]
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeJob:
    """Several branches of one repository, to be merged into one: all of them, or none."""

    git_directory: Path
    branches: tuple[WorkBranch, ...]
    into: str | None
    """None: what all ``trees`` have checked out."""
    trees: tuple[Path, ...]
    movable_trees: tuple[Path, ...] | None = None
    """One of these must have ``into`` checked out, unless it is one of ``movable_branches``; None: any may move."""
    movable_branches: frozenset[str] = frozenset()
    busy: Mapping[Path, str] = field(default_factory=dict)
    """Working trees that must not change now, and who is at work there."""
    check: tuple[str, ...] = ()
    """A command that must succeed in the merged tree after each merge; empty: none."""
    check_timeout_s: float = 0.0
    message: str | None = None


MergeState = Literal["merged", "already_merged", "conflict", "failed", "not_merged"]
"""``not_merged``: nothing was wrong with it, but with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOutcome:
    state: MergeState
    commit: str
    files: tuple[str, ...] = ()
    """In conflict."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """``commit`` is where ``into`` is now. Unless ``moved``, nothing has changed."""

    into: str
    commit: str
    moved: bool
    order: tuple[str, ...]
    outcomes: Mapping[str, MergeOutcome]
    """By name."""
    conflicts: tuple[Conflict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedMerge:
    """A merge that is made, and of which all holds. Only its target has not moved so far."""

    git_directory: Path
    before: str
    """The commit where the target must still be."""
    tree: Path | None
    """The working tree that has the target checked out, and changes with it."""
    report: MergeReport
    """Of the merge once its target has moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedBranches:
    """How the branches of a ``MergeJob`` stand to its target now."""

    into: str
    commits: Mapping[str, str]
    """By name; those that are gone are left out."""
    merged: frozenset[str]
    """The names of those of which ``into`` has all commits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The state of all files that an answer depends on. While it is the same, the answer holds."""

    digest: bytes
    watched: frozenset[str]
    ignored: frozenset[str] = frozenset()
    """Ignored paths in the working tree, with everything below them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitRequest:
    """One operation in one directory."""

    directory: Path
    operation: Operation
    place: RepositoryPaths | None = None
    """Where the directory must lie when the operation is done; None: wherever it lies."""
    known: Fingerprint | None = None
    """The caller's answer: while it holds, the response is ``unchanged``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitResponse:
    """A result, an error, or ``unchanged``: the known answer still holds."""

    result: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None
    """As ``errors.to_wire`` gives it."""
    fingerprint: Fingerprint | None = None
    """None: the result must not be kept."""
    unchanged: bool = False
    retries: int = 0
    """How often another git blocked it."""
    took_s: float = 0.0

    @classmethod
    def refused(cls, error: PhalanxError) -> GitResponse:
        return cls(error=to_wire(error))


def sendable(value: Any) -> Any:
    """``value`` with U+FFFD in place of invalid UTF-8."""
    try:
        msgpack.packb(value)
    except UnicodeEncodeError:
        return _marked(value)
    return value


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode(errors="surrogateescape").decode(errors="replace")
    if isinstance(value, Mapping):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(each) for each in value]
    return value


def failed(error: Exception) -> GitResponse:
    """The response of a failed operation."""
    if isinstance(error, PhalanxError):
        return GitResponse.refused(error)
    if isinstance(error, OSError):
        return GitResponse.refused(
            WorkspaceError(f"The file system refused: {error}. Check permissions and free space, then try again.")
        )
    logger.error("a git operation failed", exc_info=error)
    return GitResponse.refused(PhalanxError("An error in Phalanx: see the logs of this host."))


def with_time(outcome: GitResponse, took_s: float) -> GitResponse:
    """The response as it is sent: with its duration and valid UTF-8."""
    return replace(outcome, result=sendable(outcome.result), error=sendable(outcome.error), took_s=took_s)
