"""What the members of a team called by their tools, read from the transcripts that their programs wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.conversations import lines_of

_NAME = "mcp__phalanx-team__"


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
