"""What the lines of Claude Code's transcript say; pure.

A transcript is the conversation as Claude Code itself keeps it, between bookkeeping that is left out here. The exact
text is kept. A message that was typed while a tool ran stands in an attachment and nowhere else: Claude Code takes it
into the turn under way without any hook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from actors.agents.base import Entry, EntryKind, TokenUse
from actors.agents.claude_json import parse

Json = Mapping[str, Any]

_INTERRUPTED = re.compile(r"\[Request interrupted by user(?: for tool use)?\]")
_OWN_NOTE = re.compile(
    r"<(?:command-name|command-message|local-command-\w+|bash-(?:input|stdout|stderr)|task-notification)>"
)
"""How Claude Code notes commands that a person typed, what they printed, and background work that ended."""
_REFUSED = re.compile(r"UserPromptSubmit operation blocked by hook:\n(.*?)\n+Original prompt: (.*)", re.DOTALL)
"""So Claude Code notes a prompt that a hook of the user's has blocked."""
_SYNTHETIC_FILLER = "No response requested."


def read_transcript(line: bytes) -> tuple[Entry, ...]:
    """See ``Agent.read_transcript``."""
    data = parse(line)
    if not isinstance(data, dict):
        raise ValueError("a line of the transcript is no JSON object")  # noqa: TRY004 - as for any torn line
    if data.get("isSidechain") or data.get("isMeta") or data.get("isCompactSummary"):
        return ()
    read = _READERS.get(_text(data, "type"))
    return tuple(read(data)) if read else ()


def _read_user(data: Json) -> Iterator[Entry]:
    content = _message(data).get("content")
    if isinstance(content, str):
        kind = EntryKind.NOTICE if _OWN_NOTE.match(content) else EntryKind.QUESTION
        yield _entry(data, kind, content)
        return
    for block in _blocks(content):
        if block.get("type") == "tool_result":
            yield _entry(data, EntryKind.TOOL_RESULT, _joined_text(block.get("content")))
        elif block.get("type") == "text":
            yield _typed_block(data, _text(block, "text"))


def _typed_block(data: Json, text: str) -> Entry:
    if _INTERRUPTED.fullmatch(text):
        return _entry(data, EntryKind.NOTICE, text, interrupted=True)
    return _entry(data, EntryKind.QUESTION, text)


def _read_assistant(data: Json) -> Iterator[Entry]:
    message = _message(data)
    common: dict[str, Any] = {"answer_id": _text(message, "id"), "tokens": _tokens(message.get("usage"))}
    failed = bool(data.get("isApiErrorMessage"))
    for block in _blocks(message.get("content")):
        if block.get("type") == "tool_use":
            tool_input = block.get("input")
            common_tool = {
                "tool": _text(block, "name"),
                "tool_input": tool_input if isinstance(tool_input, dict) else {},
            }
            yield _entry(data, EntryKind.TOOL_CALL, "", **common_tool, **common)
        elif block.get("type") == "text" and _text(block, "text") != _SYNTHETIC_FILLER:
            yield _entry(data, EntryKind.NOTICE if failed else EntryKind.ANSWER, _text(block, "text"), **common)


def _read_attachment(data: Json) -> Iterator[Entry]:
    attachment = data.get("attachment")
    if not isinstance(attachment, dict) or attachment.get("type") != "queued_command":
        return
    if attachment.get("commandMode", "prompt") == "prompt":
        yield _entry(data, EntryKind.QUESTION, _joined_text(attachment.get("prompt")))


def _read_system(data: Json) -> Iterator[Entry]:
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


def _entry(data: Json, kind: EntryKind, text: str, **more: Any) -> Entry:
    return Entry(kind=kind, at=_text(data, "timestamp"), text=text, **more)


def _message(data: Json) -> Json:
    message = data.get("message")
    return message if isinstance(message, dict) else {}


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


def _text(data: Json, key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
