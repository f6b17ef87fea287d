"""What concerns the team itself."""

from __future__ import annotations

from pydantic import Field

from supervisor.requests.fields import Request


class ResumeRequest(Request):
    """Start again every instance that ended without having been asked to, each with its conversation."""


class GcRequest(Request):
    """Clear away what instances that were terminated have left behind. Unsaved work is saved first."""

    dry_run: bool = Field(default=False, description="Only tell what would go.")


class StatusRequest(Request):
    """How the team itself is."""

    compared: bool = Field(
        default=False, description="First wait until a team that has just come back knows who of it still lives."
    )


class ShutdownRequest(Request):
    """Stop every instance gently, before the team is brought down."""
