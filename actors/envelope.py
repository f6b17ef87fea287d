"""How messages look in the conversation, and how they are recognised there; pure.

Every message stands under a header line with its id and sender, so no text can begin a command of the agent's program
(``/``, ``!``, ``#``), and the header is what proves in a hook event or transcript that the message has arrived.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from actors.messages import Message

_HEADER = re.compile(r"^(?:\[Image #\d+\] ?)*\[phalanx (msg_[0-9a-z]+) from [^\]\n]+\]$", re.MULTILINE)
"""Claude Code puts its marks of attached images in front of all else."""
_IMAGE_NAME = r"\.(?=(?:\\?p\\?n\\?g|\\?j\\?p(?:\\?e)?\\?g|\\?g\\?i\\?f|\\?w\\?e\\?b\\?p)\\?[\s\ufeff]*"
_IMAGE_TAKEN = re.compile(rf"(?i:{_IMAGE_NAME}(?: /| [a-z]:\\|\Z)))")
"""The dot of a name with which Claude Code lets a path end: at the end of a paste or before another path begins."""
_IMAGE_AT_END = re.compile(rf"(?i:{_IMAGE_NAME}(?: /| [a-z]:\\|\n|\Z)))")
"""The same, for a text that is cut before lines as well."""
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


def parts_of(paste: str) -> tuple[str, ...]:
    """The paste in parts, each to arrive as a paste of its own, none of which holds the path of an image.

    Claude Code attaches an image whose path is pasted and takes the path out of the text. Each such path is cut in its
    extension; and before its line too, because newer versions put a long paste between marks of their own.
    """
    if not _IMAGE_TAKEN.search(paste):
        return (paste,)
    cuts = set[int]()
    for found in _IMAGE_AT_END.finditer(paste):
        cuts |= {paste.rfind("\n", 0, found.start()) + 1, found.end()}
    places = [0, *sorted(cuts - {0}), len(paste)]
    return tuple(paste[begin:end] for begin, end in pairwise(places))


def ids_in(prompt: str) -> frozenset[str]:
    """Ids of the messages whose header lines stand in a prompt."""
    return frozenset(_HEADER.findall(prompt))
