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
_TELLING = 12
"""So many characters at the end of a part tell it from what a person types."""
_QUOTED = 60
"""Characters of a draft in words for people."""


def is_whole(draft: str, parts: Sequence[str], *, scrolled: bool = False) -> bool:
    """Whether ``draft`` shows exactly the ``parts`` that were pasted one after the other.

    ``scrolled``: the rows above have scrolled out of the box, so it shows an end of them.
    """
    shown, expected, odd = _compared(draft, parts)
    if not shown:
        return False
    return len(shown) in _ends(shown, expected, odd, scrolled=scrolled, least=1)


def begins_with(draft: str, parts: Sequence[str], *, scrolled: bool = False) -> bool:
    """Whether ``draft`` shows the ``parts`` that were pasted one after the other, with or without more behind them."""
    shown, expected, odd = _compared(draft, parts)
    return bool(shown) and bool(_ends(shown, expected, odd, scrolled=scrolled, least=_TELLING))


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


def _compared(draft: str, parts: Sequence[str]) -> tuple[str, list[_Part], bool]:
    """What is shown and what it is compared with; whether symbols do not count because the parts have odd ones."""
    expected = [_Part(part) for part in parts]
    odd = any(part.odd for part in expected)
    return _firm(draft, with_symbols=not odd), expected, odd


def _ends(shown: str, parts: Sequence[_Part], odd: bool, *, scrolled: bool, least: int) -> set[int]:
    """Where in ``shown`` the parts end. It begins with the first one, or, if it is ``scrolled``, in the midst of any of
    which it shows ``least`` characters."""
    ends = _after(shown, {0}, parts, odd)
    for number, part in enumerate(parts) if scrolled else ():
        text = part.firm(odd)
        begun = range(len(text) - least + 1) if len(text) <= _SHOWN_IN_PIECES else ()
        places = {len(text) - begin for begin in begun if shown.startswith(text[begin:])}
        ends |= _after(shown, places, parts[number + 1 :], odd) | _after(shown, {0}, parts[number:], odd)
    return ends


def _after(shown: str, places: Iterable[int], parts: Sequence[_Part], odd: bool) -> set[int]:
    """Where in ``shown`` the parts end that follow one another from one of the places on."""
    reached = set(places)
    for part in parts:
        text = part.firm(odd)
        onwards = {place + len(text) for place in reached if shown.startswith(text, place)}
        for place in reached:
            mark = _MARK.match(shown, place)
            if mark and int(mark[1] or 0) in part.lines:
                onwards.add(mark.end())
        reached = onwards
    return reached


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
