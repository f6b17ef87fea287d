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
        description="What it is told its part is, and who may be its parent: executive, over managers, over "
        "specialists, who do the work. It gives no rights and no tools."
    )
    work_dir: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute path of the directory to work on, in a git repository unless shared.",
    )
    context: str = Field(min_length=1, description="The first message: the whole task.")
    parent_id: InstanceId | None = Field(
        default=None,
        description="Id of the instance above this one; default: you. It orders the team; it moves no messages.",
    )
    workspace_mode: WorkspaceMode = Field(
        default="isolated",
        description="A git worktree on a branch of its own, or workDir itself.",
    )
    host: HostName | None = Field(
        default=None,
        description="The machine to run on, as get_performance names it; default: where most room is.",
    )
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Which its machine must have.")
    name: Name | None = Field(default=None, description="A label: letters, digits, - and _, at most 40.")
    agent: Literal["claude", "demo"] | None = Field(default=None, description="Default by settings.")
    model: Model | None = Field(default=None, description="As Claude Code's --model takes it; default: its own.")
    permission_mode: PermissionMode | None = Field(
        default=None,
        description="Which tool calls it may make without asking; default, which asks (see respond).",
    )
    env: dict[VariableName, str] = Field(
        default_factory=dict, description="Environment variables, on top of the team's."
    )
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)


def _of_a_batch(member: SpawnRequest) -> SpawnRequest:
    if member.request_id is not None:
        raise PydanticCustomError("of_a_batch", "requestId stands beside instances, one for the whole batch")
    return member


class _AsForSpawn:
    """Takes requestId and the descriptions out of a member's schema."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        member = handler.resolve_ref_schema(handler(schema))
        return {
            **{key: value for key, value in member.items() if key != "description"},
            "properties": {
                name: {key: value for key, value in of.items() if key != "description"}
                for name, of in member["properties"].items()
                if name != "requestId"
            },
        }


_WellFormed = Annotated[SpawnRequest, AfterValidator(_of_a_batch), _AsForSpawn()]
SpawnMember = Annotated[SpawnRequest | Malformed, FailsAlone(SpawnRequest, _WellFormed)]


class SpawnBatchRequest(Request):
    """Start many instances at once. Results come in order; a failing member fails alone."""

    instances: Sequence[SpawnMember] = Field(min_length=1, max_length=MAX_SPAWN_BATCH_MEMBERS)
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)
