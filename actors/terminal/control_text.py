"""What is said to a tmux client in control mode, and how its answers are read; pure.

Such a client takes commands as lines and answers each with a block, ``%begin TIME NUMBER 1``, the text as it is,
``%end`` or ``%error`` with the same words; between the blocks tmux reports what happens elsewhere. The text may be an
agent's screen and hold anything, lines that look like these too. So each question is followed by a command that prints
a word nobody can know before, and a block ends where its end stands last before that word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_UNQUOTABLE = re.compile(r"['\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    text: str
    error: str
    """What tmux said against the command at which the chain ended; empty when it was carried out to its end."""


def question(words: Sequence[str], mark: str) -> bytes:
    """The lines for one command or chain (``;`` as a word of its own). Raises ``ValueError`` for what cannot be
    said."""
    chain = " ".join(word if word == ";" else _quoted(word) for word in words)
    return f"{chain}\ndisplay-message -p {_quoted(mark)}\n".encode()


def _quoted(word: str) -> str:
    """Between these quotes tmux takes everything as it stands."""
    if found := _UNQUOTABLE.search(word):
        raise ValueError(f"{found[0]!r} cannot stand in a tmux command: {word!r}")
    return f"'{word}'"


class Reader:
    """Collects what a client prints."""

    def __init__(self) -> None:
        self._printed = bytearray()

    def feed(self, data: bytes) -> None:
        self._printed += data

    def attached(self) -> bool | None:
        """Whether the client has attached to its session; None while it has not said."""
        for line in self._printed.split(b"\n")[:-1]:
            if line.startswith((b"%end ", b"%error ", b"%exit")):
                return line.startswith(b"%end ")
        return None

    def take(self, mark: str) -> Answer | None:
        """The answer to the question with this mark, once it is complete; all that was printed before is dropped."""
        marked = b"\n" + mark.encode() + b"\n%end "
        at = self._printed.find(marked)
        end = self._printed.find(b"\n", at + len(marked))
        if at < 0 or end < 0:
            return None
        lines = bytes(self._printed[:at]).split(b"\n")[:-1]
        del self._printed[: end + 1]
        blocks = list(_blocks(lines))
        return Answer(
            text=_text(lines for lines, failed in blocks if not failed),
            error=_text(lines for lines, failed in blocks if failed).strip(),
        )


def _blocks(lines: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], bool]]:
    """The lines of each block that answers a command of ours, and whether that command failed."""
    at = 0
    while at < len(lines):
        kind, _, words = lines[at].partition(b" ")
        at += 1
        if kind == b"%begin" and words.endswith(b" 1"):
            ends = {b"%end " + words, b"%error " + words}
            last = max((number for number in range(at, len(lines)) if lines[number] in ends), default=len(lines))
            yield lines[at:last], lines[last : last + 1] == [b"%error " + words]
            at = last + 1


def _text(blocks: Iterator[Sequence[bytes]]) -> str:
    return "".join(line.decode(errors="replace") + "\n" for lines in blocks for line in lines)
