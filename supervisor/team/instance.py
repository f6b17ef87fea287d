"""The record of one instance, or of a spare agent that may become one; pure.

A record is written to the store with every change. Its id tells the role and the line above.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from actors.worktrees.model import Workspace
from supervisor.api.requests import Role

_ID = re.compile(r"exec_\d+|mgr_\d+_\d+|spec_\d+_\d+_\d+|spare_\d+")
SPARE_PREFIX = "spare_"
"""Names of spare agents and spare worktrees begin so; an instance made of one keeps the name."""


class InstanceStage(StrEnum):
    """How far the life of an instance has got, as far as it must not be forgotten."""

    STARTING = "starting"
    """Its spawn is under way. After a crash it is finished if its agent was given its first message, else undone."""
    SPARE = "spare"
    """It waits at its prompt to become an instance; see ``supervisor.pool``."""
    RUNNING = "running"
    ENDING = "ending"
    """It is being terminated. After a crash that is finished."""
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """One instance. ``number`` is unique in the team; ``executive`` and ``manager`` are the numbers above it, or 0."""

    instance_id: str
    number: int
    executive: int
    manager: int
    role: Role
    parent_id: str | None
    name: str | None
    agent: str
    session_id: str
    """Of the conversation that it was last heard to be in: a person may begin another one at its terminal."""
    created_at: float
    work_dir: Path
    request_id: str | None = None
    """Of the call that made it; see ``rpc.idempotency``."""
    fingerprint: str = ""
    workspace: Workspace | None = None
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Which its host must have, whichever it is; see ``cluster.scheduler``."""
    actor: str = ""
    """The spare actor that it was given; empty: it has one of its own name. See ``actor_name``."""
    spare: str = ""
    """The spare agent that it was made of; see ``place``."""
    summary: str = ""
    """Of its earlier conversation, when that was recycled; see ``recycling``."""
    recipe: str = ""
    """Of a spare only: what it was made for. A spawn that asks for just that may take it."""
    program: str = ""
    """Of a spare only: which program it runs."""
    pane_id: str = ""
    pid: int = 0
    stage: InstanceStage = InstanceStage.STARTING
    moving_from: str = ""
    """The drained host from which it is just being handed over to another one; see ``cluster.migration``."""
    wanted: bool = True
    """It was not terminated: when its agent ends, it may be started again."""
    ended_at: float = 0.0
    """Seconds since the epoch; 0 while its agent lives."""
    reason: str = ""
    """Why it failed."""
    transcript_path: str = ""
    resumes: int = 0
    """How often in a row it was started again by itself; see ``lifecycle``."""
    resumed_at: float = 0.0
    """When that was last; seconds since the epoch."""

    @property
    def session_name(self) -> str:
        return self.instance_id

    @property
    def place(self) -> str:
        """Name of its private directory."""
        return self.spare or self.instance_id

    @property
    def names(self) -> frozenset[str]:
        """Every name its resources may carry on the host: its own, and those of the spares that it was made of."""
        worktree = self.workspace.worktree if self.workspace else None
        return frozenset({self.instance_id, self.place, worktree.name.partition("-")[0] if worktree else self.place})

    @property
    def is_spare(self) -> bool:
        return bool(self.recipe)

    @property
    def actor_name(self) -> str:
        return self.actor or self.instance_id

    @property
    def elsewhere(self) -> bool:
        """It is on another host than the supervisor's, which the name of its actor says."""
        return "@" in self.actor

    @property
    def carried(self) -> bool:
        """What it does elsewhere comes home now and then, so that it can go on without that host."""
        return self.elsewhere and self.workspace is not None and self.workspace.home is not None

    @property
    def directory(self) -> Path:
        """Where the agent works."""
        return self.workspace.directory if self.workspace else self.work_dir

    @property
    def is_isolated(self) -> bool:
        """It has a worktree of its own."""
        return self.workspace is not None and self.workspace.mode == "isolated"

    @property
    def resumable(self) -> bool:
        """Its agent has ended without having been terminated."""
        return self.wanted and self.stage in (InstanceStage.STOPPED, InstanceStage.FAILED)


def worktree_names(records: Iterable[InstanceRecord]) -> set[str]:
    """Names below the worktrees' root that belong to these instances, also to those that are just being started."""
    named: set[str] = set()
    for record in records:
        worktree = record.workspace.worktree if record.workspace else None
        named.add(worktree.name if worktree else record.instance_id)
    return named


def number_in(instance_id: str) -> int:
    """The number of an instance, from its id or the name of its worktree; 0 when it is neither."""
    number = instance_id.rpartition("_")[2].partition("-")[0]
    return int(number) if number.isdecimal() else 0


def is_instance_id(name: str) -> bool:
    """Whether ``name`` is an instance's; resources with other names do not belong to the team."""
    return _ID.fullmatch(name) is not None
