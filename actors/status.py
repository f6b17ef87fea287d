"""The words for how an instance is. ``actors.instance.state`` tells which one holds."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    WAITING_PERMISSION = "waiting_permission"
    WAITING_INPUT = "waiting_input"
    """A person has to act at its terminal: a dialog that is no request, a view without an input box, a suspended
    program (Ctrl-Z). ``reason`` says what."""
    RATE_LIMITED = "rate_limited"
    STOPPED = "stopped"
    FAILED = "failed"


ALIVE = frozenset(Status) - {Status.STOPPED, Status.FAILED}
IDLE = frozenset({Status.READY, Status.RATE_LIMITED, Status.STOPPED, Status.FAILED})
"""No turn is under way and none will start by itself."""
NEEDING_ATTENTION = frozenset({Status.WAITING_PERMISSION, Status.WAITING_INPUT, Status.RATE_LIMITED, Status.FAILED})
TYPABLE = frozenset({Status.READY, Status.RATE_LIMITED})
"""Between turns. Only a look at the screen shows whether typing is safe."""
