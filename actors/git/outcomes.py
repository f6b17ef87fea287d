"""What an operation becomes that failed, or took its time: for ``hands`` and ``answering``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from actors.errors import PhalanxError, WorkspaceError
from actors.git.sendable import sendable
from actors.git.values import Outcome

logger = logging.getLogger(__name__)


def failed(error: Exception) -> Outcome:
    """Of the operation that failed, and of no other."""
    if isinstance(error, PhalanxError):
        return Outcome.refused(error)
    if isinstance(error, OSError):
        return Outcome.refused(
            WorkspaceError(f"The file system refused: {error}. See to its permissions and room, then try again.")
        )
    logger.error("a git operation failed", exc_info=error)
    return Outcome.refused(PhalanxError("An error in Phalanx: see the logs of this host."))


def with_times(outcomes: Sequence[Outcome], took_s: float) -> list[Outcome]:
    return [with_time(outcome, took_s) for outcome in outcomes]


def with_time(outcome: Outcome, took_s: float) -> Outcome:
    return replace(outcome, result=sendable(outcome.result), error=sendable(outcome.error), took_s=took_s)
