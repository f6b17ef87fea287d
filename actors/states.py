"""The life of an instance, told by its events; pure.

``InstanceState`` is what is known of one agent. ``fold`` takes a hook event into account; the other functions take what
the screen and the process show. The hooks are the authority, the screen corrects them where no hook fires (a person's
Esc, an answer typed into a dialog), the end of the process overrules both.

::

    starting ──composer usable──▶ ready ──prompt──▶ busy ──answer──▶ ready
                                                    busy ──asks──▶ waiting_permission ──decided──▶ busy
                                                    busy ──limit──▶ rate_limited ──prompt──▶ busy
    any ──process ends──▶ stopped (asked for) or failed (not asked for)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from actors.agents.base import AgentEvent, Composer, EventKind, Screen


class Status(StrEnum):
    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    WAITING_PERMISSION = "waiting_permission"
    RATE_LIMITED = "rate_limited"
    STOPPED = "stopped"
    FAILED = "failed"


ALIVE = frozenset({Status.STARTING, Status.READY, Status.BUSY, Status.WAITING_PERMISSION, Status.RATE_LIMITED})
IDLE = frozenset({Status.READY, Status.RATE_LIMITED, Status.STOPPED, Status.FAILED})
"""No turn is under way and none will start by itself."""
NEEDING_ATTENTION = frozenset({Status.WAITING_PERMISSION, Status.RATE_LIMITED, Status.FAILED})
TYPABLE = frozenset({Status.READY, Status.RATE_LIMITED})
"""Between turns: no dialog can come up while we type."""

DIALOG_REASON = "a dialog that asks for no permission is up at its terminal: attach and answer it"
SETTLE_S = 2.0
"""A hook fires before the screen shows what it reports; for this long the screen is no argument against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPermission:
    """A tool call that waits for a decision; ``request_id`` names the waiting hook."""

    request_id: str
    tool: str
    tool_input: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceState:
    """What is known of one agent. ``since`` is seconds since the epoch."""

    status: Status = Status.STARTING
    since: float = 0.0
    reason: str = ""
    heard_at: float = 0.0
    """When the last hook event came; seconds since the epoch."""
    permissions: tuple[PendingPermission, ...] = ()
    decided: tuple[PendingPermission, ...] = ()
    """Requests that were decided through us in this turn and whose tool has not run yet."""
    transcript_path: str = ""


def _to(state: InstanceState, status: Status, at: float, reason: str = "") -> InstanceState:
    since = state.since if state.status is status else at
    permissions = state.permissions if status is Status.WAITING_PERMISSION else ()
    return replace(state, status=status, since=since, reason=reason, permissions=permissions)


def fold(state: InstanceState, event: AgentEvent) -> InstanceState:
    """The state after a hook event. A dead agent stays dead, whatever a late event says."""
    state = replace(state, heard_at=event.at, transcript_path=event.transcript_path or state.transcript_path)
    if state.status not in ALIVE:
        return state
    match event.kind:
        case EventKind.PROMPT_SUBMITTED:
            return state if state.permissions else _to(state, Status.BUSY, event.at)
        case EventKind.TOOL_USED:
            return _after_tool(state, event)
        case EventKind.PERMISSION_REQUESTED:
            asked = PendingPermission(request_id=event.request_id, tool=event.tool, tool_input=event.tool_input)
            waiting = _to(state, Status.WAITING_PERMISSION, event.at)
            return replace(waiting, permissions=(*state.permissions, asked))
        case EventKind.TURN_ENDED:
            return _to(replace(state, decided=()), Status.READY, event.at)
        case EventKind.TURN_FAILED:
            status = Status.RATE_LIMITED if event.rate_limited else Status.READY
            return _to(state, status, event.at, f"the last turn failed: {event.text}")
        case EventKind.SESSION_STARTED | EventKind.ATTENTION | EventKind.SESSION_ENDED:
            return state


def _after_tool(state: InstanceState, event: AgentEvent) -> InstanceState:
    """A call that was decided through us is matched first, so that its equal that still waits is not taken for it.

    A long event comes without its input and matches nothing: the screen tells when its dialog is gone.
    """
    mine = next((p for p in state.decided if _asked_for(p, event)), None)
    if mine is not None:
        left = tuple(p for p in state.decided if p.request_id != mine.request_id)
        return (
            replace(state, decided=left)
            if state.permissions
            else _to(replace(state, decided=left), Status.BUSY, event.at)
        )
    used = next((p for p in state.permissions if _asked_for(p, event)), None)
    if used is None and state.permissions:
        return state
    return _without(state, used.request_id if used else "", event.at)


def _asked_for(permission: PendingPermission, event: AgentEvent) -> bool:
    return permission.tool == event.tool and permission.tool_input == event.tool_input


def decided(state: InstanceState, request_id: str, at: float) -> InstanceState:
    """The state after a permission request got its answer; others that wait go on waiting."""
    mine = tuple(p for p in state.permissions if p.request_id == request_id)
    return _without(replace(state, decided=(*state.decided, *mine)), request_id, at)


def _without(state: InstanceState, request_id: str, at: float) -> InstanceState:
    left = tuple(p for p in state.permissions if p.request_id != request_id)
    if left:
        return replace(state, permissions=left)
    return _to(state, Status.BUSY, at)


def interrupted(state: InstanceState, at: float) -> InstanceState:
    """The state after a turn was stopped from outside, which no hook reports."""
    return _to(state, Status.READY, at) if state.status in ALIVE else state


def on_screen(state: InstanceState, screen: Screen, at: float) -> InstanceState:
    """The state after a look at the screen; changes only what no hook reports."""
    if state.status is Status.STARTING:
        if screen.composer is not Composer.ABSENT:
            return _to(state, Status.READY, at)
        return replace(state, reason=screen.trouble)
    if at - state.heard_at < SETTLE_S:
        return state
    if screen.composer is Composer.ABSENT:
        unannounced = screen.dialog and state.status is not Status.WAITING_PERMISSION
        return replace(state, reason=DIALOG_REASON) if unannounced else state
    if state.reason == DIALOG_REASON:
        state = replace(state, reason="")
    if state.status is Status.WAITING_PERMISSION and not screen.dialog:
        return _to(state, Status.BUSY if screen.busy else Status.READY, at)
    if state.status is Status.BUSY and not screen.busy:
        return _to(state, Status.READY, at)
    if state.status in TYPABLE and screen.busy:
        return _to(state, Status.BUSY, at)
    return state


def on_exit(state: InstanceState, at: float, *, asked: bool, reason: str) -> InstanceState:
    """The state after the agent's process has ended."""
    if state.status not in ALIVE:
        return state
    return _to(state, Status.STOPPED if asked else Status.FAILED, at, reason)
