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
        description="Values for up to 10, 50, 100, and for more instances; what else is given wins over it.",
    )
    max_concurrent_spawns: int | None = Field(
        default=None, ge=1, le=100, description="Most instances that start at the same time."
    )
    max_concurrent_git_ops: int | None = Field(
        default=None, ge=1, le=100, description="Most operations of git_batch that run at the same time."
    )
    message_batch_size: int | None = Field(
        default=None, ge=1, le=1000, description="Most messages that go to an instance in one turn."
    )
    message_batch_delay: float | None = Field(
        default=None,
        ge=0,
        le=60_000,
        description="ms that a message which came soon after another waits for more to join it.",
    )
    cache_size: int | None = Field(default=None, ge=0, le=100_000, description="Most answers of git that are kept.")
    cache_ttl: float | None = Field(
        default=None, alias="cacheTTL", ge=0, le=86_400_000, description="ms that an answer of git is kept at most."
    )
    worktree_pool_size: int | None = Field(
        default=None, ge=0, le=500, description="Spare worktrees kept ready for each repository."
    )
    prewarm_instances: int | None = Field(
        default=None, ge=0, le=500, description="Spare agents kept ready at their prompt."
    )
    auto: bool | None = Field(
        default=None,
        description="true: the spawn cap tunes itself, beginning with maxConcurrentSpawns; false: it stays.",
    )
    reset: bool = Field(
        default=False, description="First take back everything that was changed: the configuration applies again."
    )

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
