"""What callers may ask of a team: one model a verb, the same for MCP tools, the command line and Python.

Field names on the wire are camelCase, as the guide's users know them. Unknown fields are refused by name. The models
check form only (types, ranges, patterns); what depends on the team's state is checked by the supervisor.
"""

from __future__ import annotations

from supervisor.requests.acting import (
    InterruptRequest,
    OneOrManyRequest,
    RecycleRequest,
    RespondRequest,
    RestartRequest,
    TerminateRequest,
)
from supervisor.requests.fields import (
    MAX_BATCH_MEMBERS,
    MAX_MESSAGE_BYTES,
    MAX_SPAWN_BATCH_MEMBERS,
    MAX_WAIT_S,
    InstanceId,
    Name,
    PermissionMode,
    Request,
    RequestId,
    Role,
    VariableName,
    WorkspaceMode,
)
from supervisor.requests.git import GitBatchRequest, GitMember, GitOperation, GitType
from supervisor.requests.hosts import DrainRequest, HostsRequest
from supervisor.requests.looking import ListRequest, ReadRequest, WaitRequest
from supervisor.requests.members import Malformed
from supervisor.requests.messages import BatchMessage, SendBatchRequest, SendRequest
from supervisor.requests.performance import EventKind, EventsRequest, GetPerformanceRequest, OptimizeSettingsRequest
from supervisor.requests.pool import PrewarmRequest
from supervisor.requests.spawning import SpawnBatchRequest, SpawnMember, SpawnRequest
from supervisor.requests.team import GcRequest, ResumeRequest, ShutdownRequest, StatusRequest

__all__ = [
    "MAX_BATCH_MEMBERS",
    "MAX_MESSAGE_BYTES",
    "MAX_SPAWN_BATCH_MEMBERS",
    "MAX_WAIT_S",
    "BatchMessage",
    "DrainRequest",
    "EventKind",
    "EventsRequest",
    "GcRequest",
    "GetPerformanceRequest",
    "GitBatchRequest",
    "GitMember",
    "GitOperation",
    "GitType",
    "HostsRequest",
    "InstanceId",
    "InterruptRequest",
    "ListRequest",
    "Malformed",
    "Name",
    "OneOrManyRequest",
    "OptimizeSettingsRequest",
    "PermissionMode",
    "PrewarmRequest",
    "ReadRequest",
    "RecycleRequest",
    "Request",
    "RequestId",
    "RespondRequest",
    "RestartRequest",
    "ResumeRequest",
    "Role",
    "SendBatchRequest",
    "SendRequest",
    "ShutdownRequest",
    "SpawnBatchRequest",
    "SpawnMember",
    "SpawnRequest",
    "StatusRequest",
    "TerminateRequest",
    "VariableName",
    "WaitRequest",
    "WorkspaceMode",
]
