"""What became of instances that were started."""

from __future__ import annotations

from pydantic import Field

from actors.states import Status
from supervisor.requests import Role, WorkspaceMode
from supervisor.results.base import ErrorInfo, Result


class SpawnResult(Result):
    instance_id: str
    session_name: str
    role: Role
    workspace_mode: WorkspaceMode
    working_directory: str
    branch: str | None
    status: Status
    reason: str | None = Field(
        default=None, description="what keeps its first message back; it goes on by itself once that is answered"
    )
    notes: list[str] = Field(default_factory=list, description="What the caller should know, for example a dirty tree.")
    from_pool: bool = Field(default=False, description="its agent was ready before")


class SpawnOutcome(Result):
    """One member of a batch: the fields of ``SpawnResult``, or an error."""

    success: bool
    instance_id: str | None = None
    session_name: str | None = None
    role: Role | None = None
    workspace_mode: WorkspaceMode | None = None
    working_directory: str | None = None
    branch: str | None = None
    status: Status | None = None
    reason: str | None = None
    notes: list[str] = Field(default_factory=list)
    from_pool: bool = False
    error: ErrorInfo | None = None


class SpawnPerformance(Result):
    duration: float = Field(description="ms for the whole batch")
    avg_time_per_instance: float = Field(description="ms")
    concurrent_spawns: int = Field(description="most spawns that ran at once")
    from_pool: int = Field(default=0, description="members whose agent was ready before")


class SpawnBatchResult(Result):
    success: bool = Field(description="true when every member succeeded")
    instances: list[SpawnOutcome]
    performance: SpawnPerformance
