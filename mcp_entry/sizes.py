"""Shortens the answers of the tools to what Claude Code takes from one call, whatever the size of the team.

Claude Code takes 25,000 tokens of a tool and writes the rest into a file. Tokens are estimated by characters. An answer
always says what is left out and how to get it. Only the entry's tools shorten: people and Python programs get whole
answers. The functions take and give the supervisor's answers as JSON; all of them are pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from supervisor.api.results import FOR_VIEWS

Json = dict[str, Any]
Rows = list[dict[str, Any]]
CHARACTERS_A_TOKEN = 3.5
MOST_STRUCTURED = 55_000
"""Characters of the structured content of one answer: what Claude Code shows its model."""
MOST_TEXT = 10_000
"""Characters of the text beside it, which is a summary."""
MOST_IN_FULL = 20
"""Most instances that ``list`` gives with all fields."""
MOST_NAMED_IN_FULL = 60
"""The same for instances that are named by id."""
MOST_ROWS = 250
MOST_MEMBERS = 20
"""Most results of a batch that are given with all fields."""
LONGEST_PART = 50_000
"""Characters of one entry that is read in whole, and of a screen."""
_REASONS, _INPUTS, _NAMED_INPUTS = 8_000, 12_000, 40_000
"""Characters of all reasons, and of all inputs of permission requests, in one answer."""
_ERRORS = 15_000
_ANSWERED = 2_000
"""Characters of the input of a permission request that was answered."""
_GIT = 45_000
"""Characters of all results of ``git_batch``."""
_CONFLICTS = 8_000
"""Characters of all conflicts between branches."""
_LONGEST_HELD = 100
_MOST_FINDINGS, _MOST_HOSTS = 20, 20
_CUT = "…"
_BRIEF = (
    "instanceId",
    "name",
    "role",
    "status",
    "reason",
    "permission",
    "dialog",
    "needsAttention",
    "queuedMessages",
    "heldMessages",
    "unread",
    "work",
)


def size_of(value: Any) -> int:
    """Characters of a JSON value as it is sent."""
    return len(to_json(value).decode())


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """A fair share of ``total`` for each size: none is larger than its size, and what is spare goes to the others."""
    left, given = total, [0] * len(sizes)
    for rank, number in enumerate(sorted(range(len(sizes)), key=lambda each: sizes[each])):
        given[number] = min(sizes[number], left // (len(sizes) - rank))
        left -= given[number]
    return given


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(0, most - 1)]}{_CUT}"


def shortened(value: Any, most: int) -> tuple[Any, int]:
    """A JSON value of the same form in about ``most`` characters, and how many characters are left out.

    Texts are cut and lists lose their last items; names and numbers stay.
    """
    size = size_of(value)
    if size <= most:
        return value, 0
    match value:
        case str():
            kept = cut(value, most)
            shorter = len(kept) < len(value)  # the mark of a cut takes a character itself
            return (kept, len(value) - len(kept)) if shorter else (value, 0)
        case dict():
            room = most - sum(len(str(name)) + 4 for name in value)
            allowed = shares([size_of(each) for each in value.values()], max(0, room))
            parts = {name: shortened(each, of) for (name, each), of in zip(value.items(), allowed, strict=True)}
            return {name: part for name, (part, _) in parts.items()}, sum(left for _, left in parts.values())
        case list():
            kept_items, room = [], most
            for item in value:
                room -= size_of(item) + 1
                if room < 0:
                    break
                kept_items.append(item)
            return kept_items, size - size_of(kept_items)
        case _:
            return value, 0


def unchanged(answer: Json, _arguments: Json) -> Json:
    return answer


def as_given(arguments: Json) -> Json:
    return arguments


def of_list(answer: Json, arguments: Json) -> Json:
    answer = {**answer, "conflicts": shortened(answer["conflicts"], _CONFLICTS)[0]}
    named = arguments.get("instanceIds") is not None
    instances = [{name: row[name] for name in row if name not in FOR_VIEWS} for row in answer["instances"]]
    if len(instances) <= (MOST_NAMED_IN_FULL if named else MOST_IN_FULL):
        return {**answer, "instances": _fitted(instances, _NAMED_INPUTS if named else _INPUTS)}
    return {
        **answer,
        "instances": _in_brief(instances),
        "needsAttention": answer["needsAttention"][:MOST_ROWS],
        "brief": True,
        "leftOut": max(0, len(instances) - MOST_ROWS) or None,
    }


def of_wait(answer: Json, _arguments: Json) -> Json:
    others = dict(answer["others"])
    for row in answer["instances"][MOST_ROWS:]:
        others[row["status"]] = others.get(row["status"], 0) + 1
    return {**answer, "instances": _in_brief(answer["instances"]), "others": others}


def _in_brief(instances: Rows) -> Rows:
    return _fitted([{name: row[name] for name in _BRIEF if name in row} for row in instances[:MOST_ROWS]], _INPUTS)


def _fitted(instances: Rows, inputs: int) -> Rows:
    """The rows with their reasons and the inputs of their permission requests cut."""
    rows = _sharing(instances, "reason", _REASONS)
    rooms = shares([size_of(row["permission"]["input"]) if row.get("permission") else 0 for row in rows], inputs)
    return [
        {**row, "permission": _within(row["permission"], room)} if row.get("permission") else row
        for row, room in zip(rows, rooms, strict=True)
    ]


def _within(permission: Json, most: int) -> Json:
    """The permission request with its input in ``most`` characters."""
    kept, left_out = shortened(permission["input"], most)
    return {**permission, "input": kept, "leftOut": left_out or None}


def _sharing(rows: Rows, field: str, total: int) -> Rows:
    """The rows with the texts of ``field`` cut to ``total`` characters together."""
    rooms = shares([len(row.get(field) or "") for row in rows], total)
    return [
        {**row, field: cut(row[field], room)} if row.get(field) else row for row, room in zip(rows, rooms, strict=True)
    ]


def _with_short_errors(rows: Rows) -> Rows:
    errors = _sharing([row.get("error") or {} for row in rows], "message", _ERRORS)
    return [{**row, "error": error or None} for row, error in zip(rows, errors, strict=True)]


def of_respond(answer: Json, _arguments: Json) -> Json:
    permission = answer.get("permission")
    return {**answer, "permission": _within(permission, _ANSWERED)} if permission else answer


def of_spawn_batch(answer: Json, _arguments: Json) -> Json:
    """Of more than ``MOST_MEMBERS`` only ids, errors and notes; a note on several is given once."""
    members = answer["instances"]
    if len(members) <= MOST_MEMBERS:
        return answer
    told: set[str] = set()
    brief = []
    for member in _with_short_errors(members):
        notes = [note for note in member["notes"] if note not in told]
        told.update(notes)
        kept = {name: member.get(name) for name in ("success", "instanceId", "error")}
        brief.append({**kept, "reason": cut(member.get("reason") or "", _LONGEST_HELD) or None, "notes": notes})
    return {**answer, "instances": brief}


def of_send_batch(answer: Json, _arguments: Json) -> Json:
    members = answer["results"]
    if len(members) <= MOST_ROWS:
        return answer
    rows = _sharing(_with_short_errors(members), "reason", _REASONS)
    return {**answer, "results": [{**row, "messageId": None, "changes": []} for row in rows]}


def of_terminate(answer: Json, _arguments: Json) -> Json:
    return {**answer, "terminated": _sharing(_with_short_errors(answer["terminated"]), "kept", _ERRORS)}


def of_git_batch(answer: Json, _arguments: Json) -> Json:
    """All results share ``_GIT`` characters; short ones leave their share to long ones."""
    outcomes = answer["results"]
    rooms = shares([size_of(outcome["result"]) if outcome.get("result") else 0 for outcome in outcomes], _GIT)
    fitted = []
    for outcome, room in zip(_with_short_errors(outcomes), rooms, strict=True):
        kept, left_out = shortened(outcome.get("result"), room)
        if left_out and "truncated" in kept:
            kept["truncated"] = True
        fitted.append({**outcome, "result": kept, "leftOut": left_out or None})
    return {**answer, "results": fitted}


def of_performance(answer: Json, _arguments: Json) -> Json:
    """The costliest of many findings, and the busiest of many hosts."""
    seen, metrics = answer["performance"], answer["metrics"]
    hosts = sorted(metrics["hosts"], key=lambda host: -float(host["load"]) / max(1, host["cpus"]))[:_MOST_HOSTS]
    return {
        **answer,
        "metrics": {**metrics, "hosts": hosts},
        "performance": {**seen, **{name: seen[name][:_MOST_FINDINGS] for name in ("lost", "alerts")}},
        "recommendations": answer["recommendations"][:_MOST_FINDINGS],
    }


def of_recycle(answer: Json, _arguments: Json) -> Json:
    return {**answer, "summary": cut(answer["summary"], LONGEST_PART // 2)}


def whole_entry(arguments: Json) -> Json:
    """The arguments without the ``+OFFSET`` of ``full``, which names a part of an entry: the supervisor gives all."""
    full = arguments.get("full")
    return {**arguments, "full": full.partition("+")[0] or None} if isinstance(full, str) else arguments


def of_read(answer: Json, arguments: Json) -> Json:
    """The end of a long screen; an entry that was asked for in whole comes in parts, and each names the next."""
    if answer.get("screen") and len(answer["screen"]) > LONGEST_PART:
        return {**answer, "screen": f"{_CUT}{answer['screen'][-LONGEST_PART:]}"}
    entries = [{name: entry[name] for name in entry if name != "messages"} for entry in answer["entries"]]
    reference, _, offset = str(arguments.get("full") or "").partition("+")
    if not reference:
        return {**answer, "entries": entries}
    begin = int(offset) if offset.isdecimal() else 0
    return {**answer, "entries": [_part(entry, reference, begin) for entry in entries]}


def _part(entry: Json, reference: str, begin: int) -> Json:
    text, end = entry["text"], begin + LONGEST_PART
    if entry.get("input") is not None and size_of(entry["input"]) + len(text) > LONGEST_PART:
        text, entry = text + json.dumps(entry["input"], ensure_ascii=False), {**entry, "input": None}
    left_out = max(0, len(text) - end)
    further = {"leftOut": left_out, "full": f"{reference}+{end}"} if left_out else {}
    return {**entry, "text": text[begin:end], **further}


def short_text(text: str, most: int = MOST_TEXT) -> str:
    """The first lines of a summary, and how many follow."""
    if len(text) <= most:
        return text
    kept = text[:most].rpartition("\n")[0] or text[:most]
    return f"{kept}\n{_CUT} {text.count(chr(10), len(kept))} more lines: see the structured content."


def guarded(content: dict[str, Any], most: int = MOST_STRUCTURED) -> dict[str, Any]:
    """Content that is still too long loses the end of its longest list; ``notAllShown`` says so."""
    over = size_of(content) - most
    lists = [(size_of(value), name) for name, value in content.items() if isinstance(value, list) and value]
    if over <= 0 or not lists:
        return content
    longest, name = max(lists)
    kept, _ = shortened(content[name], max(0, longest - over - 200))
    said = f"{name} is too long for one answer: {len(content[name]) - len(kept)} of {len(content[name])} are not shown."
    return {**content, name: kept, "notAllShown": said}
