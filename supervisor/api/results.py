"""What callers get back: one model for each verb, and the words for a failure. camelCase on the wire.

Times are ISO 8601 in UTC, durations in ms. Descriptions are for programmers: the tools' schemas name the fields alone.

As in ``requests``, here are those for every day; the others are in ``team_results``, and are names of this module too.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections.abc import Awaitable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from actors.errors import PhalanxError, to_wire
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api.requests import EventKind, Role, WorkspaceMode

if TYPE_CHECKING:
    from supervisor.api.team_results import *  # noqa: F403 - whole, as ``__getattr__`` gives it

logger = logging.getLogger(__name__)
OutcomeT = TypeVar("OutcomeT")
Severity = Literal["info", "warning", "error"]
SPARE_PREFIX = "spare_"
"""Names of spare agents and spare worktrees begin so; an instance made of one keeps the name."""


def iso(at: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="milliseconds")


def called(instance_id: str, name: str | None) -> str:
    """An instance as people are told of it: by its name, if it has one, and its id."""
    return f"{name} ({instance_id})" if name else instance_id


class Result(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, defer_build=True)


class ErrorInfo(Result):
    code: str
    message: str


def public_error(error: Exception, what: str) -> PhalanxError:
    """What a caller is told of a failure: a ``PhalanxError`` as it is, another error by a reference to the log.

    ``what`` has failed; it is the subject of the sentence. Batches use this for one member, which fails alone.
    """
    if isinstance(error, PhalanxError):
        return error
    reference = secrets.token_hex(4)
    logger.error("%s failed, reference %s", what, reference, exc_info=error)
    return PhalanxError(f"{what} failed inside the supervisor; its log says why under reference {reference}.")


def error_info(error: Exception, what: str) -> ErrorInfo:
    return ErrorInfo(**to_wire(public_error(error, what)))


async def alone(work: Awaitable[OutcomeT], what: str) -> OutcomeT | ErrorInfo:
    """The outcome of one member of a batch: what fails there fails alone."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - told and logged
        return error_info(error, what)


class SendResult(Result):
    success: bool
    instance_id: str
    message_id: str | None = None
    status: MessageStatus | None = None
    reason: str | None = None
    removed_characters: int = Field(default=0, description="control characters that were taken out of the text")
    exact: bool | None = Field(default=None, description="submitted: every character arrived; null while not known")
    changes: list[str] = Field(default_factory=list, description="what the agent's program changed in the text")
    error: ErrorInfo | None = None


class SubmittedReceipt(Result):
    """A message that stands in a question, and what became of it."""

    message_id: str
    sender: str
    status: MessageStatus | None = Field(default=None, description="null: of long ago, its receipt is not kept")
    exact: bool | None = Field(default=None, description="every character arrived; null where that is not known")
    changes: list[str] = Field(default_factory=list, description="what the agent's program changed in the text")


class ConversationEntry(Result):
    kind: Literal["question", "answer", "tool_call", "tool_result", "notice"]
    at: str
    text: str
    tool: str | None = None
    input: dict[str, Any] | None = None
    left_out: int | None = Field(default=None, description="characters of text and input that are not shown here")
    full: str | None = Field(default=None, description="give it to read as full to get this entry in whole")
    messages: list[SubmittedReceipt] | None = Field(
        default=None, description="for views, of a question: those of the team that stand in it, in its order"
    )


class ReadResult(Result):
    instance_id: str
    source: Literal["conversation", "screen"]
    entries: list[ConversationEntry] = Field(default_factory=list)
    screen: str | None = None
    cursor: str | None = Field(default=None, description="give it to the next read to get only what is new")
    more: bool = Field(default=False, description="there is more after this cursor already")


class CursorPlace(Result):
    """From 0; ``column`` counts cells."""

    column: int
    row: int


class ScreenResult(Result):
    instance_id: str
    version: str = Field(description="of all below: give it to the next call as after")
    columns: int
    rows: int
    lines: list[str] = Field(description="one a row: text and SGR sequences, no other control characters")
    cursor: CursorPlace | None = Field(default=None, description="null: hidden")
    title: str = Field(description="that the program gave its window")


class Permission(Result):
    """The tool call that an instance asks permission for."""

    permission_id: str = Field(description="for respond")
    tool: str
    input: dict[str, Any]
    left_out: int | None = Field(default=None, description="characters of input not shown: list its id alone")


class DialogInfo(Result):
    """A dialog at an instance's terminal, which respond can answer with one of its options."""

    question: str
    options: list[str]


class Tokens(Result):
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0
    counted: int | None = Field(default=None, description="with a limit: of all below it too, without cache_read")
    limit: int | None = None


class WorkInfo(Result):
    """Against the branch that it began from. ``reason``: why it is not compared."""

    base: str | None = None
    ahead: int | None = None
    behind: int | None = None
    changed_files: int | None = None
    uncommitted_files: int | None = None
    reason: str | None = None


FOR_VIEWS = ("activityAt", "model", "contextTokens", "contextWindow")
"""Of a row of ``list``: what people look at, and what a lead need not pay for."""


def _slim_row(schema: dict[str, Any]) -> None:
    """A lead understands ``task`` and ``activity`` of an answer without a schema."""
    for name in ("task", "activity", *FOR_VIEWS):
        schema["properties"].pop(name)


class InstanceInfo(Result):
    """In brief, as leads of many get it, fields keep their defaults."""

    model_config = ConfigDict(json_schema_extra=_slim_row)

    instance_id: str
    name: str | None = None
    role: Role
    parent_id: str | None = None
    agent: str = ""
    status: Status
    since: str = ""
    reason: str | None = Field(default=None, description="why it failed, is held or needs somebody")
    permission: Permission | None = None
    dialog: DialogInfo | None = None
    needs_attention: bool = False
    queued_messages: int = Field(default=0, description="on their way")
    held_messages: int = Field(default=0, description="of these, held back")
    unread: int = Field(default=0, description="answers since the last read")
    session_name: str = ""
    workspace_mode: WorkspaceMode = "isolated"
    working_directory: str = ""
    branch: str | None = None
    host: str = ""
    tokens: Tokens = Tokens()
    work: WorkInfo | None = None
    task: str | None = Field(default=None, description="head of what it was asked last")
    activity: str | None = Field(default=None, description="its last tool call or words")
    activity_at: str | None = Field(default=None, description="when that was")
    model: str | None = Field(default=None, description="of its last answer")
    context_tokens: int | None = Field(default=None, description="that its conversation takes now")
    context_window: int | None = Field(default=None, description="tokens that the model takes, where known")


class BranchConflict(Result):
    between: list[str]
    """Ids of instances, or the branch that is merged into."""
    files: list[str]


class ListResult(Result):
    needs_attention: list[str] = Field(description="ids")
    counts: dict[str, int] = Field(description="instances by status")
    instances: list[InstanceInfo]
    brief: bool | None = Field(default=None, description="name some by instanceIds to see all of them")
    left_out: int | None = Field(default=None, description="instances not shown for length: narrow it")
    not_shown: int = Field(default=0, description="terminated ones")
    spares: int = Field(default=0, description="agents at their prompt, for the next spawns")
    conflicts: list[BranchConflict] = Field(default_factory=list, description="with work: between ids or branches")
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself")


class ChangesResult(Result):
    cursor: str = Field(description="give it to the next call to get only what is new")
    complete: bool = Field(description="all rows are here: forget those of earlier answers")
    instances: list[InstanceInfo] = Field(description="whole rows of those that changed, as list has them")
    gone: list[str] = Field(default_factory=list, description="ids that are no longer shown")
    needs_attention: list[str] = Field(description="all ids that need somebody, in the order of list")
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself")


class WaitResult(Result):
    reached: bool
    reason: str | None = Field(default=None, description="why it was not reached")
    instances: list[InstanceInfo] = Field(
        description="those that need somebody, then those that are done; as list has them, in brief"
    )
    others: dict[str, int] = Field(default_factory=dict, description="the rest, by status")


class RespondResult(Result):
    instance_id: str
    decision: Literal["allow", "deny"] | None = None
    permission: Permission | None = Field(default=None, description="that was answered")
    dialog: DialogInfo | None = Field(default=None, description="that was answered")
    status: Status


class InterruptResult(Result):
    instance_id: str
    interrupted: bool = Field(description="false: no turn was under way")
    status: Status


class StatusResult(Result):
    home: str
    version: str
    supervisor_pid: int
    started_at: str
    store: str
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself, for people")
    resumable: list[str] = Field(default_factory=list, description="ids that resume would start again")
    counts: dict[str, int]
    spares: int = Field(default=0, description="agents at their prompt, for the next spawns")
    spawns_running: int
    spawns_waiting: int
    max_concurrent_spawns: int


class InstanceFigures(Result):
    total: int
    alive: int
    by_status: dict[str, int]


class QueueFigures(Result):
    size: int = Field(description="running and waiting")
    pending: int = Field(description="waiting")
    running: int
    limit: int


class Queues(Result):
    spawn: QueueFigures
    git: QueueFigures


class Alert(Result):
    severity: Severity
    code: str
    category: str
    message: str


class HealthReport(Result):
    score: int
    alerts: list[Alert]
    instances: InstanceFigures
    queues: Queues


class TeamEvent(Result):
    """Something that happened in the team. Which fields are set depends on ``kind``."""

    kind: EventKind
    at: str
    number: int = Field(default=0, description="its place among all events; 0: it is not kept")
    instance_id: str | None = None
    name: str | None = None
    parent_id: str | None = None
    text: str = Field(default="", description="head of the answer, the question, or the reason")
    permission_id: str | None = Field(default=None, description="needs_attention: for respond")
    message_id: str | None = None
    sender: str | None = Field(default=None, description="message_final: who sent it; merged, conflict: who asked")
    status: MessageStatus | None = Field(default=None, description="message_final: what became of it")
    alert: Alert | None = None
    health: HealthReport | None = None


class EventsResult(Result):
    events: list[TeamEvent]
    cursor: str
    missed: int = Field(default=0, description="events that were forgotten before they were asked for")


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What is in ``team_results``, which is loaded when somebody first asks for it."""
        if name.startswith("_"):  # the machinery of imports asks for such names
            raise AttributeError(name)
        return getattr(import_module("supervisor.api.team_results"), name)
