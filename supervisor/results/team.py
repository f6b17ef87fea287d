"""How the team itself is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.status import Status
from supervisor.results.base import ErrorInfo, Result


class StatusResult(Result):
    home: str
    version: str
    supervisor_pid: int
    started_at: str
    store: str
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself, for people")
    resumable: list[str] = Field(default_factory=list, description="ids that resume would start again")
    counts: dict[str, int]
    spawns_running: int
    spawns_waiting: int
    max_concurrent_spawns: int


class ResumedInstance(Result):
    instance_id: str
    status: Status
    resumed: bool = Field(description="the same conversation goes on; false: it had none, or it did not start")
    error: ErrorInfo | None = None


class ResumeResult(Result):
    success: bool
    instances: list[ResumedInstance]


class CollectedItem(Result):
    """One thing that was cleared away, or would be."""

    what: Literal["instance", "worktree", "directory"]
    path: str
    host: str | None = Field(default=None, description="where it is, when that is another host of the team")
    instance_id: str | None = None
    kept: str | None = Field(default=None, description="why it stays; null: it goes")
    saved_ref: str | None = Field(default=None, description="git ref under which uncommitted work was saved")
    repository: str | None = Field(default=None, description="where savedRef is")


class GcResult(Result):
    dry_run: bool
    items: list[CollectedItem]
