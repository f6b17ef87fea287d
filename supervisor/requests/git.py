"""What operates git for the team."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from supervisor.requests.fields import MAX_BATCH_MEMBERS, REQUEST_ID_USE, Request, RequestId
from supervisor.requests.members import FailsAlone, Malformed

GitType = Literal["status", "branch", "tag", "checkout", "commit", "merge", "diff", "log", "worktree"]


class GitOperation(Request):
    """One git operation in one directory."""

    type: GitType
    workspace_dir: str = Field(
        min_length=1,
        max_length=4096,
        description="Absolute path in the repository; of an instance its workingDirectory.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="What the type takes.")
    cache_key: str | None = Field(
        default=None,
        max_length=200,
        description="Not needed.",
    )


GitMember = Annotated[GitOperation | Malformed, FailsAlone(GitOperation, GitOperation)]


class GitBatchRequest(Request):
    """Operate git in many directories at once. Results come in order; a failing operation fails alone."""

    operations: Sequence[GitMember] = Field(
        min_length=1, max_length=MAX_BATCH_MEMBERS, description="A list of {type, workspaceDir, params}."
    )
    request_id: RequestId | None = Field(default=None, description=REQUEST_ID_USE)
