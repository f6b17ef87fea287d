"""How messages look in the conversation, and how they are recognised there; pure.

Every message stands under a header line with its id and sender, so no text can begin a command of the agent's program
(``/``, ``!``, ``#``), and the header is what proves in a hook event or transcript that the message has arrived.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from actors.messages import Message

_HEADER = re.compile(r"^\[phalanx (msg_[0-9a-z]+) from [^\]\n]+\]$", re.MULTILINE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but newline and tab, and halves of surrogate pairs, which are no text at all."""


@dataclass(frozen=True, slots=True)
class CleanText:
    text: str
    removed: int
    """How many characters were taken out."""


def clean(text: str) -> CleanText:
    """The text without what must not reach a pane. A carriage return before a newline is one line end."""
    printable = _UNPRINTABLE.sub("", text)
    return CleanText(printable, len(text) - len(printable))


def compose(messages: Sequence[Message]) -> str:
    """The paste of one batch.

    The newline at its end keeps a trailing backslash or ``@name`` from catching the Enter that follows; the agent trims
    it from the prompt.
    """
    return "\n\n".join(f"[phalanx {m.id} from {m.sender}]\n{m.text}" for m in messages) + "\n"


def ids_in(prompt: str) -> frozenset[str]:
    """Ids of the messages whose header lines stand in a prompt."""
    return frozenset(_HEADER.findall(prompt))
