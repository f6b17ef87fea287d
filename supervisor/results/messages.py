"""What became of messages."""

from __future__ import annotations

from pydantic import Field

from actors.messages import MessageStatus
from supervisor.results.base import ROWS_AS_ELSEWHERE, ErrorInfo, Result


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
    results: list[SendResult] = Field(description="as send gives them", json_schema_extra=ROWS_AS_ELSEWHERE)
    performance: SendPerformance
