"""What really reached the agents, read from the records that the agents' programs themselves wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.conversations import SIGNED_HEADER, lines_of, said_in

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
    sender: str = ""


def of_demo(instance_id: str, log: bytes) -> list[Arrival]:
    """From ``demo-log.jsonl``, in the order of arrival."""
    found: list[Arrival] = []
    for entry in lines_of(log):
        prompt = entry.get("prompt", f"taken for a command: {entry.get('command')}")
        found += _split(instance_id, prompt, float(entry["at"]))
    return found


def of_claude(instance_id: str, *transcripts: bytes) -> list[Arrival]:
    """From the transcripts of one Claude Code, in the order of arrival: what was typed, and what was queued and taken
    in."""
    found: list[Arrival] = []
    for said in said_in(transcripts):
        wrapped = _WRAPPED.fullmatch(said.text)
        found += _split(instance_id, wrapped[2] if wrapped else said.text, said.at)
    return found


def _split(instance_id: str, prompt: str, at: float) -> Iterator[Arrival]:
    before, *parts = SIGNED_HEADER.split(prompt)
    if before.strip():
        yield Arrival(instance_id=instance_id, message_id="", text=before.strip(), at=at)
    for message_id, sender, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        yield Arrival(instance_id=instance_id, message_id=message_id, text=text.strip("\n"), at=at, sender=sender)
