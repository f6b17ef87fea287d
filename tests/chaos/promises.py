"""What each promise of docs/reliability.md was put to in a run, and what was found against it; pure.

A check's problem begins with a word that names it (``lost: …``); each word belongs to one promise.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

_SEED = re.compile(r"^seed \d+: ")
_MORE = re.compile(r"^… and \d+ more that begin with ")


@dataclass(slots=True)
class Put:
    """What the rounds of a run put the promises to."""

    rounds: int = 0
    accepted: int = 0
    agents: int = 0
    looks: int = 0
    """Answers of ``list`` that were looked at."""
    kills: int = 0
    while_typing: int = 0
    visits: int = 0
    """Of people at terminals."""
    decisions: int = 0
    """Answers to permission requests."""
    words: int = 0
    """That members of trees sent to each other by their tools."""
    hands: int = 0
    """Instances that they started and ended."""
    while_calling: int = 0
    """Kills while a member waited for an answer of its tools."""
    redis_away: int = 0
    """Kills and stalls of Redis, alone or with everything else."""
    recovered_s: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)
    """Of the machine at the end of each round, its other users included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    title: str
    words: Collection[str]
    """How its checks' problems begin."""
    put_to: Callable[[Put], str]


def _spread(times_s: Sequence[float]) -> str:
    return f"{statistics.median(times_s):.1f} s (p50), {max(times_s):.1f} s (most)" if times_s else "never"


PROMISES = (
    Promise(
        title="1. A message is accepted once and arrives once",
        words=[
            *("lost", "doubled", "changed", "astray", "foreign", "context", "receipt"),
            *("refused", "unanswered", "given up"),
        ],
        put_to=lambda put: f"{put.accepted} accepted messages, {put.kills} kills, {put.while_typing} while typing",
    ),
    Promise(
        title="2. Order is kept",
        words=["order"],
        put_to=lambda put: f"{put.accepted} accepted messages of two clients in each round",
    ),
    Promise(
        title="3. No agent is lost, doubled or restarted",
        words=["agent", "list"],
        put_to=lambda put: f"{put.agents} agents, {put.kills} kills, {put.looks} answers of `list`",
    ),
    Promise(
        title="4. Everything agrees again by itself",
        words=["time", "agreement", "processes", "spares", "orphan", "idle"],
        put_to=lambda put: f"{put.rounds} rounds; well {_spread(put.recovered_s)} after the last kill",
    ),
    Promise(
        title="5. Redis may go",
        words=["copies"],
        put_to=lambda put: f"Redis away {put.redis_away} times; file and mirror compared {put.rounds} times",
    ),
    Promise(
        title="6. Nothing is approved or sent in a person's place",
        words=["approved", "submitted"],
        put_to=lambda put: f"{put.visits} visits at terminals, {put.decisions} permission requests answered",
    ),
    Promise(title="7. Down is down", words=["left behind", "down"], put_to=lambda put: f"{put.rounds} times down"),
    Promise(
        title="8. An event is told once",
        words=["events", "told"],
        put_to=lambda put: f"events of {put.accepted} accepted messages and {put.words} of members, {put.kills} kills",
    ),
    Promise(
        title="9. What an instance calls is done once",
        words=["call", "word", "start"],
        put_to=lambda put: (
            f"{put.words} messages between members and {put.hands} starts, {put.while_calling} kills during such calls"
        ),
    ),
)


def word_of(problem: str) -> str:
    """How it begins, without the seed of its round."""
    text = _MORE.sub("", _SEED.sub("", problem))
    return text.partition(":")[0]


def table(put: Put, problems: Iterable[str]) -> list[str]:
    """Markdown, one line a promise; what belongs to none stands in a line of its own."""
    words = [word_of(problem) for problem in problems]
    lines = ["| promise | put to | found against it |", "|---|---|---|"]
    lines += [f"| {promise.title} | {promise.put_to(put)} | {_found(words, promise.words)} |" for promise in PROMISES]
    others = [word for word in words if not any(word in promise.words for promise in PROMISES)]
    return [*lines, *([f"| anything else | | {_found(others, others)} |"] if others else [])]


def _found(words: Sequence[str], of: Collection[str]) -> str:
    count = sum(word in of for word in words)
    return f"**{count}**" if count else "nothing"
