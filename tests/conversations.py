"""What was given to an agent to read, as it stands in the transcripts of Claude Code.

An instance may have several transcripts: ``/clear``, ``/resume`` and ``/branch`` begin others. A branch copies what was
said before, line by line with the same uuid, so a line is counted once wherever it stands. The form of a message is
spelled out here once more on purpose: the code under test is not asked.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

HEADER = re.compile(r"^\[phalanx (msg_[0-9a-z]+) from [^\]\n]+\]$", re.MULTILINE)
SIGNED_HEADER = re.compile(r"^\[phalanx (msg_[0-9a-z]+) from ([^\]\n]+)\]$", re.MULTILINE)
"""With the sender."""
_NOBODY_SAID = ("isMeta", "isSidechain", "isCompactSummary")
_OF_THE_PROGRAM = ("<command-", "<local-command-", "<bash-", "[Request interrupted by user")
"""What a person ran in the program itself or stopped, and what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One thing that the agent was given: typed, or queued while it worked. ``kind``: that of its line; ``at``: seconds
    since the epoch."""

    kind: str
    text: str
    at: float


def lines_of(log: bytes) -> Iterator[dict[str, Any]]:
    """Whole lines only: the last one may be half-written."""
    *whole, _ = log.split(b"\n")
    for line in whole:
        if line.strip():
            yield json.loads(line)


def said_in(transcripts: Iterable[bytes]) -> list[Said]:
    """In the order in which it was said; without tool results and what Claude Code adds by itself."""
    found: dict[object, Said] = {}
    for number, entry in enumerate(each for transcript in transcripts for each in lines_of(transcript)):
        text = _given_text(entry)
        if text and not text.startswith(_OF_THE_PROGRAM):
            at = datetime.fromisoformat(entry["timestamp"]).timestamp()
            found.setdefault(entry.get("uuid", number), Said(kind=str(entry["type"]), text=text, at=at))
    return sorted(found.values(), key=lambda said: said.at)


def transcripts_of(user_home: Path, directory: Path) -> list[bytes]:
    """All that the Claude Code with this HOME wrote of sessions in the directory."""
    folder = re.sub(r"[^A-Za-z0-9]", "-", str(directory))
    return [path.read_bytes() for path in sorted(user_home.glob(f".claude/projects/{folder}/*.jsonl"))]


@dataclass(frozen=True, slots=True)
class Conversations:
    """Of one instance. ``user_home``: the HOME of the agent; ``directory``: where it works."""

    user_home: Path
    directory: Path

    def said(self) -> list[Said]:
        return said_in(self._transcripts())

    def times(self) -> Counter[str]:
        """How often each message of ours stands there, by its id."""
        return Counter(message_id for said in self.said() for message_id in HEADER.findall(said.text))

    def mentions(self, words: str) -> list[str]:
        """The texts that were given to the agent, or that it queued or ran as a command, with these words in them."""
        entries = (each for transcript in self._transcripts() for each in lines_of(transcript))
        return [text for entry in entries if words in (text := _anything_submitted(entry))]

    def answers(self) -> list[str]:
        found = []
        for entry in (each for transcript in self._transcripts() for each in lines_of(transcript)):
            if entry.get("type") == "assistant" and not entry.get("isSidechain"):
                found += [block["text"] for block in entry["message"]["content"] if block.get("type") == "text"]
        return found

    def _transcripts(self) -> list[bytes]:
        return transcripts_of(self.user_home, self.directory)


def _given_text(entry: dict[str, Any]) -> str:
    if any(entry.get(mark) for mark in _NOBODY_SAID):
        return ""
    if entry.get("type") == "user":
        return _words(entry["message"]["content"])
    attachment = entry.get("attachment", {})
    return _words(attachment.get("prompt")) if attachment.get("type") == "queued_command" else ""


def _words(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(block["text"]) for block in content if block.get("type") == "text")
    return str(content or "")


def _anything_submitted(entry: dict[str, Any]) -> str:
    """Also what waits in the agent's own queue, and local commands."""
    if entry.get("type") == "queue-operation" and entry.get("operation") == "enqueue":
        return _words(entry.get("content"))
    return _given_text(entry)
