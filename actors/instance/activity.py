"""What an instance was asked last and what it does now, in a line each; pure.

``Conversation`` feeds ``Activity`` with the entries of the transcript that it follows anyway, the oldest first, so a
new actor that reads the transcript again comes to the same state. Messages that the team makes by itself tell what has
happened and ask for nothing: they are no task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.agents.base import ConversationItem, EntryKind
from actors.instance.inbox import clean, messages_in
from actors.messages import KEEPER, TELLER

_ASK_NOTHING = frozenset({TELLER, KEEPER})
LONGEST = 160
"""Characters of a task or an activity."""
_TELLING = (
    "command",
    "file_path",
    "notebook_path",
    "pattern",
    "path",
    "url",
    "query",
    "description",
    "skill",
    "instanceId",
    "message",
    "prompt",
)
"""Arguments of tools that say most of a call, the best first."""
_READ = 2_000
"""Characters of a line: a result or a paste may be one line of megabytes."""
_SAYS_SOMETHING = re.compile(r"\w")
_MARK = re.compile(r"</?pasted_content\b[^>\n]*>")
"""With which Claude Code surrounds a long paste."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line, and when it was written, as the transcript gives the time."""

    text: str = ""
    at: str = ""


_NOTHING = Moment()


class Activity:
    """``task`` is the head of what was asked last, ``model`` the one that gave the last answer."""

    def __init__(self) -> None:
        self.task = ""
        self.model = ""
        self._doing = _NOTHING
        self._answer = _NOTHING

    def now(self, *, idle: bool) -> Moment:
        """Idle: its last answer. Otherwise the last tool call or text of the turn; nothing before the first one."""
        return self._answer if idle else self._doing

    def take_in(self, entry: ConversationItem) -> None:
        self.model = entry.model or self.model
        match entry.kind:
            case EntryKind.QUESTION:
                self._doing = _NOTHING
                self.task = task_in(entry.text) or self.task
            case EntryKind.ANSWER if words := head(entry.text):
                self._doing = self._answer = Moment(words, entry.at)
            case EntryKind.TOOL_CALL:
                self._doing = Moment(call_in_words(entry.tool, entry.tool_input, entry.directory), entry.at)


def task_in(prompt: str) -> str:
    """The head of the last message in a prompt that asks for something; empty when none does."""
    messages = messages_in(prompt)
    if not messages:
        return head(prompt)
    asked = [message.text for message in messages if message.sender not in _ASK_NOTHING]
    return head(asked[-1]) if asked else ""


def head(text: str) -> str:
    """The first line that says something, without control characters and not too long."""
    for line in text.splitlines():
        words = " ".join(clean(_MARK.sub("", line.strip()[:_READ])).text.split())
        if _SAYS_SOMETHING.search(words):
            return _cut(words)
    return ""


def call_in_words(tool: str, tool_input: Mapping[str, Any], directory: str = "") -> str:
    """``Bash: npm test``: the tool, and of its arguments the one that says most. Paths below ``directory`` are shown
    from there."""
    given = (tool_input.get(name) for name in _TELLING)
    value = next((value for value in given if isinstance(value, str) and value.strip()), None) or _question(tool_input)
    argument = head(value.removeprefix(f"{directory}/") if directory else value)
    return _cut(f"{head(tool)}: {argument}" if argument else head(tool))


def _question(tool_input: Mapping[str, Any]) -> str:
    """The first question of a call that asks several."""
    match tool_input.get("questions"):
        case [{"question": str() as question}, *_]:
            return question
    return ""


def _cut(words: str) -> str:
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"
