"""What newer versions of Claude Code put around a long paste."""

from __future__ import annotations

import re

_WRAPPED = re.compile(r'(?:\n\n)?<pasted_content id="(\w+)">\n(.*?)\n?</pasted_content id="\1">\n?', re.DOTALL)


def unwrapped(prompt: str) -> str:
    """The prompt without the marks, and without blanks at its end, which some versions trim."""
    return _WRAPPED.sub(lambda wrapped: wrapped[2], prompt).rstrip()
