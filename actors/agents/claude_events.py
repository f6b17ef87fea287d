"""What Claude Code's hook events mean, as ``hook.py`` puts them into the spool; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.agents.base import AgentEvent, EventKind
from actors.agents.claude_json import parse

_KINDS = {
    "SessionStart": EventKind.SESSION_STARTED,
    "UserPromptSubmit": EventKind.PROMPT_SUBMITTED,
    "PermissionRequest": EventKind.PERMISSION_REQUESTED,
    "PostToolUse": EventKind.TOOL_USED,
    "PostToolUseFailure": EventKind.TOOL_USED,
    "Stop": EventKind.TURN_ENDED,
    "StopFailure": EventKind.TURN_FAILED,
    "Notification": EventKind.ATTENTION,
    "SessionEnd": EventKind.SESSION_ENDED,
}
_TEXT_KEYS = {
    EventKind.PROMPT_SUBMITTED: ("prompt",),
    EventKind.TURN_ENDED: ("last_assistant_message",),
    EventKind.TURN_FAILED: ("last_assistant_message", "error"),
    EventKind.ATTENTION: ("message",),
    EventKind.SESSION_ENDED: ("reason",),
}
_NOBODY_IS_NEEDED = frozenset({"idle_prompt", "auth_success"})
"""Notifications that come although the agent waits for nothing but its next turn."""


_NO_WORK = frozenset({"shell", "bash", "monitor"})
"""Tasks in the background that may run for ever, as a server does."""


def read_event(line: bytes) -> AgentEvent | None:
    """See ``Agent.read_event``."""
    data = parse(line)
    if not isinstance(data, dict):
        raise ValueError("a line of the spool is no JSON object")  # noqa: TRY004 - as for any torn line
    kind = _KINDS.get(_text(data, "hook_event_name"))
    if kind is None or data.get("notification_type") in _NOBODY_IS_NEEDED:
        return None
    tool_input = data.get("tool_input")
    return AgentEvent(
        kind=kind,
        at=float(data.get("phalanx_at", 0.0)),
        session_id=_text(data, "session_id"),
        text=next((text for key in _TEXT_KEYS.get(kind, ()) if (text := _text(data, key))), ""),
        rate_limited=kind is EventKind.TURN_FAILED and data.get("error") == "rate_limit",
        tool=_text(data, "tool_name"),
        tool_input=tool_input if isinstance(tool_input, dict) else {},
        slimmed=data.get("phalanx_slimmed") is True,
        request_id=_text(data, "phalanx_request_id"),
        subagent=_text(data, "agent_id"),
        subagent_type=_text(data, "agent_type"),
        in_background=_works_on(data.get("background_tasks")),
        transcript_path=_text(data, "transcript_path"),
        source=_text(data, "source"),
        agent_pid=pid if isinstance(pid := data.get("phalanx_pid"), int) else 0,
    )


def _works_on(tasks: object) -> bool:
    """Whether work of the agent itself goes on in the background; a command that it left running is none."""
    if not isinstance(tasks, list):
        return False
    return any(isinstance(task, dict) and task.get("type") not in _NO_WORK for task in tasks)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
