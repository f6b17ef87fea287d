"""What is kept ready."""

from __future__ import annotations

from pydantic import Field

from supervisor.results.base import Result


class PrewarmResult(Result):
    success: bool = Field(description="all that was asked for was made")
    work_dir: str
    instances: int = Field(description="ready now")
    worktrees: int = Field(description="beside those of the agents")
    taken: int = Field(default=0, description="by spawns meanwhile")
    errors: list[str] = Field(default_factory=list, description="why some are not there")
