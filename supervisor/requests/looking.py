"""What only looks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from supervisor.requests.fields import LEAD_WAIT_S, MAX_BATCH_MEMBERS, MAX_WAIT_S, InstanceId, Request, Role


class ReadRequest(Request):
    """Read what an instance said, or its screen."""

    instance_id: InstanceId
    source: Literal["conversation", "screen"] = Field(
        default="conversation", description="The agent's own record, or the pane's text."
    )
    cursor: str | None = Field(default=None, max_length=100, description="Of an earlier answer: only what is newer.")
    lines: int = Field(default=50, ge=1, le=2000, description="Most entries, or screen lines.")
    full: str | None = Field(default=None, max_length=100, description="Of one shortened entry: that one, whole.")


class ListRequest(Request):
    """See the team, those that need attention first."""

    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Only these, in full."
    )
    role: Role | None = None
    parent_id: InstanceId | None = None
    needs_attention: bool = Field(default=False, description="Only those that need somebody.")
    include_stopped: bool = Field(default=False, description="Also those that were terminated.")


class WaitRequest(Request):
    """Wait until instances are done or need something."""

    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Default: the whole team."
    )
    until: Literal["idle", "any_idle", "needs_attention"] = Field(
        default="idle", description="idle: all are done; any_idle: one is; needs_attention: one needs somebody."
    )
    timeout_seconds: float = Field(default=LEAD_WAIT_S, gt=0, le=MAX_WAIT_S)
