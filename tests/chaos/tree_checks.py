"""What must hold at the end of a round of a team that leads itself: one function a promise, as in ``checks``; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from tests.chaos.arrivals import Arrival
from tests.chaos.checks import Problems, few, title_of
from tests.chaos.copies import Told
from tests.chaos.tool_calls import ToolCall
from tests.chaos.tree import Errands

TEAM = "team"
"""Sends what a lead is told."""
_HEADLINE = re.compile(r"^(\w+)(?: \([^)\n]*\))? (?:is idle|ended a turn)\b", re.MULTILINE)
_NAMED_ONLY = re.compile(r"^(\d+) more: ", re.MULTILINE)


def every_call_was_made_once_and_answered(errands: Errands, calls: Iterable[ToolCall]) -> Problems:
    """Sends and starts. A start may be refused while the host is away: then it has made none. A call that ends a hand
    may lose its answer: what became of it, the team itself shows."""
    made: dict[tuple[str, str, str], list[ToolCall]] = {}
    for call in calls:
        what = str(call.arguments.get("message") or call.arguments.get("name"))
        made.setdefault((call.instance_id, call.tool, what), []).append(call)
    wanted = [(word.sender, "send", word.text) for word in errands.words]
    wanted += [(hand.lead, "spawn", hand.name) for hand in errands.hands]
    problems = []
    for instance_id, tool, what in wanted:
        found = made.get((instance_id, tool, what), [])
        if len(found) != 1:
            problems.append(f"call: {instance_id} made {tool} {title_of(what)!r} {len(found)} times")
        elif found[0].answer is None or (found[0].refused and tool == "send"):
            problems.append(f"call: {tool} {title_of(what)!r} of {instance_id} got {found[0].answer or 'no answer'}")
    return few(problems)


def every_word_stands_once(errands: Errands, arrivals: Sequence[Arrival]) -> Problems:
    """``arrivals``: all that one instance has from another, but for the first message of a hand."""
    words = {title_of(word.text): word for word in errands.words}
    problems = []
    counted = Counter(title_of(each.text) for each in arrivals)
    for title, word in words.items():
        if counted[title] != 1:
            problems.append(f"word: {title!r} to {word.receiver} stands {counted[title]} times")
    for each in arrivals:
        known = words.get(title_of(each.text))
        if known is None:
            problems.append(f"word: {each.instance_id} got {each.text[:200]!r} of {each.sender}, which nobody sent")
        elif (known.receiver, known.sender, known.text) != (each.instance_id, each.sender, each.text):
            problems.append(f"word: {each.instance_id} got {each.text[:200]!r} of {each.sender} instead of {known}")
    return few(problems)


def every_receipt_says_submitted(arrivals: Iterable[Arrival], receipts: Mapping[str, str]) -> Problems:
    """``receipts``: the stored status by message id."""
    return few(
        [
            f"receipt: {each.message_id} of {each.sender} to {each.instance_id}: {receipts.get(each.message_id)}"
            for each in arrivals
            if each.message_id and receipts.get(each.message_id) != "submitted"
        ]
    )


def every_start_made_one(
    errands: Errands, calls: Iterable[ToolCall], names: Iterable[str], contexts: Iterable[str]
) -> Problems:
    """And one that was refused made none. ``names``: of all instances that the team knows or knew. ``contexts``: the
    first messages of those that are not members of the tree."""
    named, begun = Counter(names), Counter(contexts)
    refused = {call.arguments["name"] for call in calls if call.tool == "spawn" and call.refused}
    wanted = {hand: 0 if hand.name in refused else 1 for hand in errands.hands}
    problems = [
        f"start: {hand.name} of {hand.lead} was made {named[hand.name]} times, and began {begun[hand.context]} times"
        for hand, count in wanted.items()
        if (named[hand.name], begun[hand.context]) != (count, count)
    ]
    known = {hand.context for hand in errands.hands}
    problems += [f"start: somebody began with {context[:200]!r}" for context in begun if context not in known]
    return few(problems)


def every_end_of_a_turn_is_told_once(
    leads: Collection[str], events: Iterable[Told], told: Iterable[Arrival]
) -> Problems:
    """``leads``: instances that lead others. ``told``: what arrived from the team."""
    ends = Counter((each.parent_id, each.instance_id) for each in events if each.kind == "became_idle")
    headlines, unnamed = told_in(told)
    problems = [
        f"told: {lead} was told {times} times of {ends[lead, one]} ends of turns of {one}"
        for (lead, one), times in headlines.items()
        if times > ends[lead, one]
    ]
    for lead in leads:
        missing = {one: count - headlines[lead, one] for (of, one), count in ends.items() if of == lead}
        if sum(missing.values()) > unnamed[lead]:
            untold = ", ".join(f"{count} of {one}" for one, count in missing.items() if count > 0)
            problems.append(f"told: {lead} was not told of ends of turns: {untold}")
    return few(problems)


def told_in(arrivals: Iterable[Arrival]) -> tuple[Mapping[tuple[str, str], int], Mapping[str, int]]:
    """How many ends of turns of whom each lead was told; and how many events by no more than their number."""
    headlines: Counter[tuple[str, str]] = Counter()
    unnamed: Counter[str] = Counter()
    for each in arrivals:
        headlines.update((each.instance_id, one) for one in _HEADLINE.findall(each.text))
        unnamed[each.instance_id] += sum(int(count) for count in _NAMED_ONLY.findall(each.text))
    return headlines, unnamed
