"""What the other parts of the supervisor tell of themselves when they are asked, beside what they count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A cap and those who want through it."""

    limit: int = 0
    running: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GitFigures:
    queue: Queue = field(default_factory=Queue)
    cached: int = 0
    """Answers in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stock:
    """Spares of one kind. ``wanted``: how many there shall be."""

    ready: int = 0
    wanted: int = 0
    waits_for: str = ""
    """Why there are fewer, in words that go on after "waits for"; empty when it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPool:
    """Spares that are ready on one host, by kind."""

    instances: int
    worktrees: int
    actors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFigures:
    instances: Stock = field(default_factory=Stock)
    """Agents at their prompt."""
    worktrees: Stock = field(default_factory=Stock)
    actors: Stock = field(default_factory=Stock)
    hosts: Mapping[str, HostPool] = field(default_factory=dict)
    """By name; without any on one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Asked with every look at the team's performance: they must neither fail nor block."""

    git: Callable[[], GitFigures] = GitFigures
    pools: Callable[[], PoolFigures] = PoolFigures
    no_memory: Callable[[], str] = str
    """Who waits to be started until there is memory, for people; empty while nobody does."""
