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
    left_out: int | None = Field(
        default=None, description="characters of result not shown: ask for it alone, by files or maxCount"
    )
    cached: bool = Field(default=False, description="an earlier answer, of which was seen just now that it still holds")
    error: ErrorInfo | None = None


class GitPerformance(Result):
    total_operations: int
    cache_hits: int
    avg_git_op_time: float = Field(description="ms that git took for each operation that was not cached")
    queue_size: int = Field(description="operations of the whole team that wait now")


class GitBatchResult(Result):
    success: bool = Field(description="true when every operation succeeded")
    results: list[GitOutcome]
    performance: GitPerformance
