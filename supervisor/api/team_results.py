"""What callers get back beyond the everyday: of starting and ending, git, hosts and settings. Part of ``results``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from actors.status import Status
from supervisor.api.requests import GitType, Role, WorkspaceMode
from supervisor.api.results import Alert, BranchConflict, ErrorInfo, InstanceFigures, Queues, Result, SendResult, Tokens


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


class SendPerformance(Result):
    total_messages: int
    queued: int
    immediate: int
    avg_batch_size: float = Field(description="messages per paste in this team so far")


class SendBatchResult(Result):
    success: bool
    results: list[SendResult] = Field(description="as send gives them")
    performance: SendPerformance


class TypeResult(Result):
    instance_id: str


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


class Latency(Result):
    """In ms."""

    count: int = 0
    avg: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


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


class StockFigures(Result):
    ready: int
    wanted: int
    waits_for: str | None = Field(default=None, description="why fewer are ready than wanted")


class Pools(Result):
    instances: StockFigures
    worktrees: StockFigures


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
