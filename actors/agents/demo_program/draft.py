"""The text in the demo's input box; pure."""

from __future__ import annotations

import re
import unicodedata

_COLLAPSE_LINE_BREAKS = 3
_COLLAPSE_CHARACTERS = 800
_MENTION = re.compile(r"(?:^|\s)(@[\w./-]{0,30})\Z")
_COMPLETION = "@demo-file.txt "


class _Part:
    """``collapsed`` is the pasted text that ``shown`` stands for; empty for text that is shown itself."""

    def __init__(self, shown: str, collapsed: str = "") -> None:
        self.shown = shown
        self.collapsed = collapsed


class Draft:
    """What was typed and pasted since the last submit. A long paste shows as a placeholder, as in Claude Code."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._pastes = 0

    @property
    def shown(self) -> str:
        """What the input box shows."""
        return "".join(part.shown for part in self._parts)

    @property
    def text(self) -> str:
        """What a submit would send: blanks at the end are not sent, unless they stand in a collapsed paste."""
        full = "".join(part.collapsed or part.shown for part in self._parts)
        return full if self._parts and self._parts[-1].collapsed else full.rstrip()

    @property
    def mention(self) -> bool:
        """The draft ends so that Claude Code opens its menu of files; Enter completes then instead of submitting."""
        return _MENTION.search(self.shown) is not None

    def type(self, text: str) -> None:
        if not self._parts or self._parts[-1].collapsed:
            self._parts.append(_Part(""))
        self._parts[-1].shown += text

    def paste(self, text: str) -> None:
        clean = text.replace("\t", "    ")
        line_breaks = clean.count("\n")
        if line_breaks < _COLLAPSE_LINE_BREAKS and len(clean) <= _COLLAPSE_CHARACTERS:
            self.type(unicodedata.normalize("NFC", clean))
            return
        self._pastes += 1
        lines = f" +{line_breaks} lines" if line_breaks else ""
        self._parts.append(_Part(f"[Pasted text #{self._pastes}{lines}]", clean))

    def backspace(self) -> None:
        if not self._parts:
            return
        last = self._parts[-1]
        last.shown = "" if last.collapsed else last.shown[:-1]
        if not last.shown:
            self._parts.pop()

    def complete_mention(self) -> None:
        if found := _MENTION.search(self.shown):
            last = self._parts[-1]
            last.shown = last.shown.removesuffix(found[1]) + _COMPLETION

    def escape_enter(self) -> bool:
        """A backslash at the end turns Enter into a new line; False when there is none."""
        if not self.shown.endswith("\\"):
            return False
        self.backspace()
        self.type("\n")
        return True

    def replace(self, text: str) -> None:
        self.clear()
        self.type(text)

    def clear(self) -> None:
        self._parts = []
