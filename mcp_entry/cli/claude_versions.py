"""Which versions of Claude Code this Phalanx was tried with; pure.

``requirements/claude`` pins the same two, for the tests; a test holds both together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

OLDEST = "2.1.197"
NEWEST = "2.1.332"
"""All scenarios of ``scripts/claude-check`` were played with both."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """``checked``: nothing speaks against this version. ``advice`` is empty when nothing is to be done."""

    checked: bool
    words: str
    advice: str = ""


def knowledge_of(said: str) -> Knowledge:
    """What is known of the version that ``claude --version`` said, for example ``2.1.332 (Claude Code)``."""
    found = _VERSION.search(said)
    if found is None:
        return Knowledge(checked=False, words="it does not say which version it is", advice=_TRY)
    version, oldest, newest = (_numbers(each) for each in (found[0], OLDEST, NEWEST))
    if version in {oldest, newest}:
        return Knowledge(checked=True, words=f"{found[0]} is one of the versions that were checked")
    if version < oldest:
        words = f"{found[0]} is older than {OLDEST}, the oldest that was checked: it may not be understood"
        return Knowledge(checked=False, words=words, advice=_UPGRADE)
    if version > newest:
        words = f"{found[0]} is newer than {NEWEST}, the newest that was checked: it may not be understood"
        return Knowledge(checked=False, words=words, advice=_TRY)
    return Knowledge(checked=True, words=f"{found[0]} lies between {OLDEST} and {NEWEST}, which were checked")


_TRY = "Try it: `scripts/claude-check` in a checkout of Phalanx plays all scenarios with it, in a few minutes."
_UPGRADE = "Upgrade it: `claude update`, or `npm install -g @anthropic-ai/claude-code`."


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
