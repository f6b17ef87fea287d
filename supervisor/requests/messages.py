"""What gives instances messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from supervisor.requests.fields import MAX_BATCH_MEMBERS, MAX_WAIT_S, REQUEST_ID_USE, InstanceId, Request, RequestId
from supervisor.requests.members import FailsAlone, Malformed


class SendRequest(Request):
    """Give one instance a message."""

    instance_id: InstanceId
    message: str = Field(
        min_length=1,
        description="The text, at most 1 MB. The receipt says what was changed in it.",
    )
    immediate: bool = Field(default=False, description="Deliver now, with what is queued before it, without batching.")
    wait: bool = Field(default=False, description="Return when the message's fate is known instead of at once.")
    timeout_seconds: float = Field(
        default=120.0, gt=0, le=MAX_WAIT_S, description="With wait: longest wait; the message goes on all the same."
    )
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)


class BatchMessage(Request):
    instance_id: InstanceId
    message: str = Field(
        min_length=1,
        description="The text, at most 1 MB. The receipt says what was changed in it.",
    )
    immediate: bool = Field(default=False, description="Deliver now, with what is queued before it, without batching.")


SendMember = Annotated[BatchMessage | Malformed, FailsAlone(BatchMessage, BatchMessage)]


class SendBatchRequest(Request):
    """Give many instances messages at once. Results come in order; a failing member fails alone."""

    messages: Sequence[SendMember] = Field(min_length=1, max_length=MAX_BATCH_MEMBERS)
    wait: bool = Field(default=False, description="Return when every message's fate is known.")
    timeout_seconds: float = Field(default=120.0, gt=0, le=MAX_WAIT_S, description="With wait: longest wait.")
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)
