"""What callers get back: one model a verb, camelCase on the wire. Times are ISO 8601 in UTC, durations in ms."""

from __future__ import annotations

from supervisor.results.acting import (
    InterruptResult,
    RecycleResult,
    RespondResult,
    RestartOutcome,
    RestartResult,
    RestartsResult,
    TerminatedInstance,
    TerminateResult,
)
from supervisor.results.base import ErrorInfo, Result
from supervisor.results.git import GitBatchResult, GitOutcome, GitPerformance
from supervisor.results.hosts import DrainResult, HostInfo, HostsResult, Remaining
from supervisor.results.looking import (
    ConversationEntry,
    DialogInfo,
    InstanceInfo,
    ListResult,
    Permission,
    ReadResult,
    Tokens,
    WaitResult,
)
from supervisor.results.messages import SendBatchResult, SendPerformance, SendResult
from supervisor.results.performance import (
    Alert,
    AutoStep,
    EventsResult,
    GetPerformanceResult,
    HistoryPoint,
    OptimizeSettingsResult,
    Recommendation,
    TeamEvent,
)
from supervisor.results.pool import PrewarmResult
from supervisor.results.spawning import SpawnBatchResult, SpawnOutcome, SpawnPerformance, SpawnResult
from supervisor.results.team import CollectedItem, GcResult, ResumedInstance, ResumeResult, StatusResult

__all__ = [
    "Alert",
    "AutoStep",
    "CollectedItem",
    "ConversationEntry",
    "DialogInfo",
    "DrainResult",
    "ErrorInfo",
    "EventsResult",
    "GcResult",
    "GetPerformanceResult",
    "GitBatchResult",
    "GitOutcome",
    "GitPerformance",
    "HistoryPoint",
    "HostInfo",
    "HostsResult",
    "InstanceInfo",
    "InterruptResult",
    "ListResult",
    "OptimizeSettingsResult",
    "Permission",
    "PrewarmResult",
    "ReadResult",
    "Recommendation",
    "RecycleResult",
    "Remaining",
    "RespondResult",
    "RestartOutcome",
    "RestartResult",
    "RestartsResult",
    "Result",
    "ResumeResult",
    "ResumedInstance",
    "SendBatchResult",
    "SendPerformance",
    "SendResult",
    "SpawnBatchResult",
    "SpawnOutcome",
    "SpawnPerformance",
    "SpawnResult",
    "StatusResult",
    "TeamEvent",
    "TerminateResult",
    "TerminatedInstance",
    "Tokens",
    "WaitResult",
]
