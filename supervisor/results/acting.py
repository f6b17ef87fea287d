"""What became of one instance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from actors.status import Status
from supervisor.results.base import AS_ELSEWHERE, ErrorInfo, Result
from supervisor.results.looking import DialogInfo, Permission


class RespondResult(Result):
    instance_id: str
    decision: Literal["allow", "deny"] | None = None
    permission: Permission | None = Field(default=None, description="that was answered", json_schema_extra=AS_ELSEWHERE)
    dialog: DialogInfo | None = Field(default=None, description="that was answered", json_schema_extra=AS_ELSEWHERE)
    status: Status


class InterruptResult(Result):
    instance_id: str
    interrupted: bool = Field(description="false: no turn was under way")
    status: Status


class TerminatedInstance(Result):
    instance_id: str
    status: Status | None = None
    workspace_removed: bool = False
    kept: str | None = Field(default=None, description="where work was left, and why")
    saved_ref: str | None = Field(default=None, description="of uncommitted work")
    repository: str | None = Field(default=None, description="where savedRef is")
    error: ErrorInfo | None = None


class TerminateResult(Result):
    success: bool
    terminated: list[TerminatedInstance]
    still_running: list[str] = Field(default_factory=list, description="those that it led and that go on without it")


class RecycleResult(Result):
    instance_id: str
    status: Status
    summary: str = Field(description="what the old conversation left to the fresh one")


class RestartResult(Result):
    instance_id: str
    status: Status
    resumed: bool = Field(description="the same conversation goes on; false: it had none yet")


class RestartOutcome(Result):
    """One of several: the fields of ``RestartResult``, or an error."""

    instance_id: str
    success: bool
    status: Status | None = None
    resumed: bool | None = None
    error: ErrorInfo | None = None


class RestartsResult(Result):
    """Of one the fields of ``RestartResult``, of several ``restarted``."""

    success: bool
    instance_id: str | None = None
    status: Status | None = None
    resumed: bool | None = Field(default=None, description="the same conversation goes on; false: it had none yet")
    restarted: list[RestartOutcome] | None = Field(default=None, description="of instanceIds")
