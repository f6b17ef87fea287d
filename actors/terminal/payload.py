"""What tmux is given to type as one paste or several; pure.

tmux types a newline of a buffer as the separator that it is told, and everything else as it is. So parts that are to
arrive as pastes of their own go in one buffer, in one step: between them stands the newline, whose separator ends one
bracketed paste and begins the next. Newlines within the parts are then written as what tmux makes of them otherwise.
"""

from __future__ import annotations

import re

_UNTYPABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_NEXT_PASTE = r'-s "\e[201~\e[200~"'


def payload(parts: tuple[str, ...]) -> bytes:
    """The content of the buffer. Raises ``ValueError`` for empty text and control characters but newline and tab."""
    if not all(parts) or not parts:
        raise ValueError("there is nothing to paste: the text is empty")
    for part in parts:
        if found := _UNTYPABLE.search(part):
            raise ValueError(
                f"the text holds {found[0]!r} at character {found.start()}: remove control characters before it is "
                "pasted"
            )
    if len(parts) == 1:
        return parts[0].encode()
    return "\n".join(part.replace("\n", "\r") for part in parts).encode()


def paste_options(parts: tuple[str, ...]) -> str:
    """With which tmux types them."""
    return f"-p -d {_NEXT_PASTE}" if len(parts) > 1 else "-p -d"
