"""What callers may ask of a team beyond the everyday: start and end, git, hosts, settings. Part of ``requests``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError

from actors.agents.names import AgentName
from actors.worktrees.limits import MAX_COPIED_FILES, SETUP_LIMIT_S
from supervisor.api.requests import (
    KEYS,
    LEAD_WAIT_S,
    LONGEST_WINDOW_S,
    MAX_BATCH_MEMBERS,
    MAX_KEYS,
    MAX_MERGED,
    MAX_SPAWN_BATCH_MEMBERS,
    MAX_TYPED_CHARACTERS,
    NAME_FORM,
    REQUEST_ID_USE,
    BranchName,
    CommitMessage,
    DirectoryPath,
    FailsAlone,
    GitType,
    HostName,
    InstanceId,
    LabelKey,
    LabelValue,
    Malformed,
    McpServers,
    Model,
    Name,
    PermissionMode,
    Profile,
    Reference,
    RelativePath,
    Request,
    RequestId,
    Role,
    SendMember,
    SpareCount,
    VariableName,
    WaitSeconds,
    WorkspaceMode,
    for_faults_only,
)

_KEY_NAME = "^(Enter|Escape|Tab|BTab|BSpace|DC|Up|Down|Left|Right|Home|End|PageUp|PageDown|C-[a-y])$"
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class Limits(Request):
    """What holds for an instance and all below it. What is not given is not limited."""

    instances: int | None = Field(default=None, ge=0, description="at once below it")
    depth: int | None = Field(default=None, ge=0, description="levels below it")
    models: list[Model] | None = None
    permission_modes: Annotated[
        list[PermissionMode] | None, WithJsonSchema({"type": "array", "items": {"type": "string"}})
    ] = Field(default=None, json_schema_extra=_without_default)
    tokens: int | None = Field(default=None, ge=1, description="of itself and all below it")

    @property
    def given(self) -> dict[str, Any]:
        """Those that a caller has given, by name."""
        return self.model_dump(exclude_none=True)


class Preparation(Request):
    """What is done in a new worktree before its agent starts. When it fails the worktree is undone."""

    copy_files: list[RelativePath] = Field(
        default_factory=list,
        alias="copy",
        max_length=MAX_COPIED_FILES,
        description="Files below workDir that git does not bring along, such as .env.",
    )
    setup: str | None = Field(
        default=None,
        min_length=1,
        max_length=10_000,
        description=f"A command for sh, run in the worktree after that, for at most {SETUP_LIMIT_S:.0f} s.",
    )


_IN_THE_RECORD = {"role", "work_dir", "context", "parent_id", "name", "agent", "env", "request_id"}


def _for_people_only(schema: dict[str, Any]) -> None:
    """Takes ``prepare`` out of the tools' schema: its command runs outside of all permission rules of a lead."""
    schema["properties"].pop("prepare")


class SpawnRequest(Request):
    """Start one instance and give it its first message."""

    model_config = ConfigDict(json_schema_extra=_for_people_only)

    role: Role = Field(description="A specialist works, a manager leads specialists, an executive managers.")
    work_dir: DirectoryPath = Field(description="Absolute path, in a git repository unless shared.")
    context: str = Field(description="The first message.")
    parent_id: InstanceId | None = Field(
        default=None,
        description="Who leads it; default: you.",
    )
    workspace_mode: WorkspaceMode = Field(default="isolated", description="A worktree of its own, or workDir itself.")
    host: HostName | None = Field(default=None, description="As get_performance names it.")
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="Of its machine.")
    name: Name | None = Field(default=None, description=NAME_FORM, json_schema_extra=for_faults_only)
    agent: AgentName | None = Field(default=None, description="Default by settings.")
    model: Model | None = Field(default=None, description="As --model takes it.")
    permission_mode: PermissionMode | None = Field(default=None, description="default asks (see respond).")
    answers: Literal["permissions"] | None = Field(default=None, description="It may answer those below it.")
    env: dict[VariableName, str] = Field(default_factory=dict, description="On top of the team's.")
    mcp_servers: McpServers = Field(default="all", description="all, none or names of the user's own.")
    limits: Annotated[Limits | None, WithJsonSchema({"type": "object"})] = Field(
        default=None, description="As for limit.", json_schema_extra=_without_default
    )
    prepare: Preparation | None = Field(default=None, description="What to do in its worktree before it starts.")
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)

    @property
    def attended(self) -> bool:
        """A person begins the conversation at the terminal of the instance."""
        return not self.context

    @property
    def also_asked(self) -> dict[str, Any]:
        """What is asked for beside what the instance's record holds by itself, as JSON without defaults.

        Without the environment, which may hold secrets, and the text, which may be long.
        """
        return self.model_dump(mode="json", by_alias=True, exclude=_IN_THE_RECORD, exclude_defaults=True)

    @field_validator("context")
    @classmethod
    def _needed(cls, context: str, info: ValidationInfo) -> str:
        if not context and info.data.get("role", Role.EXECUTIVE) is not Role.EXECUTIVE:
            raise PydanticKnownError("string_too_short", {"min_length": 1})
        return context

    @model_validator(mode="after")
    def _answers_to_somebody(self) -> Self:
        if self.answers is not None and self.role is Role.SPECIALIST:
            raise PydanticCustomError(
                "nobody_below", "answers is for executives and managers: nobody asks a specialist"
            )
        return self

    @model_validator(mode="after")
    def _prepares_a_worktree(self) -> Self:
        if self.prepare is not None and self.workspace_mode != "isolated":
            raise PydanticCustomError("prepare", "prepare is for a worktree of its own: leave out workspaceMode shared")
        return self


def _of_a_batch(member: SpawnRequest) -> SpawnRequest:
    if member.request_id is not None:
        raise PydanticCustomError("of_a_batch", "requestId stands beside instances, one for the whole batch")
    return member


class _AsForSpawn:
    """Leaves requestId and the descriptions out of a member's schema."""

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
    request_id: RequestId | None = None


class PrewarmRequest(Request):
    """Have spare agents and worktrees ready, so that spawn need not wait for them."""

    instances: SpareCount | None = Field(default=None, description="0 lets the ordered ones go.")
    worktrees: Annotated[SpareCount | bool | None, WithJsonSchema({"type": ["integer", "boolean"]})] = Field(
        default=None,
        description="For further instances; true: as many as instances, or 5.",
        json_schema_extra=_without_default,
    )
    work_dir: DirectoryPath | None = Field(default=None, description="Default: where one was started last.")
    role: Role = Role.SPECIALIST
    agent: AgentName | None = None
    model: Model | None = None
    permission_mode: PermissionMode | None = None
    env: dict[VariableName, str] = Field(default_factory=dict)
    mcp_servers: McpServers = "all"

    @property
    def number_of_worktrees(self) -> int | None:
        """None: the existing ones stay."""
        if self.worktrees is True:
            return self.instances or 5
        return None if self.worktrees is None else int(self.worktrees)


class SendBatchRequest(Request):
    """Give many instances messages at once. Results come in order; a failing member fails alone."""

    messages: Sequence[SendMember] = Field(min_length=1, max_length=MAX_BATCH_MEMBERS)
    wait: bool = Field(default=False, description="Return when every message's fate is known.")
    timeout_seconds: WaitSeconds = LEAD_WAIT_S
    request_id: RequestId | None = None


class Key(Request):
    """A text or a key that is pressed."""

    text: Annotated[str, StringConstraints(max_length=MAX_TYPED_CHARACTERS, pattern=_PRINTABLE)] | None = Field(
        default=None, description=f"Printable, of one line, at most {MAX_TYPED_CHARACTERS} characters."
    )
    key: Annotated[str, StringConstraints(pattern=_KEY_NAME)] | None = Field(default=None, description=KEYS)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.key is None):
            raise PydanticCustomError("one_of_both", "give either text or key")
        return self


class TypeRequest(Request):
    """Type into the terminal of an instance, as a person who is attached would."""

    instance_id: InstanceId
    keys: list[Key] = Field(min_length=1, max_length=MAX_KEYS)
    seen: Reference | None = Field(
        default=None,
        description="The version that you look at: nothing is typed when a dialog is up that it does not show.",
    )


class OneOrManyRequest(Request):
    instance_id: InstanceId | None = None
    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Each fails alone."
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if (self.instance_id is None) == (self.instance_ids is None):
            raise PydanticCustomError("one_or_many", "give instanceId for one, or instanceIds for several")
        return self

    @property
    def ids(self) -> Sequence[str]:
        """Without repeats."""
        return tuple(dict.fromkeys(self.instance_ids or [str(self.instance_id)]))


class TerminateRequest(OneOrManyRequest):
    """Stop instances for good. Unmerged or uncommitted work stays where it is."""

    cascade: bool = Field(default=False, description="Also those that they lead.")


def _without_lift(schema: dict[str, Any]) -> None:
    """A lead gives an empty list or a higher number: a further argument would cost every lead its description."""
    schema["properties"].pop("lift")


class LimitRequest(Request):
    """Change the limits of an instance. What is not given stays; an empty list lifts."""

    model_config = ConfigDict(json_schema_extra=_without_lift)

    instance_id: InstanceId
    limits: Limits
    lift: list[Literal["instances", "depth", "models", "permissionModes", "tokens"]] = Field(
        default_factory=list, max_length=5
    )

    @property
    def lifted(self) -> list[str]:
        """The names of the limits in ``Limits`` that are not to hold any more."""
        return [name for name, field in Limits.model_fields.items() if (field.alias or name) in self.lift]


class RecycleRequest(Request):
    """Let a fresh conversation go on in place of an instance's long one, with a summary, on the same branch."""

    instance_id: InstanceId


class RestartRequest(OneOrManyRequest):
    """Start stopped or failed instances again (or running ones anew), with the same conversation and workspace."""


class GitOperation(Request):
    """One git operation in one directory."""

    type: GitType
    workspace_dir: DirectoryPath = Field(description="Absolute path; of an instance its workingDirectory.")
    params: dict[str, Any] = Field(default_factory=dict)
    cache_key: str | None = Field(default=None, max_length=200, description="Not needed.")


GitMember = Annotated[GitOperation | Malformed, FailsAlone(GitOperation, GitOperation)]


class GitBatchRequest(Request):
    """Operate git in many directories at once. Results come in order; a failing operation fails alone."""

    operations: Sequence[GitMember] = Field(
        min_length=1, max_length=MAX_BATCH_MEMBERS, description="A list of {type, workspaceDir, params}."
    )
    request_id: RequestId | None = None


class MergeRequest(Request):
    """Merge the work of instances into one branch: all of it, or none."""

    instance_ids: list[InstanceId] = Field(min_length=1, max_length=MAX_MERGED)
    into: BranchName | None = Field(default=None, description="Default: what you have checked out.")
    check: str | None = Field(
        default=None, max_length=2_000, description="One of the setting merge_checks: must succeed."
    )
    message: CommitMessage | None = None
    commit_message: CommitMessage | None = Field(
        default=None, description="Commits first what they have not committed."
    )
    request_id: RequestId | None = None


class SyncRequest(Request):
    """Bring a branch into the branches of instances, each between two turns."""

    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Default: all below you."
    )
    from_branch: BranchName | None = Field(default=None, alias="from", description="Default: as into of merge.")
    timeout_seconds: WaitSeconds = Field(default=LEAD_WAIT_S, description="For those at work.")
    request_id: RequestId | None = None


class DescribeRequest(Request):
    """See how each instance was started, to compare it with a file of the team."""

    include_stopped: bool = Field(default=False, description="Also those that were terminated.")


class HostsRequest(Request):
    """The machines of the team, how many instances each has and has room for."""


class DrainRequest(Request):
    """Place nothing new on a machine and hand those that are there over to others, each when its turn is done."""

    host: HostName = Field(description="As `phalanx hosts` lists it.")
    undo: bool = Field(default=False, description="Place instances there again.")
    wait: bool = Field(default=True, description="Return when all are handed over. They are in any case.")
    timeout_seconds: WaitSeconds = Field(default=600.0, description="With wait: longest wait.")


class ResumeRequest(Request):
    """Start again every instance that ended without having been asked to, each with its conversation."""


class GcRequest(Request):
    """Clear away what instances that were terminated have left behind. Unsaved work is saved first."""

    dry_run: bool = Field(default=False, description="Only tell what would go.")


class IdentifyRequest(Request):
    """Which instance has a token."""

    token_hash: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the token, in hexadecimal.")


class GetPerformanceRequest(Request):
    """See how the team performs and what would help."""

    window_seconds: float = Field(default=300.0, ge=10, le=LONGEST_WINDOW_S, description="How far back.")


class MetricsRequest(Request):
    """The team's figures for Prometheus."""


class OptimizeSettingsRequest(Request):
    """Change settings of the running team; they hold for the next one too. Only what is given is changed."""

    profile: Profile | None = Field(default=None, description="For up to 10, 50, 100, and more instances.")
    max_concurrent_spawns: int | None = Field(default=None, ge=1, le=100)
    max_concurrent_git_ops: int | None = Field(default=None, ge=1, le=100)
    message_batch_size: int | None = Field(default=None, ge=1, le=1000)
    message_batch_delay: float | None = Field(
        default=None,
        ge=0,
        le=60_000,
        description="ms that a message waits for more.",
    )
    cache_size: int | None = Field(default=None, ge=0, le=100_000)
    cache_ttl: float | None = Field(default=None, alias="cacheTTL", ge=0, le=86_400_000, description="ms")
    worktree_pool_size: int | None = Field(
        default=None, ge=0, le=500, description="Spare worktrees for each repository."
    )
    prewarm_instances: int | None = Field(default=None, ge=0, le=500, description="Spare agents at their prompt.")
    auto: bool | None = Field(default=None, description="The spawn cap tunes itself.")
    reset: bool = Field(default=False, description="First take back all changes.")

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, given: Any) -> Any:
        """Reads the other form ``{"settings": {…}}`` as the same."""
        if not isinstance(given, dict) or not isinstance(given.get("settings"), dict):
            return given
        outside = {name: value for name, value in given.items() if name != "settings"}
        twice = sorted(outside.keys() & given["settings"].keys())
        if twice:
            raise ValueError(f"{', '.join(twice)} is given twice, inside settings and beside it")
        return {**outside, **given["settings"]}


class ShutdownRequest(Request):
    """Stop every instance gently, before the team is brought down."""
