"""Keeps answers within what a Claude takes from one tool call, whatever the size of the team.

Claude Code takes 25,000 tokens of a tool and writes what is more into a file. Tokens are estimated by characters. What
is left out is always said, with how to get it; for people and programs nothing is left out, they do not come this way.
All functions are pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.api import results

CHARACTERS_A_TOKEN = 3.5
MOST_STRUCTURED = 55_000
"""Characters of the structured content of one answer: what Claude Code shows its model."""
MOST_TEXT = 10_000
"""Characters of the text beside it, which is a summary."""
MOST_IN_FULL = 20
"""So many instances are listed with all that there is to say of each."""
MOST_NAMED_IN_FULL = 60
"""Of those that were asked for by their ids."""
MOST_ROWS = 250
MOST_MEMBERS = 20
"""So many results of a batch are given with all their fields."""
LONGEST_PART = 50_000
"""Characters of one entry that is read in whole, and of a screen."""
_REASONS, _INPUTS, _NAMED_INPUTS = 8_000, 12_000, 40_000
"""Characters of all reasons and of all inputs of permission requests in one answer."""
_ERRORS = 15_000
_GIT = 45_000
_LONGEST_HELD = 100
_MOST_FINDINGS, _MOST_HOSTS = 20, 20
_CUT = "…"


def size_of(value: Any) -> int:
    """Characters of a JSON value, as it is sent."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def shares(sizes: Sequence[int], total: int) -> list[int]:
    """How much each may have of ``total``: what one does not need goes to the others, and nobody gets more than it
    needs."""
    left, given = total, [0] * len(sizes)
    for rank, number in enumerate(sorted(range(len(sizes)), key=lambda each: sizes[each])):
        given[number] = min(sizes[number], left // (len(sizes) - rank))
        left -= given[number]
    return given


def cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(0, most - 1)]}{_CUT}"


def shortened(value: Any, most: int) -> tuple[Any, int]:
    """A JSON value in about ``most`` characters, in the same form, and how many are left out.

    Texts are cut, lists lose what stands last; names and numbers stay.
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


def in_brief(info: results.InstanceInfo) -> results.InstanceInfo:
    """Who it is, how it is, and what it needs."""
    return results.InstanceInfo(
        instance_id=info.instance_id,
        name=info.name,
        role=info.role,
        status=info.status,
        reason=info.reason,
        permission=info.permission,
        dialog=info.dialog,
        needs_attention=info.needs_attention,
        queued_messages=info.queued_messages,
        held_messages=info.held_messages,
        unread=info.unread,
    )


def of_list(result: results.ListResult, *, named: bool) -> results.ListResult:
    """``named``: those that are in it were asked for by their ids."""
    most = MOST_NAMED_IN_FULL if named else MOST_IN_FULL
    if len(result.instances) <= most:
        return result.model_copy(update={"instances": _rows(result.instances, _NAMED_INPUTS if named else _INPUTS)})
    rows = _rows([in_brief(info) for info in result.instances[:MOST_ROWS]], _INPUTS)
    return result.model_copy(
        update={
            "instances": rows,
            "needs_attention": result.needs_attention[:MOST_ROWS],
            "brief": True,
            "left_out": max(0, len(result.instances) - MOST_ROWS) or None,
        }
    )


def of_wait(result: results.WaitResult) -> results.WaitResult:
    rows = _rows([in_brief(info) for info in result.instances[:MOST_ROWS]], _INPUTS)
    others = dict(result.others)
    for info in result.instances[MOST_ROWS:]:
        others[info.status.value] = others.get(info.status.value, 0) + 1
    return result.model_copy(update={"instances": rows, "others": others})


def _rows(instances: Sequence[results.InstanceInfo], inputs: int) -> list[results.InstanceInfo]:
    """With long reasons cut, and long inputs of permission requests."""
    reasons = shares([len(info.reason or "") for info in instances], _REASONS)
    sizes = [size_of(info.permission.input) if info.permission else 0 for info in instances]
    rows = []
    for info, reason, room in zip(instances, reasons, shares(sizes, inputs), strict=True):
        asked = within(info.permission, room) if info.permission else None
        changes = {"reason": cut(info.reason, reason) if info.reason else None, "permission": asked}
        rows.append(info.model_copy(update=changes))
    return rows


def within(permission: results.Permission, most: int = 2_000) -> results.Permission:
    """With its input in so many characters."""
    kept, left_out = shortened(permission.input, most)
    return permission.model_copy(update={"input": kept, "left_out": left_out or None})


def of_spawn_batch(result: results.SpawnBatchResult) -> results.SpawnBatchResult:
    """Many are told by id and error only; what is to note of several is noted once."""
    members = result.instances
    if len(members) <= MOST_MEMBERS:
        return result
    told: set[str] = set()
    brief = []
    for member, error in zip(members, _errors([member.error for member in members]), strict=True):
        notes = [note for note in member.notes if note not in told]
        told.update(notes)
        brief.append(
            results.SpawnOutcome(
                success=member.success,
                instance_id=member.instance_id,
                reason=cut(member.reason, _LONGEST_HELD) if member.reason else None,
                notes=notes,
                error=error,
            )
        )
    return result.model_copy(update={"instances": brief})


def of_send_batch(result: results.SendBatchResult) -> results.SendBatchResult:
    members = result.results
    if len(members) <= MOST_ROWS:
        return result
    errors = _errors([member.error for member in members])
    reasons = shares([len(member.reason or "") for member in members], _REASONS)
    brief = [
        member.model_copy(
            update={
                "message_id": None,
                "changes": [],
                "error": error,
                "reason": cut(member.reason, room) if member.reason else None,
            }
        )
        for member, error, room in zip(members, errors, reasons, strict=True)
    ]
    return result.model_copy(update={"results": brief})


def of_terminate(result: results.TerminateResult) -> results.TerminateResult:
    members = result.terminated
    errors = _errors([member.error for member in members])
    rooms = shares([len(member.kept or "") for member in members], _ERRORS)
    brief = [
        member.model_copy(update={"error": error, "kept": cut(member.kept, room) if member.kept else None})
        for member, error, room in zip(members, errors, rooms, strict=True)
    ]
    return result.model_copy(update={"terminated": brief})


def _errors(errors: Sequence[results.ErrorInfo | None]) -> list[results.ErrorInfo | None]:
    rooms = shares([len(error.message) if error else 0 for error in errors], _ERRORS)
    return [
        error.model_copy(update={"message": cut(error.message, room)}) if error else None
        for error, room in zip(errors, rooms, strict=True)
    ]


def of_git_batch(result: results.GitBatchResult) -> results.GitBatchResult:
    """All operations together get so many characters; short results leave theirs to the long ones."""
    rooms = shares([size_of(outcome.result) if outcome.result else 0 for outcome in result.results], _GIT)
    errors = _errors([outcome.error for outcome in result.results])
    fitted = []
    for outcome, room, error in zip(result.results, rooms, errors, strict=True):
        kept, left_out = shortened(outcome.result, room)
        if left_out and "truncated" in kept:
            kept["truncated"] = True
        fitted.append(outcome.model_copy(update={"result": kept, "left_out": left_out or None, "error": error}))
    return result.model_copy(update={"results": fitted})


def of_performance(result: results.GetPerformanceResult) -> results.GetPerformanceResult:
    """Of many findings the costliest, of many hosts the busiest."""
    seen, metrics = result.performance, result.metrics
    hosts = sorted(metrics.hosts, key=lambda host: -host.load / max(1, host.cpus))[:_MOST_HOSTS]
    return result.model_copy(
        update={
            "metrics": metrics.model_copy(update={"hosts": hosts}),
            "performance": seen.model_copy(
                update={"lost": seen.lost[:_MOST_FINDINGS], "alerts": seen.alerts[:_MOST_FINDINGS]}
            ),
            "recommendations": result.recommendations[:_MOST_FINDINGS],
        }
    )


def of_recycle(result: results.RecycleResult) -> results.RecycleResult:
    return result.model_copy(update={"summary": cut(result.summary, LONGEST_PART // 2)})


def of_read(result: results.ReadResult, part: EntryPart) -> results.ReadResult:
    """A screen from its end; one entry that is wanted in whole in parts, each of which names the next one."""
    if result.screen is not None and len(result.screen) > LONGEST_PART:
        return result.model_copy(update={"screen": f"{_CUT}{result.screen[-LONGEST_PART:]}"})
    if not part.reference:
        return result
    return result.model_copy(update={"entries": [part.of(entry) for entry in result.entries]})


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPart:
    """Which part of one entry is read: ``full`` of a request is the entry's reference, or that with ``+OFFSET``."""

    reference: str
    begin: int

    @classmethod
    def named(cls, full: str | None) -> EntryPart:
        reference, _, offset = (full or "").partition("+")
        return cls(reference=reference, begin=int(offset) if offset.isdecimal() else 0)

    def of(self, entry: results.ConversationEntry) -> results.ConversationEntry:
        text = entry.text
        if entry.input is not None and size_of(entry.input) + len(text) > LONGEST_PART:
            text = text + json.dumps(entry.input, ensure_ascii=False)
            entry = entry.model_copy(update={"input": None})
        end = self.begin + LONGEST_PART
        left_out = max(0, len(text) - end)
        further = {"left_out": left_out, "full": f"{self.reference}+{end}"} if left_out else {}
        return entry.model_copy(update={"text": text[self.begin : end], **further})


def short_text(text: str, most: int = MOST_TEXT) -> str:
    """A summary with its first lines; that it goes on is said."""
    if len(text) <= most:
        return text
    kept = text[:most].rpartition("\n")[0] or text[:most]
    return f"{kept}\n{_CUT} {text.count(chr(10), len(kept))} more lines: see the structured content."


def guarded(content: dict[str, Any], most: int = MOST_STRUCTURED) -> dict[str, Any]:
    """Structured content that is too long all the same loses the end of its longest list, and says so."""
    over = size_of(content) - most
    lists = [(size_of(value), name) for name, value in content.items() if isinstance(value, list) and value]
    if over <= 0 or not lists:
        return content
    longest, name = max(lists)
    kept, _ = shortened(content[name], max(0, longest - over - 200))
    said = f"{name} is too long for one answer: {len(content[name]) - len(kept)} of {len(content[name])} are not shown."
    return {**content, name: kept, "notAllShown": said}
