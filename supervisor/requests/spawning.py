"""What starts instances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError

from supervisor.requests.fields import (
    MAX_SPAWN_BATCH_MEMBERS,
    REQUEST_ID_USE,
    InstanceId,
    Name,
    PermissionMode,
    Request,
    RequestId,
    Role,
    VariableName,
    WorkspaceMode,
)
from supervisor.requests.hosts import HostName, LabelKey, LabelValue
from supervisor.requests.members import FailsAlone, Malformed

Model = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/\[\]@-]{0,99}$")]


class SpawnRequest(Request):
    """Start one instance and give it its first message."""

    role: Role = Field(
        description="What it is told its part is (executive: over managers, manager: over specialists, "
        "specialist: does the work) and who may be its parent. It gives no rights and no tools."
    )
    work_dir: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute path of the directory to work on; for an isolated workspace, in a git repository.",
    )
    context: str = Field(min_length=1, description="The first message: the task and all that is needed to begin it.")
    parent_id: InstanceId | None = Field(
        default=None,
        description="Id of the instance above this one, for example mgr_1_2; without it, you are. It orders the team "
        "(list, cascade of terminate) and is told to this one; it moves no messages.",
    )
    workspace_mode: WorkspaceMode = Field(
        default="isolated",
        description="isolated: a git worktree on a branch of its own; shared: workDir itself.",
    )
    host: HostName | None = Field(
        default=None, description="The machine to run on, as hosts lists it; default: where there is most room."
    )
    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, description="Labels that its machine must have, as hosts lists them."
    )
    name: Name | None = Field(
        default=None, description="A label: up to 40 letters, digits, '-' and '_'; tools take the id."
    )
    agent: Literal["claude", "demo"] | None = Field(default=None, description="Program to run; default by settings.")
    model: Model | None = Field(
        default=None, description="Model to use, as Claude Code's --model takes it, such as sonnet; default: its own."
    )
    permission_mode: PermissionMode | None = Field(
        default=None,
        description="Which tool calls it may make without asking; default, which asks (see respond).",
    )
    env: dict[VariableName, str] = Field(
        default_factory=dict, description="Environment variables for this agent, on top of the team's."
    )
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)


def _of_a_batch(member: SpawnRequest) -> SpawnRequest:
    if member.request_id is not None:
        raise PydanticCustomError("of_a_batch", "requestId stands beside instances, one for the whole batch")
    return member


class _WithoutRequestId:
    """Takes requestId out of a member's schema."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        member = handler.resolve_ref_schema(handler(schema))
        return {**member, "properties": {name: of for name, of in member["properties"].items() if name != "requestId"}}


_WellFormed = Annotated[SpawnRequest, AfterValidator(_of_a_batch), _WithoutRequestId()]
SpawnMember = Annotated[SpawnRequest | Malformed, FailsAlone(SpawnRequest, _WellFormed)]


class SpawnBatchRequest(Request):
    """Start many instances at once. Results come in order; a failing member fails alone."""

    instances: Sequence[SpawnMember] = Field(min_length=1, max_length=MAX_SPAWN_BATCH_MEMBERS)
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)
