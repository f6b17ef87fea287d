"""What really reached the agents, read from the records that the agents' programs themselves wrote.

The form of a message in a conversation is spelled out here once more on purpose: the code under test is not asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_HEADER = re.compile(r"^\[phalanx (msg_[0-9a-z]+) from [^\]\n]+\]$", re.MULTILINE)
_WRAPPED = re.compile(r'\s*<pasted_content id="(\w+)">\n(.*)</pasted_content id="\1">\s*', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One message in an agent's conversation, or text there that stands under no header (``message_id`` empty).

    ``at`` is seconds since the epoch.
    """

    instance_id: str
    message_id: str
    text: str
    at: float


def of_demo(instance_id: str, log: bytes) -> list[Arrival]:
    """From ``demo-log.jsonl``, in the order of arrival."""
    found: list[Arrival] = []
    for entry in _lines(log):
        prompt = entry.get("prompt", f"taken for a command: {entry.get('command')}")
        found += _split(instance_id, prompt, float(entry["at"]))
    return found


def of_claude(instance_id: str, transcript: bytes) -> list[Arrival]:
    """From a transcript of Claude Code, in the order of arrival: what was typed, and what was queued and taken in."""
    found: list[Arrival] = []
    for entry in _lines(transcript):
        prompt = _typed(entry)
        if prompt:
            at = datetime.fromisoformat(entry["timestamp"]).timestamp()
            wrapped = _WRAPPED.fullmatch(prompt)
            found += _split(instance_id, wrapped[2] if wrapped else prompt, at)
    return found


def _typed(entry: dict[str, Any]) -> str:
    """Empty for what nobody typed: tool results, and what Claude Code itself adds."""
    if entry.get("isMeta") or entry.get("isSidechain"):
        return ""
    if entry.get("type") == "user" and isinstance(entry["message"]["content"], str):
        return str(entry["message"]["content"])
    attachment = entry.get("attachment", {})
    return str(attachment["prompt"]) if attachment.get("type") == "queued_command" else ""


def _lines(log: bytes) -> Iterator[dict[str, Any]]:
    """Whole lines only: the last one may be half-written."""
    *whole, _ = log.split(b"\n")
    for line in whole:
        if line.strip():
            yield json.loads(line)


def _split(instance_id: str, prompt: str, at: float) -> Iterator[Arrival]:
    before, *parts = _HEADER.split(prompt)
    if before.strip():
        yield Arrival(instance_id=instance_id, message_id="", text=before.strip(), at=at)
    for message_id, text in zip(parts[::2], parts[1::2], strict=True):
        yield Arrival(instance_id=instance_id, message_id=message_id, text=text.strip("\n"), at=at)
