"""What callers may ask of a team: one model a verb, the same for MCP tools, the command line and Python.

Field names on the wire are camelCase, as the guide's users know them. Unknown fields are refused by name. The models
check form only (types, ranges, patterns); what depends on the team's state is checked by the supervisor.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

MAX_MESSAGE_BYTES = 1_000_000
"""Longest message or context, in bytes of UTF-8. The supervisor checks it, so that one long message fails alone."""
MAX_BATCH_MEMBERS = 1000
MAX_SPAWN_BATCH_MEMBERS = 200
MAX_WAIT_S = 3600.0


class Role(StrEnum):
    EXECUTIVE = "executive"
    MANAGER = "manager"
    SPECIALIST = "specialist"


WorkspaceMode = Literal["isolated", "shared"]
PermissionMode = Literal["default", "acceptEdits", "plan", "bypassPermissions"]


def _not_reserved(name: str) -> str:
    # By PHALANX_TEAM and its like the processes of a team are found again.
    if name.startswith(("PHALANX_", "RAY_")) and not name.startswith("PHALANX_DEMO_"):
        raise ValueError("names that begin with PHALANX_ or RAY_ are Phalanx's own")
    return name


InstanceId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]{3,4}(_[0-9]+){1,3}$", max_length=64),
    Field(description="Id of an instance as spawn and list give it, for example spec_1_1_7."),
]
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"),
    Field(description="A short label: letters, digits, '-' and '_', beginning with a letter or digit."),
]
RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,119}$")]
_REQUEST_ID_USE = (
    "Rarely needed. A name of your choice for this one call (letters, digits, . _ : / -, at most 120): when its answer "
    "was lost, the same call with the same requestId is not done twice, but gives what the first one gave."
)
VariableName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100),
    AfterValidator(_not_reserved),
]


class Request(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class SpawnRequest(Request):
    """Start one instance and give it its first message."""

    role: Role = Field(description="executive leads managers, manager leads specialists, specialist does the work.")
    work_dir: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute path of the directory to work on; for an isolated workspace, in a git repository.",
    )
    context: str = Field(min_length=1, description="The first message: the task and all that is needed to begin it.")
    parent_id: InstanceId | None = Field(
        default=None, description="Id of the instance that leads this one, for example mgr_1_2; without it, you do."
    )
    workspace_mode: WorkspaceMode = Field(
        default="isolated",
        description="isolated: a git worktree on a branch of its own; shared: workDir itself.",
    )
    name: Name | None = Field(
        default=None, description="A label: up to 40 letters, digits, '-' and '_'; tools take the id."
    )
    agent: Literal["claude", "demo"] | None = Field(default=None, description="Program to run; default by settings.")
    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/\[\]@-]{0,99}$")] | None = Field(
        default=None, description="Model to use, as Claude Code's --model takes it, such as sonnet; default: its own."
    )
    permission_mode: PermissionMode | None = Field(
        default=None, description="Which tool calls the agent may make without asking; default by its own settings."
    )
    env: dict[VariableName, str] = Field(
        default_factory=dict, description="Environment variables for this agent, on top of the team's."
    )
    request_id: RequestId | None = Field(default=None, description=_REQUEST_ID_USE)


def _of_a_batch(member: SpawnRequest) -> SpawnRequest:
    if member.request_id is not None:
        raise PydanticCustomError("of_a_batch", "requestId stands beside instances, one for the whole batch")
    return member


class _WithoutRequestId:
    """Takes requestId out of a member's schema."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        member = handler.resolve_ref_schema(handler(schema))
        return {**member, "properties": {name: of for name, of in member["properties"].items() if name != "requestId"}}


SpawnMember = Annotated[SpawnRequest, AfterValidator(_of_a_batch), _WithoutRequestId()]


class SpawnBatchRequest(Request):
    """Start many instances at once. Results come in order; a failing member fails alone."""

    instances: list[SpawnMember] = Field(min_length=1, max_length=MAX_SPAWN_BATCH_MEMBERS)
    request_id: RequestId | None = Field(default=None, description=_REQUEST_ID_USE)


class SendRequest(Request):
    """Give one instance a message."""

    instance_id: InstanceId
    message: str = Field(min_length=1, description="The text, at most 1 MB. It arrives exactly as given.")
    immediate: bool = Field(default=False, description="Deliver now, with what is queued before it, without batching.")
    wait: bool = Field(default=False, description="Return when the message's fate is known instead of at once.")
    timeout_seconds: float = Field(
        default=120.0, gt=0, le=MAX_WAIT_S, description="With wait: longest wait; the message goes on all the same."
    )
    request_id: RequestId | None = Field(default=None, description=_REQUEST_ID_USE)


class BatchMessage(Request):
    instance_id: InstanceId
    message: str = Field(min_length=1, description="The text, at most 1 MB. It arrives exactly as given.")
    immediate: bool = Field(default=False, description="Deliver now, with what is queued before it, without batching.")


class SendBatchRequest(Request):
    """Give many instances messages at once. Results come in order; a failing member fails alone."""

    messages: list[BatchMessage] = Field(min_length=1, max_length=MAX_BATCH_MEMBERS)
    wait: bool = Field(default=False, description="Return when every message's fate is known.")
    timeout_seconds: float = Field(default=120.0, gt=0, le=MAX_WAIT_S, description="With wait: longest wait.")
    request_id: RequestId | None = Field(default=None, description=_REQUEST_ID_USE)


class ReadRequest(Request):
    """Read what an instance said, or its screen."""

    instance_id: InstanceId
    source: Literal["conversation", "screen"] = Field(
        default="conversation", description="conversation: from the agent's own record; screen: the pane's text."
    )
    cursor: str | None = Field(
        default=None, max_length=100, description="The cursor of an earlier answer: only what is newer is returned."
    )
    lines: int = Field(default=50, ge=1, le=2000, description="Most conversation entries, or screen lines, to return.")


class ListRequest(Request):
    """See the team, those that need attention first."""

    role: Role | None = None
    parent_id: InstanceId | None = None
    needs_attention: bool = Field(default=False, description="Only instances that wait for a decision or have failed.")


class WaitRequest(Request):
    """Wait until instances are done or need something."""

    instance_ids: list[InstanceId] = Field(min_length=1, max_length=MAX_BATCH_MEMBERS)
    until: Literal["idle", "any_idle", "needs_attention"] = Field(
        default="idle",
        description="idle: all are done or can go no further; any_idle: one is; needs_attention: one needs a decision.",
    )
    timeout_seconds: float = Field(default=60.0, gt=0, le=MAX_WAIT_S)


class RespondRequest(Request):
    """Answer the permission request that an instance waits on."""

    instance_id: InstanceId
    decision: Literal["allow", "deny"]
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


class RestartRequest(Request):
    """Start a stopped or failed instance again (or a running one anew), with the same conversation and workspace."""

    instance_id: InstanceId


class ResumeRequest(Request):
    """Start again every instance that ended without having been asked to, each with its conversation."""


class GcRequest(Request):
    """Clear away what instances that were terminated have left behind. Unsaved work is saved first."""

    dry_run: bool = Field(default=False, description="Only tell what would go.")
