"""How the team performs: the guide's names, nested in ``metrics`` and, where its examples read them, beside it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from supervisor.results.base import AS_ELSEWHERE, Result, named_only

Severity = Literal["info", "warning", "error"]


class Named(Result):
    """Its fields are only named in a schema: clients pay for every word of one, and what these are can be seen."""

    model_config = ConfigDict(json_schema_extra=named_only)


class Latency(Named):
    """In ms."""

    count: int = 0
    avg: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class InstanceFigures(Named):
    total: int
    alive: int
    by_status: dict[str, int]


class SpawnFigures(Named):
    total: int = Field(description="started or failed in the window")
    failed: int
    from_pool: int
    avg_time: float = Field(description="ms from the permit to the proof of the first message")
    time: Latency
    wait: Latency = Field(description="for the permit")


class MessageFigures(Named):
    total: int = Field(description="accepted in the window")
    delivered: int
    failed: int
    unconfirmed: int
    pending: int = Field(description="under way now")
    turns: int = Field(description="pastes that the delivered ones took")
    avg_batch_size: float | None = Field(default=None, description="null while no message was delivered")
    time: Latency = Field(description="from accepted to the proof")


class GitFigures(Named):
    total: int
    failed: int
    retries: int = Field(description="met another one's lock and were tried again")
    avg_time: float = Field(description="ms")
    time: Latency
    wait: Latency


class CacheFigures(Named):
    size: int
    limit: int
    hits: int
    misses: int
    hit_rate: float = Field(description="0 to 1")


class QueueFigures(Named):
    size: int = Field(description="running and waiting")
    pending: int = Field(description="waiting")
    running: int
    limit: int


class Queues(Named):
    spawn: QueueFigures
    git: QueueFigures


class StockFigures(Named):
    ready: int
    wanted: int
    waits_for: str | None = Field(default=None, description="why fewer are ready than wanted")


class Pools(Named):
    instances: StockFigures
    worktrees: StockFigures
    actors: StockFigures


class StoreFigures(Named):
    mode: str
    warning: str | None = None
    write: Latency


class HostFigures(Named):
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


class Alert(Named):
    severity: Severity
    code: str
    category: str
    message: str


class LostPoints(Named):
    points: int
    reason: str


class Performance(Result):
    score: int = Field(description="0 to 100")
    lost: list[LostPoints] = Field(description="why it is not 100")
    alerts: list[Alert]


class Recommendation(Named):
    category: str
    priority: Literal["high", "medium", "low"]
    suggestion: str
    impact: str
    setting: str | None = Field(default=None, description="argument of optimize_settings")
    value: float | None = None


class HistoryPoint(Named):
    at: str
    seconds: float
    spawns: int
    spawns_failed: int
    avg_spawn_time: float
    messages: int
    avg_message_time: float
    git_ops: int
    cache_hits: int


class TunedSettings(Named):
    max_concurrent_spawns: int
    max_concurrent_git_ops: int
    message_batch_size: int
    message_batch_delay: float
    cache_size: int
    cache_ttl: float = Field(alias="cacheTTL")
    worktree_pool_size: int
    prewarm_instances: int
    auto: bool


class AutoStep(Named):
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
    queues: Queues = Field(description="as in metrics", json_schema_extra=AS_ELSEWHERE)
    messages: MessageFigures = Field(description="as in metrics", json_schema_extra=AS_ELSEWHERE)
    settings: TunedSettings = Field(description="as optimize_settings names them", json_schema_extra=AS_ELSEWHERE)
    auto: list[AutoStep] = Field(description="latest last")
    history: list[HistoryPoint] = Field(description="oldest first; times in which nothing happened are left out")


class OptimizeSettingsResult(Result):
    success: bool = True
    old_settings: TunedSettings
    new_settings: TunedSettings


class HealthReport(Result):
    score: int
    alerts: list[Alert]
    instances: InstanceFigures
    queues: Queues


class TeamEvent(Result):
    """``alert`` of a performance-alert, ``health`` of a health-check."""

    kind: Literal["performance-alert", "health-check"]
    at: str
    alert: Alert | None = None
    health: HealthReport | None = None


class EventsResult(Result):
    events: list[TeamEvent]
    cursor: str
    missed: int = Field(default=0, description="events that were forgotten before they were asked for")
