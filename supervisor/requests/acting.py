"""What acts on one instance."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from supervisor.requests.fields import InstanceId, Request


class RespondRequest(Request):
    """Answer the permission request that an instance waits on."""

    instance_id: InstanceId
    decision: Literal["allow", "deny"]
    permission_id: str | None = Field(
        default=None,
        max_length=100,
        description="The permissionId that you saw: if another request waits by now, nothing is answered.",
    )
    message: str | None = Field(
        default=None,
        max_length=10_000,
        description="With deny: what to do instead. With allow of AskUserQuestion: the answer.",
    )


class InterruptRequest(Request):
    """Stop an instance's current turn; the instance stays."""

    instance_id: InstanceId


class TerminateRequest(Request):
    """Stop an instance for good. Unmerged or uncommitted work stays where it is."""

    instance_id: InstanceId
    cascade: bool = Field(default=False, description="Also stop the instances that it leads.")


class RecycleRequest(Request):
    """Let a fresh conversation go on in place of an instance's long one, with a summary, on the same branch."""

    instance_id: InstanceId


class RestartRequest(Request):
    """Start a stopped or failed instance again (or a running one anew), with the same conversation and workspace."""

    instance_id: InstanceId
