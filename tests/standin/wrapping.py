"""What newer versions of Claude Code make of a prompt: marks around a long paste, and characters that are not kept."""

from __future__ import annotations

import re

_WRAPPED = re.compile(r'(?:\n\n)?<pasted_content id="(\w+)">\n(.*?)\n?</pasted_content id="\1">\n{0,2}', re.DOTALL)


def unwrapped(prompt: str, end: str = "") -> str:
    """The prompt without the marks, and without blanks at its end, which some versions trim.

    ``end``: what stood at the end of each paste: a newline there is taken away, and nothing tells of it.
    """
    return _WRAPPED.sub(lambda wrapped: wrapped[2] + end, prompt).rstrip()


_NOT_KEPT: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "\u200d\u200f\u202e\ufeff")),
    **dict.fromkeys(map(ord, "\u2028\u2029"), "\n"),
}
"""What newer versions take out of a prompt, and what they turn into newlines."""


def as_each_version_keeps_it(text: str) -> str:
    """The text as it is the same in all versions."""
    return text.translate(_NOT_KEPT).rstrip()
