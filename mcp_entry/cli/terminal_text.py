"""Texts of agents and users, made safe for a terminal. Every view goes through here."""

from __future__ import annotations

import re

from rich.text import Text

_KEPT = frozenset("\n\t")
_FIRST_PICTURE = 0x2400
"""Unicode's pictures of the 32 ASCII control characters begin here."""
_DELETE = 0x7F
_LAST_C1 = 0x9F
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn the order of what follows, and with it what a person believes to read."""

_RULE = re.compile(r"([─━═_-])\1{3,}")


def visible(text: str) -> str:
    """The text with every character that would steer the terminal replaced by one that can be seen."""
    return "".join(_picture(character) if _steers(character) else character for character in text)


def plain(text: str, style: str = "") -> Text:
    """The text for rich: nothing in it is taken for markup, nothing steers the terminal."""
    return Text(visible(text), style=style)


def one_line(text: str, most: int) -> str:
    """The text on one line of at most ``most`` characters; drawn rules, as screens have them, become short."""
    line = _RULE.sub(r"\1\1\1", " ".join(visible(text).split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def _steers(character: str) -> bool:
    code = ord(character)
    control = (code < 0x20 and character not in _KEPT) or _DELETE <= code <= _LAST_C1
    return control or character in _OVERRIDES or 0xD800 <= code <= 0xDFFF


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_FIRST_PICTURE + code)
    return "␡" if code == _DELETE else "\N{REPLACEMENT CHARACTER}"
