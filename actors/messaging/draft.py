"""Whether the draft in an agent's input box is what we have pasted, whole and nothing else; pure.

Enter is pressed on such a draft only. The agent's program shows each part of a paste as it is, wrapped at the width of
the window, or as a mark that says how many lines it has; which of the two depends on the size of the window. A terminal
does not show every character, so only those count that every terminal shows. Of a draft that is taller than the box
its end is compared, with what is left out above.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

_MARK = re.compile(r"\[Pastedtext#\d+(?:\+(\d+)lines?)?\]")
"""So a long part is shown, blanks left out."""
_OWN_CHARACTERS = frozenset("LNP")
_SHOWN_IN_PIECES = 5_000
"""Characters of a part that may have scrolled out of sight in part: longer ones are shown as marks."""
_QUOTED = 60
"""Characters of a draft in words for people."""


def is_whole(draft: str, parts: Sequence[str], *, scrolled: bool = False) -> bool:
    """Whether ``draft`` shows exactly the ``parts`` that were pasted one after the other.

    ``scrolled``: the rows above have scrolled out of the box, so it shows an end of them.
    """
    expected = [_Part(part) for part in parts]
    odd = any(part.odd for part in expected)
    shown = _firm(draft, with_symbols=not odd)
    if not shown:
        return False
    if _follows(shown, {0}, expected, odd):
        return True
    return scrolled and any(_begins_within(shown, expected, number, odd) for number in range(len(expected)))


def quoted(draft: str) -> str:
    """The draft in a few words, between quotes."""
    words = " ".join(draft.split())
    if len(words) > _QUOTED:
        words = f"{words[: _QUOTED // 2]} … {words[-_QUOTED // 2 :]}"
    return f"'{words}'" if words else "a blank draft"


class _Part:
    def __init__(self, text: str) -> None:
        lines = text.count("\n")
        separators = text.count("\u2028") + text.count("\u2029")
        self.lines = {lines, lines + separators}
        self._text = text
        self.odd = _has_odd(text)

    def firm(self, odd: bool) -> str:
        return _firm(self._text, with_symbols=not odd)


def _follows(shown: str, places: Iterable[int], parts: Sequence[_Part], odd: bool) -> bool:
    """Whether from one of the places on ``shown`` is made of just these parts."""
    reached = set(places)
    for part in parts:
        text = part.firm(odd)
        onwards = {place + len(text) for place in reached if shown.startswith(text, place)}
        for place in reached:
            mark = _MARK.match(shown, place)
            if mark and int(mark[1] or 0) in part.lines:
                onwards.add(mark.end())
        reached = onwards
    return len(shown) in reached


def _begins_within(shown: str, parts: Sequence[_Part], number: int, odd: bool) -> bool:
    """Whether ``shown`` begins in the midst of the part of this number, or with its mark."""
    text = parts[number].firm(odd)
    rest = parts[number + 1 :]
    if len(text) > _SHOWN_IN_PIECES:
        return _follows(shown, {0}, parts[number:], odd)
    ends = {len(text) - begin for begin in range(len(text)) if shown.startswith(text[begin:])}
    return _follows(shown, ends, rest, odd) or _follows(shown, {0}, parts[number:], odd)


@lru_cache(maxsize=16)
def _firm(text: str, *, with_symbols: bool) -> str:
    """What every terminal shows of it: no blanks, nothing invisible, no marks over letters."""
    if text.isascii():
        return "".join(text.split())

    def is_shown(character: str) -> bool:
        kind = unicodedata.category(character)[0]
        symbol = kind == "S" and (with_symbols or character.isascii())  # the mark of a long part has a plus sign
        return (kind in _OWN_CHARACTERS or symbol) and character != "�"

    return "".join(filter(is_shown, unicodedata.normalize("NFD", text)))


def _has_odd(text: str) -> bool:
    """Whether it has symbols that a terminal may draw in a way of its own, as it does with many emoji."""
    return not text.isascii() and any(unicodedata.category(c)[0] == "S" and ord(c) > 0x2BFF for c in text)
