"""What gives instances messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from supervisor.requests.fields import (
    LEAD_WAIT_S,
    MAX_BATCH_MEMBERS,
    MAX_WAIT_S,
    REQUEST_ID_USE,
    InstanceId,
    Request,
    RequestId,
)
from supervisor.requests.members import FailsAlone, Malformed


class SendRequest(Request):
    """Give one instance a message."""

    instance_id: InstanceId
    message: str = Field(min_length=1, description="The text, at most 1 MB.")
    immediate: bool = Field(default=False, description="Without waiting for others to go with it.")
    wait: bool = Field(default=False, description="Return when its fate is known instead of at once.")
    timeout_seconds: float = Field(
        default=LEAD_WAIT_S,
        gt=0,
        le=MAX_WAIT_S,
        description="With wait: longest wait.",
    )
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)


class BatchMessage(Request):
    instance_id: InstanceId
    message: str = Field(min_length=1, description="The text, at most 1 MB.")
    immediate: bool = Field(default=False, description="Without waiting for others to go with it.")


SendMember = Annotated[BatchMessage | Malformed, FailsAlone(BatchMessage, BatchMessage)]


class SendBatchRequest(Request):
    """Give many instances messages at once. Results come in order; a failing member fails alone."""

    messages: Sequence[SendMember] = Field(min_length=1, max_length=MAX_BATCH_MEMBERS)
    wait: bool = Field(default=False, description="Return when every message's fate is known.")
    timeout_seconds: float = Field(default=LEAD_WAIT_S, gt=0, le=MAX_WAIT_S, description="With wait: longest wait.")
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)
