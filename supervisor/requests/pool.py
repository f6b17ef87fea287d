"""What is to be kept ready."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from supervisor.requests.fields import PermissionMode, Request, VariableName
from supervisor.requests.spawning import Model

MAX_SPARES = 200


class PrewarmRequest(Request):
    """Have spare agents and worktrees ready, so that spawn need not wait for them."""

    instances: int = Field(default=0, ge=0, le=MAX_SPARES, description="Spare agents at their prompt; 0 lets them go.")
    worktrees: Annotated[int, Field(ge=0, le=MAX_SPARES)] | bool = Field(
        default=0,
        description="Spare worktrees for further instances; true: as many as instances, or 5 without any.",
    )
    work_dir: str | None = Field(
        default=None, min_length=1, max_length=4096, description="As for spawn; default: where one was spawned last."
    )
    agent: Literal["claude", "demo"] | None = Field(default=None, description="As for spawn.")
    model: Model | None = Field(default=None, description="As for spawn.")
    permission_mode: PermissionMode | None = Field(default=None, description="As for spawn.")
    env: dict[VariableName, str] = Field(default_factory=dict, description="As for spawn.")

    @property
    def number_of_worktrees(self) -> int:
        if self.worktrees is True:
            return self.instances or 5
        return int(self.worktrees)
