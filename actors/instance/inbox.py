"""The inbox of one instance: it forms batches of messages, and knows how a batch looks in the conversation.

The deliverer is its only user. Every message stands under a header line with its id and sender. So no text can begin a
command of the agent's program (``/``, ``!``, ``#``), and the header proves in an event or transcript that the
message has arrived. All of it is pure; the clock is an argument.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

from actors.messages import Message

_OPENING = r"\[phalanx (msg_[0-9a-z]+) from "
_HEADER = re.compile(rf"{_OPENING}[^\]\n]+\]$", re.MULTILINE)
"""It ends its line, but may not begin it: there stands what a person had typed just before we pasted, or Claude Code's
marks of attached images."""
_SIGNED_HEADER = re.compile(rf"{_OPENING}([^\]\n]+)\]$", re.MULTILINE)
_HEADER_LIKE = re.compile(r"\[(?=phalanx\s)", re.IGNORECASE)
_IN_RECORD = re.compile(_OPENING.encode())
_IMAGE_NAME = r"\.(?=(?:\\?p\\?n\\?g|\\?j\\?p(?:\\?e)?\\?g|\\?g\\?i\\?f|\\?w\\?e\\?b\\?p)\\?[\s\ufeff]*"
_IMAGE_TAKEN = re.compile(rf"(?i:{_IMAGE_NAME}(?: /| [a-z]:\\|\Z)))")
"""The dot of a name with which Claude Code lets a path end: at the end of a paste or before another path begins."""
_IMAGE_AT_END = re.compile(rf"(?i:{_IMAGE_NAME}(?: /| [a-z]:\\|\n|\Z)))")
"""The same, for a text that is cut at the ends of lines as well."""
_SHOWN = 700
"""A part that is not much longer is shown as it is, on a few lines."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters but newline and tab, and halves of surrogate pairs, which are no text at all."""


class Inbox:
    """Queues messages and forms the batch that is pasted next.

    The deliverer offers every accepted message, those of one call together, and takes a batch when typing is safe.
    Messages leave in the order in which they came. The batch delay applies only where more messages are likely: when
    the last one came within the delay after one before. Then a batch is due when it is full, when its oldest message
    has waited the delay, or when a queued message is immediate; otherwise at once. A batch is formed only when it is
    taken, so everything that gathers while the agent works goes in one paste.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self._queue: deque[tuple[float, Message]] = deque()
        self._last_came_at = -math.inf
        self._more_is_likely = False

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Message]:
        return (message for _, message in self._queue)

    def offer(self, messages: Iterable[Message], now: float) -> None:
        """What one call has brought."""
        self._queue.extend((now, message) for message in messages)
        self._more_is_likely = now - self._last_came_at < self.limits.delay_s
        self._last_came_at = now

    def put_back(self, messages: Iterable[Message]) -> None:
        """Puts what was taken before to the front again, in its order; it is due at once."""
        self._queue.extendleft((-math.inf, message) for message in reversed(tuple(messages)))

    def due_at(self) -> float | None:
        """When the next batch is due; None while nothing is queued."""
        if not self._queue:
            return None
        oldest = self._queue[0][0]
        full = len(self._queue) >= self.limits.size
        waits = self._more_is_likely and not full and not any(message.immediate for message in self)
        return oldest + self.limits.delay_s if waits else oldest

    def take(self, now: float, alone: Set[str] = frozenset()) -> tuple[Message, ...]:
        """Removes and returns the batch that is due, empty if none is. Ids in ``alone`` go in no batch with others."""
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return ()
        batch = [self._queue.popleft()[1]]
        size_bytes = len(batch[0].text.encode())
        while self._queue and len(batch) < self.limits.size and alone.isdisjoint({batch[0].id, self._queue[0][1].id}):
            size_bytes += len(self._queue[0][1].text.encode())
            if size_bytes > self.limits.bytes:
                break
            batch.append(self._queue.popleft()[1])
        return tuple(batch)

    def remove(self, message_ids: Collection[str]) -> tuple[Message, ...]:
        """Removes and returns those of these that are queued."""
        removed = tuple(message for message in self if message.id in message_ids)
        self._queue = deque(item for item in self._queue if item[1].id not in message_ids)
        return removed

    def drain(self) -> tuple[Message, ...]:
        """Removes and returns all that is queued."""
        drained = tuple(self)
        self._queue.clear()
        return drained


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    size: int
    """Most messages in one paste."""
    delay_s: float
    """Longest wait of a message for companions, and how soon after another a message tells that more may come."""
    bytes: int = 1_000_000
    """Most bytes of text in one paste; a single longer message goes alone."""


@dataclass(frozen=True, slots=True)
class SanitizedText:
    text: str
    removed: int
    """How many characters were taken out."""


def clean(text: str) -> SanitizedText:
    """The text without what must not reach a pane. A carriage return before a newline is one line end."""
    printable = _UNPRINTABLE.sub("", text)
    return SanitizedText(printable, len(text) - len(printable))


def without_headers(text: str) -> str:
    """The text of another instance with no line that looks like a header of ours: a header says who speaks."""
    return _HEADER_LIKE.sub("[ ", text)


def compose(messages: Sequence[Message]) -> str:
    """The paste of one batch.

    The newline at its end keeps a trailing backslash or ``@name`` from catching the Enter that follows; the agent trims
    it from the prompt.
    """
    return "\n\n".join(f"[phalanx {m.id} from {m.sender}]\n{m.text}" for m in messages) + "\n"


def parts_of(paste: str) -> tuple[str, ...]:
    """The paste in parts, each to arrive as a paste of its own, none of which holds the path of an image.

    Claude Code attaches an image whose path is pasted and takes the path out of the text: each such path is cut in its
    extension. Newer versions put marks of their own around a long paste, so its line, or in a very long line the path
    alone, is cut out too: then no mark comes to stand within the path.
    """
    if not _IMAGE_TAKEN.search(paste):
        return (paste,)
    cuts = set[int]()
    for found in _IMAGE_AT_END.finditer(paste):
        cuts |= {_begin_of_line(paste, found.start()), found.end(), _end_of_line(paste, found.end())}
    parts = []
    for begin, end in pairwise(sorted(cuts | {0, len(paste)})):
        rest = begin
        while dot := _IMAGE_TAKEN.search(paste, rest, end):
            parts.append(paste[rest : dot.end()])
            rest = dot.end()
        parts.append(paste[rest:end])
    return tuple(parts)


def _begin_of_line(text: str, place: int) -> int:
    """The beginning of what is shown together with the character at ``place``."""
    begin = text.rfind("\n", 0, place) + 1
    return begin if place - begin <= _SHOWN else text.rfind(" ", begin, place) + 1 or begin


def _end_of_line(text: str, place: int) -> int:
    end = text.find("\n", place) + 1 or len(text)
    return end if end - place <= _SHOWN else text.find(" ", place, end) + 1 or end


@dataclass(frozen=True, slots=True)
class SubmittedMessage:
    """One message as it stands in a prompt."""

    id: str
    sender: str
    text: str


def messages_in(prompt: str) -> tuple[SubmittedMessage, ...]:
    """The messages whose header lines stand in a prompt, in its order; empty for what a person typed."""
    found = list(_SIGNED_HEADER.finditer(prompt))
    begins = [header.start() for header in found]
    return tuple(
        SubmittedMessage(header[1], header[2], prompt[header.end() : end].strip("\n"))
        for header, end in zip(found, [*begins[1:], len(prompt)], strict=False)
    )


def ids_in(prompt: str) -> frozenset[str]:
    """Ids of the messages whose header lines stand in a prompt."""
    return frozenset(_HEADER.findall(prompt))


def ids_in_record(line: bytes) -> frozenset[str]:
    """Ids of the messages whose headers begin anywhere in a line of any agent's transcript.

    Only the recipient learns an id, so an agent that wrote it down was given the message.
    """
    return frozenset(found.decode() for found in _IN_RECORD.findall(line))
