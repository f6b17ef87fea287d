"""What callers get back: one model a verb, camelCase on the wire. Times are ISO 8601 in UTC, durations in ms."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from actors.messages import MessageStatus
from actors.states import Status
from supervisor.requests import Role, WorkspaceMode


class Result(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ErrorInfo(Result):
    code: str
    message: str


class SpawnResult(Result):
    instance_id: str
    session_name: str
    role: Role
    workspace_mode: WorkspaceMode
    working_directory: str
    branch: str | None
    status: Status
    notes: list[str] = Field(default_factory=list, description="What the caller should know, for example a dirty tree.")


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
    notes: list[str] = Field(default_factory=list)
    error: ErrorInfo | None = None


class SpawnPerformance(Result):
    duration: float = Field(description="ms for the whole batch")
    avg_time_per_instance: float = Field(description="ms")
    concurrent_spawns: int = Field(description="most spawns that ran at once")
    from_pool: int = 0


class SpawnBatchResult(Result):
    success: bool = Field(description="true when every member succeeded")
    instances: list[SpawnOutcome]
    performance: SpawnPerformance


class SendResult(Result):
    success: bool
    instance_id: str
    message_id: str | None = None
    status: MessageStatus | None = None
    reason: str | None = None
    removed_characters: int = Field(default=0, description="control characters that were taken out of the text")
    error: ErrorInfo | None = None


class SendPerformance(Result):
    total_messages: int
    queued: int
    immediate: int
    avg_batch_size: float = Field(description="messages per paste in this team so far")


class SendBatchResult(Result):
    success: bool
    results: list[SendResult]
    performance: SendPerformance


class ConversationEntry(Result):
    kind: Literal["question", "answer", "tool_call", "tool_result", "notice"]
    at: str
    text: str
    tool: str | None = None
    input: dict[str, Any] | None = None


class ReadResult(Result):
    instance_id: str
    source: Literal["conversation", "screen"]
    entries: list[ConversationEntry] = Field(default_factory=list)
    screen: str | None = None
    cursor: str | None = Field(default=None, description="give it to the next read to get only what is new")
    more: bool = Field(default=False, description="there is more after this cursor already")


class Permission(Result):
    """The tool call that an instance asks permission for."""

    tool: str
    input: dict[str, Any]


class Tokens(Result):
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0


class InstanceInfo(Result):
    instance_id: str
    name: str | None
    role: Role
    parent_id: str | None
    agent: str
    status: Status
    since: str
    reason: str | None = Field(default=None, description="why it failed, is blocked or needs attention")
    permission: Permission | None = None
    needs_attention: bool
    queued_messages: int = Field(description="accepted, not yet in the conversation")
    unread: int = Field(description="answers since the last read")
    session_name: str
    workspace_mode: WorkspaceMode
    working_directory: str
    branch: str | None
    host: str
    tokens: Tokens


class ListResult(Result):
    needs_attention: list[str] = Field(description="ids of those that wait for a decision or have failed")
    counts: dict[str, int] = Field(description="instances by status")
    instances: list[InstanceInfo] = Field(description="those that need attention first, then by age")
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself, for people")


class WaitResult(Result):
    reached: bool = Field(description="false: the time ran out first")
    instances: list[InstanceInfo]


class RespondResult(Result):
    instance_id: str
    decision: Literal["allow", "deny"]
    permission: Permission
    status: Status


class InterruptResult(Result):
    instance_id: str
    interrupted: bool = Field(description="false: no turn was under way")
    status: Status


class TerminatedInstance(Result):
    instance_id: str
    status: Status
    workspace_removed: bool
    kept: str | None = Field(default=None, description="where unmerged or uncommitted work was left, and why")
    saved_ref: str | None = Field(default=None, description="git ref under which uncommitted work was saved")
    repository: str | None = Field(default=None, description="where savedRef is")
    error: ErrorInfo | None = None


class TerminateResult(Result):
    success: bool
    terminated: list[TerminatedInstance]
    still_running: list[str] = Field(default_factory=list, description="those that it led and that go on without it")


class RestartResult(Result):
    instance_id: str
    status: Status
    resumed: bool = Field(description="the same conversation goes on; false: it had none yet")


class StatusResult(Result):
    home: str
    version: str
    supervisor_pid: int
    started_at: str
    store: str
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself, for people")
    resumable: list[str] = Field(default_factory=list, description="ids that resume would start again")
    counts: dict[str, int]
    spawns_running: int
    spawns_waiting: int
    max_concurrent_spawns: int


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
    instance_id: str | None = None
    kept: str | None = Field(default=None, description="why it stays; null: it goes")
    saved_ref: str | None = Field(default=None, description="git ref under which uncommitted work was saved")
    repository: str | None = Field(default=None, description="where savedRef is")


class GcResult(Result):
    dry_run: bool
    items: list[CollectedItem]
