"""Removals that are only rehearsed: each step looks and decides as in a real one, and changes nothing.

One ``Rehearsal`` goes through the removals of a clean-up in their order and remembers what the earlier ones would have
changed for the later ones. It travels between the supervisor and the host, so it holds plain values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Rehearsal:
    """Each pair begins with the repository's common git directory."""

    gone: set[tuple[str, str]] = field(default_factory=set)
    """Branches that would have been deleted."""
    held: set[tuple[str, str]] = field(default_factory=set)
    """Commits that would have been saved."""

    def branches_gone(self, git_directory: str) -> frozenset[str]:
        return frozenset(branch for place, branch in self.gone if place == git_directory)

    def holds(self, git_directory: str, is_below: Callable[[str], bool]) -> bool:
        """``is_below``: whether what is asked for can be reached from this commit."""
        return any(is_below(commit) for place, commit in self.held if place == git_directory)
