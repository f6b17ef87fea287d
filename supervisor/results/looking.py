"""What there is to see of instances."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from actors.status import Status
from supervisor.requests import Role, WorkspaceMode
from supervisor.results.base import ROWS_AS_ELSEWHERE, Result, named_only


class ConversationEntry(Result):
    kind: Literal["question", "answer", "tool_call", "tool_result", "notice"]
    at: str
    text: str
    tool: str | None = None
    input: dict[str, Any] | None = None
    left_out: int | None = Field(default=None, description="characters of text and input that are not shown here")
    full: str | None = Field(default=None, description="give it to read as full to get this entry in whole")


class ReadResult(Result):
    instance_id: str
    source: Literal["conversation", "screen"]
    entries: list[ConversationEntry] = Field(default_factory=list)
    screen: str | None = None
    cursor: str | None = Field(default=None, description="give it to the next read to get only what is new")
    more: bool = Field(default=False, description="there is more after this cursor already")


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
    model_config = ConfigDict(json_schema_extra=named_only)

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_creation: int = 0


class InstanceInfo(Result):
    """In brief, as leads of many get it, what has a default is left at that."""

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


class ListResult(Result):
    needs_attention: list[str] = Field(description="ids")
    counts: dict[str, int] = Field(description="instances by status")
    instances: list[InstanceInfo] = Field(description="those that need attention first, then by age")
    brief: bool | None = Field(default=None, description="name some by instanceIds to see all of them")
    left_out: int | None = Field(default=None, description="instances not shown for length: narrow it")
    not_shown: int = Field(default=0, description="terminated ones")
    warnings: list[str] = Field(default_factory=list, description="what is wrong with the team itself")


class WaitResult(Result):
    reached: bool
    reason: str | None = Field(default=None, description="why it was not reached")
    instances: list[InstanceInfo] = Field(
        description="those that need somebody, then those that are done; as list has them, in brief",
        json_schema_extra=ROWS_AS_ELSEWHERE,
    )
    others: dict[str, int] = Field(default_factory=dict, description="the rest, by status")
