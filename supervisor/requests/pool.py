"""What is to be kept ready."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from supervisor.requests.fields import PermissionMode, Request, VariableName
from supervisor.requests.spawning import Model

MAX_SPARES = 200


class PrewarmRequest(Request):
    """Have spare agents and worktrees ready, so that spawn need not wait for them."""

    instances: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SPARES,
        description="0 lets them go; without it they stay as they are.",
    )
    worktrees: Annotated[int, Field(ge=0, le=MAX_SPARES)] | bool | None = Field(
        default=None,
        description="Spare worktrees for further instances, likewise; true: as many as instances, or 5 without any.",
    )
    work_dir: str | None = Field(
        default=None,
        min_length=1,
        max_length=4096,
        description="As for spawn; default: where one was started last, at first your own directory.",
    )
    agent: Literal["claude", "demo"] | None = Field(default=None)
    model: Model | None = Field(default=None)
    permission_mode: PermissionMode | None = Field(default=None)
    env: dict[VariableName, str] = Field(default_factory=dict)

    @property
    def number_of_worktrees(self) -> int | None:
        """None: those that there are stay."""
        if self.worktrees is True:
            return self.instances or 5
        return None if self.worktrees is None else int(self.worktrees)
