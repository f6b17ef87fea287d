"""People at terminals in a round: who looks at whom, when, and what they do there; planned from the seed, pure.

A person types drafts that nobody may send, scrolls, copies, resizes and walks away. At a real Claude Code a person also
types commands. What a person types holds no digit and no Enter, so that it answers no dialog.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

DRAFT_MARK = "draft of a person"
"""Stands in all that a person types and does not send, and must never stand in a conversation."""
_SIZES = ((80, 24), (100, 30), (120, 40), (200, 50), (250, 80))
_SMALLEST, _LARGEST = (40, 12), (260, 90)


class Act(StrEnum):
    LOOK = "look"
    DRAFT = "type a draft and clear it"
    WALK_AWAY = "type a draft and leave it"
    SCROLL = "scroll"
    COPY = "copy mode"
    RESIZE = "resize"
    ESCAPE = "Escape"
    CLEAR = "/clear"
    RENAME = "/rename"
    RESUME = "/resume"


AT_A_DEMO = (Act.LOOK, Act.DRAFT, Act.WALK_AWAY, Act.SCROLL, Act.COPY, Act.RESIZE, Act.ESCAPE)
AT_A_CLAUDE = (*AT_A_DEMO, Act.CLEAR, Act.RENAME, Act.RESUME)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """``after_s`` is counted from the end of the visit before, ``each_s`` is how long the person stays at each act."""

    after_s: float
    each_s: float
    instance_id: str
    size: tuple[int, int]
    plain_tmux: bool
    acts: tuple[Act, ...]
    draft: str
    sizes: tuple[tuple[int, int], ...]
    """What a resize goes through."""
    closes_the_window: bool
    """Instead of detaching."""


def plan_visits(seed: int, person: str, instance_ids: Sequence[str], acts: Sequence[Act], count: int) -> list[Visit]:
    chance = Random(f"visits {person} {seed}")  # noqa: S311 - a schedule, no secret
    return [_visit(chance, person, instance_ids, acts) for _ in range(count)]


def _visit(chance: Random, person: str, instance_ids: Sequence[str], acts: Sequence[Act]) -> Visit:
    letters = "".join(chance.choices("abcdefgh", k=8))
    return Visit(
        after_s=chance.uniform(0, 1.5),
        each_s=chance.uniform(0.1, 1.0),
        instance_id=chance.choice(instance_ids),
        size=chance.choice(_SIZES),
        plain_tmux=chance.random() < 0.8,
        acts=tuple(chance.sample(acts, k=chance.randint(1, 3))),
        draft=f"{DRAFT_MARK} {person} {letters}",
        sizes=tuple(_size(chance) for _ in range(chance.randint(2, 8))),
        closes_the_window=chance.random() < 0.3,
    )


def _size(chance: Random) -> tuple[int, int]:
    (narrow, low), (wide, high) = _SMALLEST, _LARGEST
    return chance.randint(narrow, wide), chance.randint(low, high)
