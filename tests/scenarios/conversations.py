"""What really stands in the conversations of one instance, read from all transcripts that its Claude Code wrote.

An instance may have several: ``/clear``, ``/resume`` and ``/branch`` begin others. A branch copies what was said
before, line by line with the same uuid, so a line is counted once wherever it stands.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEADER = re.compile(r"^\[phalanx (msg_[0-9a-z]+) from [^\]\n]+\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One thing that was given to the agent to read: typed, or queued while it worked."""

    uuid: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversations:
    """``user_home``: the HOME of the agent; ``directory``: where it works."""

    user_home: Path
    directory: Path

    def said(self) -> list[Said]:
        found: dict[str, Said] = {}
        for number, entry in enumerate(self._entries()):
            text = _given_text(entry)
            if text:
                uuid = str(entry.get("uuid", number))
                found.setdefault(uuid, Said(uuid=uuid, text=text))
        return list(found.values())

    def times(self) -> Counter[str]:
        """How often each message of ours stands there, by its id."""
        return Counter(message_id for said in self.said() for message_id in _HEADER.findall(said.text))

    def mentions(self, words: str) -> list[str]:
        """The texts that were given to the agent, or that it queued or ran as a command, with these words in them."""
        return [text for entry in self._entries() if words in (text := _anything_submitted(entry))]

    def answers(self) -> list[str]:
        found = []
        for entry in self._entries():
            if entry.get("type") == "assistant" and not entry.get("isSidechain"):
                found += [block["text"] for block in entry["message"]["content"] if block.get("type") == "text"]
        return found

    def _entries(self) -> Iterator[dict[str, Any]]:
        """A half-written last line is left out."""
        folder = re.sub(r"[^A-Za-z0-9]", "-", str(self.directory))
        for transcript in sorted(self.user_home.glob(f".claude/projects/{folder}/*.jsonl")):
            *whole, _ = transcript.read_bytes().split(b"\n")
            for line in whole:
                if line.strip():
                    yield json.loads(line)


def _given_text(entry: dict[str, Any]) -> str:
    """Empty for tool results, for what a subagent was told and for what Claude Code adds by itself."""
    if entry.get("isMeta") or entry.get("isSidechain"):
        return ""
    if entry.get("type") == "user":
        content = entry["message"]["content"]
        if isinstance(content, str):
            return content
        return "\n".join(block["text"] for block in content if block.get("type") == "text")
    attachment = entry.get("attachment", {})
    return _words(attachment.get("prompt")) if attachment.get("type") == "queued_command" else ""


def _words(prompt: object) -> str:
    if isinstance(prompt, list):
        return "\n".join(str(block.get("text", "")) for block in prompt)
    return str(prompt or "")


def _anything_submitted(entry: dict[str, Any]) -> str:
    """Also what waits in the agent's own queue, and local commands."""
    if entry.get("type") == "queue-operation" and entry.get("operation") == "enqueue":
        return _words(entry.get("content"))
    return _given_text(entry)
