"""What is kept ready."""

from __future__ import annotations

from pydantic import Field

from supervisor.results.base import Result


class PrewarmResult(Result):
    success: bool = Field(description="true when all that was asked for was made")
    work_dir: str
    instances: int = Field(description="spare agents that are ready now")
    worktrees: int = Field(description="spare worktrees that are ready now, beside those of the agents")
    taken: int = Field(default=0, description="of what was asked for, by spawns before all was ready")
    errors: list[str] = Field(default_factory=list, description="why some are not there")
