"""The words in which a lead is told what happened below it: one message for many events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.instance.inbox import without_headers
from actors.status import IDLE
from supervisor.api.results import TeamEvent
from supervisor.team.team import Team

MOST_TOLD = 20
"""More events than these are told by the ids of their instances alone."""
LONGEST = 6000
"""Most characters of agents' own words in one message."""
_SHORTEST = 120
_URGENCY = {"needs_attention": 0, "failed": 0, "became_idle": 2}
"""What is told first; all else is 1."""


def text_of(events: Sequence[TeamEvent], team: Team) -> str:
    """The message that tells these events. What agents said is quoted, so that no line of it looks like one of ours."""
    most_urgent = sorted(events, key=lambda event: (_URGENCY.get(event.kind, 1), event.number))
    told, named = most_urgent[:MOST_TOLD], most_urgent[MOST_TOLD:]
    asked = sum(event.kind == "needs_attention" for event in told)
    share, of_question = (max(_SHORTEST, LONGEST // number) for number in (len(told), max(asked, 1)))
    ends = {event.instance_id: event.number for event in events if event.kind == "became_idle"}
    lines: list[str] = []
    for event in told:
        member = team.registry.find(event.instance_id or "")
        runs = member is not None and member.alive
        is_idle = member is not None and member.status in IDLE and ends.get(event.instance_id) == event.number
        longest = of_question if event.kind == "needs_attention" else share
        lines += [_headline(event, is_idle=is_idle, runs=runs), *_quoted(event.text, longest)]
        if event.permission_id:
            lines.append(f"Answer with respond, permissionId {event.permission_id}.")
    if named:
        ids = ", ".join(dict.fromkeys(event.instance_id or "" for event in named))
        lines.append(f"{len(named)} more: {ids}. See list, and read their answers.")
    return "\n".join(lines)


def _headline(event: TeamEvent, *, is_idle: bool, runs: bool) -> str:
    who = f"{event.instance_id} ({event.name})" if event.name else str(event.instance_id)
    match event.kind:
        case "became_idle":
            words = "is idle" if is_idle else "ended a turn"
            return f"{who} {words}. Its answer:" if event.text else f"{who} {words} without an answer."
        case "needs_attention" if event.permission_id:
            return f"{who} waits for an answer:"
        case "needs_attention":
            return f"{who} needs attention:"
        case "failed" if runs:
            return f"{who} had failed, and runs again:"
        case "failed":
            return f"{who} has failed:"
        case "message_final":
            return f"The message {event.message_id} to {who} may not be in its conversation:"
        case _:
            return f"{who}, {event.kind.replace('_', ' ')}:"


def _quoted(text: str, longest: int) -> Iterator[str]:
    """A mark before each line, and no header of ours in any."""
    cut = text if len(text) <= longest else f"{text[:longest].rstrip()} …"
    for line in without_headers(cut).splitlines():
        yield f"> {line}"
