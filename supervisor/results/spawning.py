"""What became of instances that were started."""

from __future__ import annotations

from pydantic import Field

from actors.status import Status
from supervisor.requests import Role, WorkspaceMode
from supervisor.results.base import ROWS_AS_ELSEWHERE, ErrorInfo, Result


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
    notes: list[str] = Field(default_factory=list, description="what to heed, such as uncommitted changes")
    from_pool: bool = Field(default=False, description="it was ready before")


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
    duration: float = Field(description="ms")
    avg_time_per_instance: float = Field(description="ms")
    concurrent_spawns: int = Field(description="at once")
    from_pool: int = Field(default=0, description="ready before")


class SpawnBatchResult(Result):
    success: bool = Field(description="all did")
    instances: list[SpawnOutcome] = Field(
        description="success, and what spawn gives or an error", json_schema_extra=ROWS_AS_ELSEWHERE
    )
    performance: SpawnPerformance
