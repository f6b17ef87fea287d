"""What acts on one instance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from supervisor.requests.fields import MAX_BATCH_MEMBERS, InstanceId, Request


class RespondRequest(Request):
    """Answer what an instance waits on: a permission request, a question, or a dialog at its terminal."""

    instance_id: InstanceId
    decision: Literal["allow", "deny"] | None = Field(default=None, description="deny also closes a dialog.")
    option: str | None = Field(
        default=None,
        max_length=2_000,
        description="Of a dialog or question: in its words or by its number.",
    )
    answers: dict[str, str] = Field(default_factory=dict, description="To several questions, by their words.")
    permission_id: str | None = Field(
        default=None,
        max_length=100,
        description="That you saw: if another request waits by now, nothing is answered.",
    )
    message: str | None = Field(
        default=None,
        max_length=10_000,
        description="With deny: what to do instead. With allow of AskUserQuestion: the answer.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> RespondRequest:
        if (self.decision is None) == (self.option is None):
            raise PydanticCustomError("one_of_both", "give either decision (allow or deny) or option")
        return self


class InterruptRequest(Request):
    """Stop an instance's current turn; the instance stays."""

    instance_id: InstanceId


class OneOrManyRequest(Request):
    instance_id: InstanceId | None = None
    instance_ids: list[InstanceId] | None = Field(
        default=None, min_length=1, max_length=MAX_BATCH_MEMBERS, description="Several; each fails alone."
    )

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if (self.instance_id is None) == (self.instance_ids is None):
            raise PydanticCustomError("one_or_many", "give instanceId for one, or instanceIds for several")
        return self

    @property
    def ids(self) -> Sequence[str]:
        """Each once."""
        return tuple(dict.fromkeys(self.instance_ids or [str(self.instance_id)]))


class TerminateRequest(OneOrManyRequest):
    """Stop instances for good. Unmerged or uncommitted work stays where it is."""

    cascade: bool = Field(default=False, description="Also those that they lead.")


class RecycleRequest(Request):
    """Let a fresh conversation go on in place of an instance's long one, with a summary, on the same branch."""

    instance_id: InstanceId


class RestartRequest(OneOrManyRequest):
    """Start stopped or failed instances again (or running ones anew), with the same conversation and workspace."""
