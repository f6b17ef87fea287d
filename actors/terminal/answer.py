"""What came of one chain of commands, whichever way tmux was called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``status`` is 0 when every command was carried out; otherwise ``errors`` says what the first one that was not
    met with."""

    status: int
    output: bytes
    errors: bytes
