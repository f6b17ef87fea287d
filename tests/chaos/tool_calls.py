"""What the members of a team called by their tools, read from the transcripts that their programs wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conversations import lines_of

_NAME = "mcp__phalanx-team__"
_LONGEST_CALL = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """``answer``: None while there is none; ``refused``: it is an error."""

    instance_id: str
    tool: str
    arguments: Mapping[str, Any]
    answer: str | None = None
    refused: bool = False


def of_demo(instance_id: str, transcripts: Iterable[bytes]) -> list[ToolCall]:
    """In the order in which they were made."""
    called: dict[str, tuple[str, Mapping[str, Any]]] = {}
    answered: dict[str, tuple[str, bool]] = {}
    for entry in (each for transcript in transcripts for each in lines_of(transcript)):
        content = entry.get("message", {}).get("content")
        for block in content if isinstance(content, list) else []:
            if block["type"] == "tool_use" and block["name"].startswith(_NAME):
                called[block["id"]] = block["name"].removeprefix(_NAME), block["input"]
            elif block["type"] == "tool_result":
                answered[block["tool_use_id"]] = block["content"], block["is_error"]
    found = []
    for call_id, (tool, arguments) in called.items():
        answer, refused = answered.get(call_id, (None, False))
        found.append(ToolCall(instance_id=instance_id, tool=tool, arguments=arguments, answer=answer, refused=refused))
    return found


def is_under_way(transcript: Path) -> bool:
    """Whether the last thing that it tells is a call. Reads its end only."""
    with transcript.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_CALL))
        *_, last, rest = b"\n", *file.read().split(b"\n")
    if rest or not last.startswith(b"{"):
        return False
    content = json.loads(last).get("message", {}).get("content")
    return isinstance(content, list) and any(block["type"] == "tool_use" for block in content)
