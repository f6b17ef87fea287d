"""What became of git operations."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from supervisor.requests import GitType
from supervisor.results.base import ErrorInfo, Result


class GitOutcome(Result):
    type: GitType | None = Field(default=None, description="null: no known type was given")
    workspace_dir: str
    success: bool
    result: dict[str, Any] | None = Field(default=None, description="by type; a merge that conflicts has conflicts")
    left_out: int | None = Field(default=None, description="characters of result not shown")
    cached: bool = Field(default=False, description="an earlier answer that still holds")
    error: ErrorInfo | None = None


class GitPerformance(Result):
    total_operations: int
    cache_hits: int
    avg_git_op_time: float = Field(description="ms, of those not cached")
    queue_size: int = Field(description="that wait now, of the whole team")


class GitBatchResult(Result):
    success: bool = Field(description="all did")
    results: list[GitOutcome]
    performance: GitPerformance
