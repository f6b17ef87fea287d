"""How the team performs, and what is changed while it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from supervisor.requests.fields import MAX_WAIT_S, Request

LONGEST_WINDOW_S = 86_400
EventKind = Literal["performance-alert", "health-check"]


class GetPerformanceRequest(Request):
    """See how the team performs and what would help."""

    window_seconds: float = Field(
        default=300.0, ge=10, le=LONGEST_WINDOW_S, description="How far back counts, times and history reach."
    )


class OptimizeSettingsRequest(Request):
    """Change settings of the running team; they hold for the next one too. Only what is given is changed."""

    profile: Literal["small", "medium", "large", "very-large"] | None = Field(
        default=None,
        description="For up to 10, 50, 100, and more instances; what else is given wins.",
    )
    max_concurrent_spawns: int | None = Field(
        default=None, ge=1, le=100, description="Instances that start at the same time."
    )
    max_concurrent_git_ops: int | None = Field(
        default=None, ge=1, le=100, description="Operations of git_batch at the same time."
    )
    message_batch_size: int | None = Field(default=None, ge=1, le=1000, description="Messages in one turn.")
    message_batch_delay: float | None = Field(
        default=None,
        ge=0,
        le=60_000,
        description="ms that a message which came soon after another waits for more.",
    )
    cache_size: int | None = Field(default=None, ge=0, le=100_000, description="Answers of git that are kept.")
    cache_ttl: float | None = Field(
        default=None, alias="cacheTTL", ge=0, le=86_400_000, description="ms that one is kept."
    )
    worktree_pool_size: int | None = Field(
        default=None, ge=0, le=500, description="Spare worktrees for each repository."
    )
    prewarm_instances: int | None = Field(default=None, ge=0, le=500, description="Spare agents at their prompt.")
    auto: bool | None = Field(
        default=None,
        description="The spawn cap tunes itself, beginning with maxConcurrentSpawns.",
    )
    reset: bool = Field(default=False, description="First take back all that was ever changed.")

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, given: Any) -> Any:
        """The guide's form ``{"settings": {…}}`` means the same."""
        if not isinstance(given, dict) or not isinstance(given.get("settings"), dict):
            return given
        outside = {name: value for name, value in given.items() if name != "settings"}
        twice = sorted(outside.keys() & given["settings"].keys())
        if twice:
            raise ValueError(f"{', '.join(twice)} is given twice, inside settings and beside it")
        return {**outside, **given["settings"]}


class EventsRequest(Request):
    """Wait for what the team tells of itself."""

    cursor: str | None = Field(
        default=None, max_length=100, description="Of the last answer; without it only what happens from now on."
    )
    kinds: list[EventKind] = Field(default=["performance-alert", "health-check"], min_length=1)
    timeout_seconds: float = Field(default=60.0, gt=0, le=MAX_WAIT_S)
