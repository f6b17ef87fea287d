"""The values that travel with code. They import no git."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

PIECE_BYTES = 8 << 20
"""Most that is in memory of a parcel at one time, on either side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an isolated workspace begins: one commit of a repository on the host that has it."""

    key: str
    """Of the repository, the same for all its worktrees; names its mirrors."""
    git_directory: Path
    top: Path
    prefix: PurePath
    """The directory to work in, relative to ``top``."""
    commit: str
    branch: str
    """Made in the repository for the instance, at ``commit``; of a spare it is not made."""
    directory: str = ""
    """Name of the worktree's directory; empty: as the branch."""
    author: Mapping[str, str] = field(default_factory=dict)
    """``user.name`` and ``user.email`` as they hold in the repository."""
    notes: tuple[str, ...] = ()
    uncommitted: str = ""
    """A save of what was not committed, to be laid over ``commit``; empty: there is none."""

    @property
    def commits(self) -> tuple[str, ...]:
        return (self.commit, self.uncommitted) if self.uncommitted else (self.commit,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What one host lacks of another's repository, ready to be asked for. Empty (``size`` 0): it lacks nothing."""

    parcel_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an instance on another host has made so far, by its refs there."""

    name: str
    """Of the instance, as its branch says; a worktree that was a spare has another one."""
    branch: str
    commit: str
    """The tip of its branch."""
    saved: Mapping[str, str] = field(default_factory=dict)
    """Further refs below ``refs/phalanx/saved/`` and their commits: work that was not committed."""

    @property
    def commits(self) -> tuple[str, ...]:
        return (self.commit, *self.saved.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What became of work that came home. ``note`` says why the branch was not moved; empty when it was."""

    work: Work
    note: str
