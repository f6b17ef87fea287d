"""What callers may ask of a team: one model for each verb, the same for MCP tools, the command line and Python.

Field names are camelCase on the wire. Unknown fields are refused by name. The models check form only (types, ranges,
patterns); the supervisor checks what depends on the team's state. A malformed member of a batch is kept as
``Malformed``, so that it fails alone. Only a call whose own form is wrong (no list, no member, too many) is refused as
a whole.

Here are those for every day. The others are in ``team_requests``, and are names of this module too, so that a program
which asks for none of them loads half as much.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from actors.errors import InvalidRequestError
from supervisor.api.validation import fault_lines

if TYPE_CHECKING:
    from supervisor.api.team_requests import *  # noqa: F403 - whole, as ``__getattr__`` gives it

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


def for_faults_only(schema: dict[str, Any]) -> None:
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
        json_schema_extra=for_faults_only,
    ),
]
NAME_FORM = "At most 40 letters, digits, - and _, first a letter or digit."
Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"),
    AfterValidator(_not_an_id),
    Field(description=NAME_FORM, json_schema_extra=for_faults_only),
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


RelativePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    AfterValidator(_inside),
    Field(description="A file below workDir, such as .env or config/local.json.", json_schema_extra=for_faults_only),
]


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


class StatusRequest(Request):
    """How the team itself is."""

    compared: bool = Field(
        default=False, description="First wait until a team that has just come back knows who of it still lives."
    )


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


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What is in ``team_requests``, which is loaded when somebody first asks for it."""
        if name.startswith("_"):  # the machinery of imports asks for such names
            raise AttributeError(name)
        return getattr(import_module("supervisor.api.team_requests"), name)
