"""What Claude Code writes about itself: hook events, transcript, status file.

``ClaudeRecords`` is the reading half of ``ClaudeAgent`` and of ``DemoAgent``, which behaves like it; the observer calls
it. Events, as ``hook.py`` puts them into the spool, and transcript lines are read by pure functions; ``StatusFile``
reads a file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from actors.agents.base import (
    Agent,
    AgentEvent,
    ConversationItem,
    EntryKind,
    EventKind,
    ReportedStatus,
    TokenUse,
)
from actors.agents.claude_limits import reset_at
from actors.agents.claude_screen import read_screen, scrubbed
from actors.agents.permissions import decision_text
from actors.tmux.pane import Key

EVENT_KINDS = {
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
"""Of the hooks that an agent runs for Phalanx."""
_TEXT_KEYS = {
    EventKind.PROMPT_SUBMITTED: ("prompt",),
    EventKind.TURN_ENDED: ("last_assistant_message",),
    EventKind.TURN_FAILED: ("last_assistant_message", "error"),
    EventKind.ATTENTION: ("message",),
    EventKind.SESSION_ENDED: ("reason",),
}
_NO_WORK = frozenset({"shell", "bash", "monitor"})
"""Tasks in the background that may run for ever, as a server does."""

Json = Mapping[str, Any]
_INTERRUPTED = re.compile(r"\[Request interrupted by user(?: for tool use)?\]")
_OWN_NOTE = re.compile(
    r"<(?:command-name|command-message|local-command-\w+|bash-(?:input|stdout|stderr)|task-notification)>"
)
"""How Claude Code notes commands that a person typed, what they printed, and background work that ended."""
_REFUSED = re.compile(r"UserPromptSubmit operation blocked by hook:\n(.*?)\n+Original prompt: (.*)", re.DOTALL)
"""So Claude Code notes a prompt that a hook of the user's has blocked."""
_NO_MODEL = "<synthetic>"
"""Named in answers that Claude Code makes by itself."""
_CONTEXT_WINDOWS = ((re.compile(r"claude-(3|(opus|sonnet|haiku)-4-([0-5]\b|20))"), 200_000),)
"""What Anthropic's list of models says. Of later ones the window depends on the account, which no record tells."""
_SYNTHETIC_FILLER = "No response requested."

_KNOWN = frozenset({"idle", "busy", "waiting", "shell"})
_PLAIN_ID = re.compile(r"[\w-]+")


def _parse(line: bytes) -> Json:
    """Raises ``ValueError`` for what is no JSON object. Half of a surrogate pair, into which JavaScript cuts an emoji
    and which no encoder of ours would take, reads as ``?``."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("the line is no JSON object")  # noqa: TRY004 - as for any torn line
    if b"\\ud" not in line and b"\\uD" not in line:
        return value
    mended: Json = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return mended


def read_event(line: bytes) -> AgentEvent | None:
    """See ``Agent.read_event``."""
    data = _parse(line)
    kind = EVENT_KINDS.get(_text(data, "hook_event_name"))
    if kind is None:
        return None
    at = float(data.get("phalanx_at", 0.0))
    text = next((text for key in _TEXT_KEYS.get(kind, ()) if (text := _text(data, key))), "")
    rate_limited = kind is EventKind.TURN_FAILED and data.get("error") == "rate_limit"
    return AgentEvent(
        kind=kind,
        at=at,
        session_id=_text(data, "session_id"),
        text=text,
        rate_limited=rate_limited,
        resets_at=reset_at(f"{text}\n{_text(data, 'error_details')}", at) if rate_limited else 0.0,
        tool=_text(data, "tool_name"),
        tool_input=_mapping(data, "tool_input"),
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


def _text(data: Json, key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _mapping(data: Json, key: str) -> Json:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def read_transcript(line: bytes) -> tuple[ConversationItem, ...]:
    """See ``Agent.read_transcript``."""
    data = _parse(line)
    if data.get("isSidechain") or data.get("isMeta") or data.get("isCompactSummary"):
        return ()
    read = _READERS.get(_text(data, "type"))
    return tuple(read(data)) if read else ()


def _read_user(data: Json) -> Iterator[ConversationItem]:
    content = _mapping(data, "message").get("content")
    if isinstance(content, str):
        kind = EntryKind.NOTICE if _OWN_NOTE.match(content) else EntryKind.QUESTION
        yield _entry(data, kind, content)
        return
    for block in _blocks(content):
        text = _text(block, "text")
        if block.get("type") == "tool_result":
            yield _entry(data, EntryKind.TOOL_RESULT, _joined_text(block.get("content")))
        elif block.get("type") == "text" and _INTERRUPTED.fullmatch(text):
            yield _entry(data, EntryKind.NOTICE, text, interrupted=True)
        elif block.get("type") == "text":
            yield _entry(data, EntryKind.QUESTION, text)


def _read_assistant(data: Json) -> Iterator[ConversationItem]:
    message = _mapping(data, "message")
    failed = bool(data.get("isApiErrorMessage"))
    model = _text(message, "model")
    common: dict[str, Any] = {
        "answer_id": _text(message, "id"),
        "tokens": _tokens(message.get("usage")),
        "model": "" if failed or model == _NO_MODEL else model,
        "directory": _text(data, "cwd"),
    }
    for block in _blocks(message.get("content")):
        if block.get("type") == "tool_use":
            tool = {"tool": _text(block, "name"), "tool_input": _mapping(block, "input")}
            yield _entry(data, EntryKind.TOOL_CALL, "", **tool, **common)
        elif block.get("type") == "text" and _text(block, "text") != _SYNTHETIC_FILLER:
            yield _entry(data, EntryKind.NOTICE if failed else EntryKind.ANSWER, _text(block, "text"), **common)


def _read_attachment(data: Json) -> Iterator[ConversationItem]:
    attachment = _mapping(data, "attachment")
    if attachment.get("type") == "queued_command" and attachment.get("commandMode", "prompt") == "prompt":
        yield _entry(data, EntryKind.QUESTION, _joined_text(attachment.get("prompt")))


def _read_system(data: Json) -> Iterator[ConversationItem]:
    content = _text(data, "content")
    if data.get("subtype") == "compact_boundary":
        yield _entry(data, EntryKind.NOTICE, content)
    elif data.get("subtype") == "informational" and (found := _REFUSED.match(content)):
        words = " ".join(found[1].split())
        yield _entry(data, EntryKind.NOTICE, f"a hook for UserPromptSubmit has refused it: {words}", refused=found[2])


_READERS = {
    "user": _read_user,
    "assistant": _read_assistant,
    "attachment": _read_attachment,
    "system": _read_system,
}


def _entry(data: Json, kind: EntryKind, text: str, **more: Any) -> ConversationItem:
    return ConversationItem(kind=kind, at=_text(data, "timestamp"), text=text, **more)


def _blocks(content: object) -> list[Json]:
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _joined_text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(_text(block, "text") for block in _blocks(content) if block.get("type") == "text")


def _tokens(usage: object) -> TokenUse | None:
    if not isinstance(usage, dict):
        return None
    counts = {key: value for key, value in usage.items() if isinstance(value, int)}
    return TokenUse(
        input_tokens=counts.get("input_tokens", 0),
        output_tokens=counts.get("output_tokens", 0),
        cache_read_tokens=counts.get("cache_read_input_tokens", 0),
        cache_creation_tokens=counts.get("cache_creation_input_tokens", 0),
    )


def subagent_transcripts(transcript: Path) -> Iterable[Path]:
    """See ``Agent.subagent_transcripts``."""
    directory = transcript.with_suffix("") / "subagents"
    return sorted(directory.rglob("agent-*.jsonl")) if directory.is_dir() else ()


def read_usage(line: bytes) -> tuple[str, TokenUse] | None:
    """See ``Agent.read_usage``."""
    data = _parse(line)
    message = _mapping(data, "message")
    tokens = _tokens(message.get("usage")) if data.get("type") == "assistant" else None
    return (_text(message, "id"), tokens) if tokens else None


class StatusFile:
    """Claude Code's own status file, of one process. Reading is cheap while the file does not change: one ``stat``.

    Each interactive Claude Code writes ``<configuration>/sessions/<pid>.json`` and replaces it as a whole. The file is
    not documented, so it is one witness among others: a missing, unknown or another process's file reads as None.
    """

    def __init__(self, pid: int, configuration: Path | None = None) -> None:
        """``configuration`` is Claude Code's directory; default: the one that the process's environment names."""
        self._pid = pid
        self._given = configuration
        self._configuration = configuration
        self._stamp: tuple[int, int] | None = None
        self._read: ReportedStatus | None = None

    def read(self) -> ReportedStatus | None:
        """What it says now; None when there is none, or none that can be understood."""
        if self._read is None:  # a process that has just been started takes on its environment a moment later
            self._configuration = self._given or _configuration_of(self._pid)
        if self._configuration is None:
            return None
        path = self._configuration / "sessions" / f"{self._pid}.json"
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if stamp != self._stamp:
                self._stamp, self._read = stamp, _own_status(path.read_bytes(), self._pid)
        except OSError:
            self._stamp = self._read = None
        return self._read

    def transcript_of(self, session_id: str) -> str:
        """Path of the transcript of this conversation; empty when there is none."""
        if self._configuration is None or not _PLAIN_ID.fullmatch(session_id):
            return ""
        try:
            return str(next(self._configuration.glob(f"projects/*/{session_id}.jsonl"), ""))
        except OSError:
            return ""


def _own_status(data: bytes, pid: int) -> ReportedStatus | None:
    try:
        read = json.loads(data)
    except ValueError:
        return None
    if not isinstance(read, dict) or read.get("status") not in _KNOWN:
        return None
    started = read.get("procStart")
    if started is not None and str(started) != _start_ticks(pid):
        return None  # of a process that had this number before
    return ReportedStatus(
        session_id=_text(read, "sessionId"), status=read["status"], waiting_for=_text(read, "waitingFor")
    )


def _configuration_of(pid: int) -> Path | None:
    """Where this process keeps its configuration, by its environment."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    environment = dict(variable.partition(b"=")[::2] for variable in variables if variable)
    if given := environment.get(b"CLAUDE_CONFIG_DIR"):
        return Path(os.fsdecode(given))
    home = environment.get(b"HOME")
    return Path(os.fsdecode(home)) / ".claude" if home else None


def _start_ticks(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def prompt_context(identity: str) -> str:
    """What a hook prints to put a text before the agent with its prompt."""
    output = {"hookEventName": "UserPromptSubmit", "additionalContext": identity}
    return json.dumps({"hookSpecificOutput": output}) + "\n"


class ClaudeRecords(Agent):
    """The half of an ``Agent`` that Claude Code and the demo share: what they write, show, and take."""

    __slots__ = ()

    read_event = staticmethod(read_event)
    read_transcript = staticmethod(read_transcript)
    subagent_transcripts = staticmethod(subagent_transcripts)
    read_usage = staticmethod(read_usage)
    read_screen = staticmethod(read_screen)
    scrub_screen = staticmethod(scrubbed)
    status_file = staticmethod(StatusFile)
    permission_answer = staticmethod(decision_text)
    introduction = staticmethod(prompt_context)

    def context_window(self, model: str) -> int | None:
        return next((tokens for known, tokens in _CONTEXT_WINDOWS if known.match(model)), None)

    @property
    def interrupt_key(self) -> Key:
        return "Escape"
