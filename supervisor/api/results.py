"""What callers get back: one model for each verb, and the words for a failure. camelCase on the wire.

Times are ISO 8601 in UTC, durations in ms. Descriptions are for programmers: the tools' schemas name the fields alone.
"""

from __future__ import annotations

import datetime
import logging
import secrets
from collections.abc import Awaitable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from actors.errors import PhalanxError, to_wire
from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api.requests import EventKind, GitType, Role, WorkspaceMode

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


class SpawnResult(Result):
    instance_id: str
    session_name: str
    role: Role
    workspace_mode: WorkspaceMode
    working_directory: str
    branch: str | None
    status: Status
    reason: str | None = Field(default=None, description="what keeps its first message back")
    notes: list[str] = Field(default_factory=list, description="what to heed, such as uncommitted changes")
    from_pool: bool = Field(default=False, description="it was ready before")


class SpawnOutcome(Result):
    """One member of a batch: the fields of ``SpawnResult``, or an error."""

    success: bool
    instance_id: str | None = None
    session_name: str | None = None
    role: Role | None = None
    workspace_mode: WorkspaceMode | None = None
    working_directory: str | None = None
    branch: str | None = None
    status: Status | None = None
    reason: str | None = None
    notes: list[str] = Field(default_factory=list)
    from_pool: bool = False
    error: ErrorInfo | None = None


class SpawnPerformance(Result):
    duration: float = Field(description="ms")
    avg_time_per_instance: float = Field(description="ms")
    concurrent_spawns: int = Field(description="at once")
    from_pool: int = Field(default=0, description="ready before")


class SpawnBatchResult(Result):
    success: bool = Field(description="all did")
    instances: list[SpawnOutcome] = Field(description="success, and what spawn gives or an error")
    performance: SpawnPerformance


class PrewarmResult(Result):
    success: bool = Field(description="all that was asked for was made")
    work_dir: str
    instances: int = Field(description="ready now")
    worktrees: int = Field(description="beside those of the agents")
    taken: int = Field(default=0, description="by spawns meanwhile")
    errors: list[str] = Field(default_factory=list, description="why some are not there")


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


class SendPerformance(Result):
    total_messages: int
    queued: int
    immediate: int
    avg_batch_size: float = Field(description="messages per paste in this team so far")


class SendBatchResult(Result):
    success: bool
    results: list[SendResult] = Field(description="as send gives them")
    performance: SendPerformance


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


class TypeResult(Result):
    instance_id: str


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


class InstanceDescription(Result):
    """How an instance was started."""

    instance_id: str
    name: str | None = None
    role: Role
    parent_id: str | None = None
    agent: str
    status: Status
    resumable: bool = Field(default=False, description="its agent has ended; restart goes on with its conversation")
    attended: bool = Field(default=False, description="a person began its conversation at its terminal")
    work_dir: str
    asked: dict[str, Any] = Field(
        default_factory=dict, description="the other arguments of its spawn; no text and no environment"
    )


class DescribeResult(Result):
    instances: list[InstanceDescription] = Field(description="oldest first")


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


class LimitsInfo(Result):
    instances: int | None = None
    depth: int | None = None
    models: list[str] | None = None
    permission_modes: list[str] | None = None
    tokens: int | None = None


class LimitResult(Result):
    instance_id: str
    limits: LimitsInfo
    tokens: Tokens = Field(description="as in list")
    reason: str | None = Field(default=None, description="why it is held all the same")


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


class GitOutcome(Result):
    type: GitType | None = Field(default=None, description="null: no known type was given")
    workspace_dir: str
    success: bool
    result: dict[str, Any] | None = Field(default=None, description="by type; a merge that conflicts has conflicts")
    left_out: int | None = Field(default=None, description="characters of result not shown")
    cached: bool = Field(default=False, description="an earlier answer that still holds")
    error: ErrorInfo | None = None


class GitPerformance(Result):
    total_operations: int
    cache_hits: int
    avg_git_op_time: float = Field(description="ms, of those not cached")
    queue_size: int = Field(description="that wait now, of the whole team")


class GitBatchResult(Result):
    success: bool = Field(description="all did")
    results: list[GitOutcome]
    performance: GitPerformance


class MergedWork(Result):
    """Of one instance. ``committed``: under the ``commitMessage`` of the request."""

    instance_id: str
    branch: str | None = None
    state: Literal["merged", "already_merged", "conflict", "failed", "not_merged"]
    files: list[str] = Field(default_factory=list, description="in conflict, or not committed")
    reason: str | None = None
    committed: bool = False
    told: bool = Field(default=False, description="it was told to resolve the conflict")


class MergeResult(Result):
    success: bool = Field(description="all is in")
    into: str | None = None
    commit: str | None = Field(default=None, description="where into is now")
    moved: bool
    order: list[str] = Field(default_factory=list)
    instances: list[MergedWork]
    conflicts: list[BranchConflict] = Field(default_factory=list)


class SyncedWork(Result):
    instance_id: str
    from_branch: str | None = None
    state: Literal["synced", "up_to_date", "conflict", "at_work", "failed"]
    files: list[str] = Field(default_factory=list)
    reason: str | None = None
    told: bool = False


class SyncResult(Result):
    success: bool = Field(description="all have it")
    instances: list[SyncedWork]


class HostInfo(Result):
    host: str
    address: str
    status: Literal["up", "drained", "away"] = Field(description="away: Ray does not run there just now")
    instances: int = Field(description="that run or start there")
    slots: int = Field(description="instances that it has room for")
    supervisor: bool = Field(description="the supervisor, its state and the repositories are there")
    labels: dict[str, str]


class HostsResult(Result):
    hosts: list[HostInfo]


class Remaining(Result):
    instance_id: str
    why: str


class DrainResult(Result):
    host: str
    drained: bool
    remaining: list[Remaining] = Field(description="instances that are still there")


class ResumedInstance(Result):
    instance_id: str
    status: Status
    resumed: bool = Field(description="the same conversation goes on; false: it had none, or it did not start")
    error: ErrorInfo | None = None


class ResumeResult(Result):
    success: bool
    instances: list[ResumedInstance]


class CollectedItem(Result):
    """One thing that was cleared away, or would be."""

    what: Literal["instance", "worktree", "directory"]
    path: str
    host: str | None = Field(default=None, description="where it is, when that is another host of the team")
    instance_id: str | None = None
    kept: str | None = Field(default=None, description="why it stays; null: it goes")
    saved_ref: str | None = Field(default=None, description="git ref under which uncommitted work was saved")
    repository: str | None = Field(default=None, description="where savedRef is")


class GcResult(Result):
    dry_run: bool
    items: list[CollectedItem]


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


class Latency(Result):
    """In ms."""

    count: int = 0
    avg: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class InstanceFigures(Result):
    total: int
    alive: int
    by_status: dict[str, int]


class SpawnFigures(Result):
    total: int = Field(description="started or failed in the window")
    failed: int
    from_pool: int
    avg_time: float = Field(description="ms from the permit to the proof of the first message")
    time: Latency
    wait: Latency = Field(description="for the permit")


class MessageFigures(Result):
    total: int = Field(description="accepted in the window")
    delivered: int
    failed: int
    unconfirmed: int
    pending: int = Field(description="under way now")
    turns: int = Field(description="pastes that the delivered ones took")
    avg_batch_size: float | None = Field(default=None, description="null while no message was delivered")
    time: Latency = Field(description="from accepted to the proof")


class GitFigures(Result):
    total: int
    failed: int
    retries: int = Field(description="met another one's lock and were tried again")
    avg_time: float = Field(description="ms")
    time: Latency
    wait: Latency


class CacheFigures(Result):
    size: int
    limit: int
    hits: int
    misses: int
    hit_rate: float = Field(description="0 to 1")


class QueueFigures(Result):
    size: int = Field(description="running and waiting")
    pending: int = Field(description="waiting")
    running: int
    limit: int


class Queues(Result):
    spawn: QueueFigures
    git: QueueFigures


class StockFigures(Result):
    ready: int
    wanted: int
    waits_for: str | None = Field(default=None, description="why fewer are ready than wanted")


class Pools(Result):
    instances: StockFigures
    worktrees: StockFigures
    actors: StockFigures


class StoreFigures(Result):
    mode: str
    warning: str | None = None
    write: Latency


class HostFigures(Result):
    host: str
    instances: int = Field(description="alive on it")
    slots: int | None = Field(default=None, description="instances that it has room for; null on one machine")
    spares: dict[str, int] | None = Field(default=None, description="ready there, by kind; null on one machine")
    cpus: int
    cpu_busy: float = Field(description="part of the cores' time, 0 to 1")
    load: float = Field(description="processes that want a core, over a minute")
    memory_total_mb: int
    memory_available_mb: int
    disk_available_mb: int


class Metrics(Result):
    window_seconds: float
    instances: InstanceFigures
    spawns: SpawnFigures
    messages: MessageFigures
    git: GitFigures
    cache: CacheFigures
    queues: Queues
    pools: Pools
    store: StoreFigures
    calls: Latency = Field(description="calls that wait for no agent")
    hosts: list[HostFigures]


class Alert(Result):
    severity: Severity
    code: str
    category: str
    message: str


class LostPoints(Result):
    points: int
    reason: str


class Performance(Result):
    score: int = Field(description="0 to 100")
    lost: list[LostPoints] = Field(description="why it is not 100")
    alerts: list[Alert]


class Recommendation(Result):
    category: str
    priority: Literal["high", "medium", "low"]
    suggestion: str
    impact: str
    setting: str | None = Field(default=None, description="argument of optimize_settings")
    value: float | None = None


class HistoryPoint(Result):
    at: str
    seconds: float
    spawns: int
    spawns_failed: int
    avg_spawn_time: float
    messages: int
    avg_message_time: float
    git_ops: int
    cache_hits: int


class TunedSettings(Result):
    max_concurrent_spawns: int
    max_concurrent_git_ops: int
    message_batch_size: int
    message_batch_delay: float
    cache_size: int
    cache_ttl: float = Field(alias="cacheTTL")
    worktree_pool_size: int
    prewarm_instances: int
    auto: bool


class AutoStep(Result):
    """What the supervisor did to the spawn cap by itself."""

    at: str
    before: int
    after: int
    reason: str


class GetPerformanceResult(Result):
    success: bool = True
    metrics: Metrics
    performance: Performance
    recommendations: list[Recommendation]
    queues: Queues = Field(description="as in metrics")
    messages: MessageFigures = Field(description="as in metrics")
    settings: TunedSettings = Field(description="as optimize_settings names them")
    auto: list[AutoStep] = Field(description="latest last")
    history: list[HistoryPoint] = Field(description="oldest first; times in which nothing happened are left out")


class MetricsResult(Result):
    text: str
    content_type: str = Field(description="the format of the text, as a media type")


class OptimizeSettingsResult(Result):
    success: bool = True
    old_settings: TunedSettings = Field(description="as newSettings")
    new_settings: TunedSettings


class IdentifyResult(Result):
    instance_id: str
    role: Role


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
