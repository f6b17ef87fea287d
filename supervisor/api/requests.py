"""What callers may ask of a team: one model for each verb, the same for MCP tools, the command line and Python.

Field names are camelCase on the wire. Unknown fields are refused by name. The models check form only (types, ranges,
patterns); the supervisor checks what depends on the team's state. A malformed member of a batch is kept as
``Malformed``, so that it fails alone. Only a call whose own form is wrong (no list, no member, too many) is refused as
a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from actors.agents.base import AgentName
from actors.errors import InvalidRequestError
from actors.worktrees.model import MAX_COPIED_FILES, SETUP_LIMIT_S
from supervisor.api.validation import fault_lines

MAX_MESSAGE_BYTES = 1_000_000
"""The longest message or context, in bytes of UTF-8. The supervisor checks it, so that one long message fails alone."""
MAX_BATCH_MEMBERS = 1000
MAX_SPAWN_BATCH_MEMBERS = 200
MAX_MERGED = 100
"""Branches in one merge: each two of them are compared."""
MAX_SPARES = 200
MAX_WAIT_S = 3600.0
LEAD_WAIT_S = 100.0
"""The default wait: Claude Code moves a call that takes 120 s to the background."""
VIEW_WAIT_S = 25.0
MAX_KEYS = 200
MAX_TYPED_CHARACTERS = 4_000
MAX_QUESTION_CHARACTERS = 50_000
"""More than a screen holds."""
LONGEST_POLL_S = 110.0
LONGEST_WINDOW_S = 86_400
REQUEST_ID_USE = "Rarely needed: the same call with the same one is done only once."
KEYS = (
    "One of Enter, Escape, Tab, BTab, BSpace, DC, Up, Down, Left, Right, Home, End, PageUp, PageDown, C-a to C-y. "
    "C-z is not passed on: it would stop the agent, and no shell is there to bring it back."
)
_KEY_NAME = "^(Enter|Escape|Tab|BTab|BSpace|DC|Up|Down|Left|Right|Home|End|PageUp|PageDown|C-[a-y])$"
_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]+$"
_MEMBER_NAME_CHARACTERS = 500
_SERVER = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""Claude Code takes no other names of servers in its settings."""
_LIKE_AN_ID = re.compile(r"(exec|mgr|spec|spare)(_[0-9]+)+")


class Role(StrEnum):
    EXECUTIVE = "executive"
    MANAGER = "manager"
    SPECIALIST = "specialist"


WorkspaceMode = Literal["isolated", "shared"]
PermissionMode = Literal["default", "manual", "acceptEdits", "auto", "dontAsk", "plan", "bypassPermissions"]
"""Claude Code's; ``manual`` is the newer name of ``default``."""
Until = Literal["idle", "any_idle", "needs_attention"]
Profile = Literal["small", "medium", "large", "very-large"]
EventKind = Literal[
    "became_idle",
    "needs_attention",
    "failed",
    "message_final",
    "merged",
    "conflict",
    "limit_reached",
    "alert",
    "health-check",
]
STORED_KINDS: tuple[EventKind, ...] = tuple(kind for kind in get_args(EventKind) if kind != "health-check")
"""Of the events that are numbered and kept."""
GitType = Literal["status", "branch", "tag", "checkout", "commit", "merge", "diff", "log", "worktree"]


def _not_reserved(name: str) -> str:
    # PHALANX_TEAM, for example, is the mark by which the processes of a team are found.
    if name.startswith(("PHALANX_", "RAY_")) and not name.startswith("PHALANX_DEMO_"):
        raise ValueError("names that begin with PHALANX_ or RAY_ are Phalanx's own")
    return name


def _servers(given: object) -> object:
    if given in ("all", "none"):
        return given
    if isinstance(given, (list, tuple)) and all(isinstance(name, str) and _SERVER.fullmatch(name) for name in given):
        return tuple(given)
    raise ValueError("give all, none or a list of names, each of letters, digits, - and _")


McpServers = Annotated[
    Literal["all", "none"] | tuple[str, ...],
    BeforeValidator(_servers),
    WithJsonSchema({"type": ["string", "array"]}),
]
"""Which MCP servers of the user's an instance gets."""


def looks_like_an_id(name: str) -> bool:
    return _LIKE_AN_ID.fullmatch(name) is not None


def _not_an_id(name: str) -> str:
    # Wherever an id is taken a name is too, and the id wins.
    if looks_like_an_id(name):
        raise ValueError("names that look like an id, such as spec_1_1_7, are the team's own")
    return name


def _inside(path: str) -> str:
    if path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("it must be a relative path that stays below its directory")
    return path


def _for_faults_only(schema: dict[str, Any]) -> None:
    """Keeps the description for error texts only: in the schema, the argument's name says enough.

    A field that has a description of its own shows that in both instead.
    """
    schema.pop("description", None)


@dataclass(frozen=True, slots=True)
class NamesInstance:
    """For annotations: a field, or the members of a list, that is the id or the name of an instance."""


InstanceId = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
    NamesInstance(),
    Field(
        description="Id or name of an instance as spawn and list give it, for example spec_1_1_7.",
        json_schema_extra=_for_faults_only,
    ),
]
NAME_FORM = "At most 40 letters, digits, - and _, first a letter or digit."
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"),
    AfterValidator(_not_an_id),
    Field(description=NAME_FORM, json_schema_extra=_for_faults_only),
]
RequestId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,119}$")]
VariableName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100),
    AfterValidator(_not_reserved),
]
HostName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,252}$")]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,63}$")]
DirectoryPath = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Reference = Annotated[str, StringConstraints(max_length=100)]
"""A cursor or another name that an earlier answer gave."""
WaitSeconds = Annotated[float, Field(gt=0, le=MAX_WAIT_S)]
PollSeconds = Annotated[float, Field(ge=0, le=LONGEST_POLL_S)]
"""How long a call of a view waits for news before it answers without any."""
BranchName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
CommitMessage = Annotated[str, StringConstraints(max_length=100_000, pattern=r"[^\s\x00]")]
SpareCount = Annotated[int, Field(ge=0, le=MAX_SPARES)]
Model = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/\[\]@-]{0,99}$")]


class Request(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _read_texts(cls, given: Any) -> Any:
        """Reads a list or an object that came as a text of its JSON: models write that now and then."""
        if not isinstance(given, dict):
            return given
        return {name: from_json(value) if name in _containers(cls) else value for name, value in given.items()}


def from_json(value: Any) -> Any:
    """The list or object that a text holds as JSON; any other value as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


@cache
def _containers(model: type[Request]) -> frozenset[str]:
    """The names of the fields that are lists or objects, and never texts."""
    fields = model.model_fields.items()
    named = ((name, field.alias or name) for name, field in fields if _is_container(field.annotation))
    return frozenset(each for names in named for each in names)


def _is_container(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        others = [each for each in get_args(annotation) if each is not NoneType and get_origin(each) is not Literal]
        return bool(others) and all(map(_is_container, others))
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, (Sequence, Mapping, BaseModel)) and kind is not str


@dataclass(frozen=True, slots=True)
class Malformed:
    given: Any
    fault: str
    """Says for the caller why ``given`` is not such a member."""

    @property
    def error(self) -> InvalidRequestError:
        return InvalidRequestError(self.fault)

    def named(self, argument: str) -> str:
        """The start of this argument, which tells the caller which member it was; empty when it is not a text."""
        value = self.given.get(argument) if isinstance(self.given, dict) else None
        return value[:_MEMBER_NAME_CHARACTERS] if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class FailsAlone:
    """For the annotation ``Annotated[Model | Malformed, FailsAlone(Model, Model)]``; ``of`` may be annotated."""

    model: type[Request]
    of: Any

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler.generate_schema(self.of)
        return core_schema.no_info_wrap_validator_function(
            self._validate,
            inner,
            serialization=core_schema.wrap_serializer_function_ser_schema(_serialize, schema=inner),
        )

    def _validate(self, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, Malformed):
            return value
        try:
            return validate(value)
        except ValidationError as error:
            return Malformed(value, "\n".join(["The arguments are wrong:", *fault_lines(self.model, error)]))


def _serialize(member: Any, serialize: SerializerFunctionWrapHandler) -> Any:
    return member.given if isinstance(member, Malformed) else serialize(member)


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


RelativePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    AfterValidator(_inside),
    Field(description="A file below workDir, such as .env or config/local.json.", json_schema_extra=_for_faults_only),
]


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
    name: Name | None = Field(default=None, description=NAME_FORM, json_schema_extra=_for_faults_only)
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

    instances: SpareCount | None = Field(default=None, description="0 lets them go.")
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


class BatchMessage(Request):
    instance_id: InstanceId
    message: str = Field(min_length=1)
    immediate: bool = Field(default=False, description="Without waiting for others to go with it.")


class SendRequest(BatchMessage):
    """Give one instance a message."""

    wait: bool = Field(default=False, description="Return when its fate is known.")
    timeout_seconds: WaitSeconds = LEAD_WAIT_S
    request_id: RequestId | None = None


SendMember = Annotated[BatchMessage | Malformed, FailsAlone(BatchMessage, BatchMessage)]


class SendBatchRequest(Request):
    """Give many instances messages at once. Results come in order; a failing member fails alone."""

    messages: Sequence[SendMember] = Field(min_length=1, max_length=MAX_BATCH_MEMBERS)
    wait: bool = Field(default=False, description="Return when every message's fate is known.")
    timeout_seconds: WaitSeconds = LEAD_WAIT_S
    request_id: RequestId | None = None


class ChangesRequest(Request):
    """Follow the team: all its rows at first, and then those that changed."""

    cursor: Reference | None = Field(default=None, description="Of the last answer; without it all rows at once.")
    timeout_seconds: PollSeconds = VIEW_WAIT_S


def _for_views_only(schema: dict[str, Any]) -> None:
    schema["properties"].pop("leavesUnread")


class ReadRequest(Request):
    """Read what an instance said, or its screen."""

    model_config = ConfigDict(json_schema_extra=_for_views_only)

    instance_id: InstanceId
    source: Literal["conversation", "screen"] = Field(
        default="conversation", description="Its record, or its pane's text."
    )
    cursor: Reference | None = Field(default=None, description="Of the last answer.")
    lines: int = Field(default=50, ge=1, le=2000, description="Most entries or lines.")
    full: Reference | None = Field(default=None, description="Of one shortened entry.")
    leaves_unread: bool = Field(
        default=False, description="For views that people look at: what is read stays unread for the lead."
    )


class ScreenRequest(Request):
    """Look at the terminal of an instance, and again when it shows something else."""

    instance_id: InstanceId
    after: Reference | None = Field(
        default=None, description="The version of the last answer: returns when the terminal shows something else."
    )
    timeout_seconds: PollSeconds = VIEW_WAIT_S


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


class ListRequest(Request):
    """See the team, those that need attention first."""

    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Only these, in full."
    )
    role: Role | None = None
    parent_id: InstanceId | None = None
    needs_attention: bool = Field(default=False, description="Only those that need somebody.")
    include_stopped: bool = Field(default=False, description="Also those that were terminated.")
    work: bool = Field(default=False, description="Also commits, changes, and who would conflict.")


class WaitRequest(Request):
    """Wait until instances are done or need something."""

    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Default: the whole team."
    )
    until: Until = Field(default="idle", description="idle: all; any_idle, needs_attention: one.")
    timeout_seconds: WaitSeconds = LEAD_WAIT_S


class RespondRequest(Request):
    """Answer what an instance waits on: a permission request, a question, or a dialog at its terminal."""

    instance_id: InstanceId
    decision: Literal["allow", "deny"] | None = Field(default=None, description="deny also closes a dialog.")
    option: str | None = Field(default=None, max_length=2_000, description="In its words or by its number.")
    answers: dict[str, str] = Field(default_factory=dict, description="By the words of the questions.")
    permission_id: Reference | None = Field(
        default=None, description="Nothing is answered if another request waits by now."
    )
    question: str | None = Field(
        default=None,
        max_length=MAX_QUESTION_CHARACTERS,
        description="Of the dialog that you have seen: nothing is answered if another one is up by now.",
    )
    message: str | None = Field(
        default=None,
        max_length=10_000,
        description="With deny: what to do instead; of AskUserQuestion: the answer.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> RespondRequest:
        if (self.decision is None) == (self.option is None):
            raise PydanticCustomError("one_of_both", "give either decision (allow or deny) or option")
        if self.permission_id is not None and self.question is not None:
            raise PydanticCustomError(
                "one_of_both", "permissionId names a request, question a dialog at the terminal: give one of them"
            )
        return self


class InterruptRequest(Request):
    """Stop an instance's current turn; the instance stays."""

    instance_id: InstanceId


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


class StatusRequest(Request):
    """How the team itself is."""

    compared: bool = Field(
        default=False, description="First wait until a team that has just come back knows who of it still lives."
    )


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


class EventsRequest(Request):
    """Wait for what the team tells of itself."""

    cursor: Reference | None = Field(
        default=None, description="Of the last answer, or the number of an event; without it what happens from now on."
    )
    kinds: list[EventKind] = Field(default=list(STORED_KINDS), min_length=1)
    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Only events of these."
    )
    timeout_seconds: WaitSeconds = 60.0


class ShutdownRequest(Request):
    """Stop every instance gently, before the team is brought down."""
