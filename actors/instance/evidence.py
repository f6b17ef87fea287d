"""Recognises messages where they arrived: in the agent's records, and in its input box.

The observer feeds ``DeliveryEvidence``; the deliverer asks it. ``is_whole``, ``begins_with`` and ``changes_in`` compare
what an agent shows or wrote with what was pasted; they are pure. Nothing here touches a file or a pane.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from functools import lru_cache
from typing import TypeVar

from actors.instance.inbox import compose, ids_in
from actors.messages import Message

_WRITTEN_IDS = 20_000
"""Ids that are remembered. What is asked for is what the supervisor has not yet taken in: some hundred at most."""

_MARK = re.compile(r"\[Pastedtext#\d+(?:\+(\d+)lines?)?\]")
"""So a long part is shown, blanks left out."""
_OWN_CHARACTERS = frozenset("LNP")
_SHOWN_IN_PIECES = 5_000
"""Characters of a part that may have scrolled out of sight in part: longer ones are shown as marks."""
_TELLING = 12
"""So many characters at the end of a part tell it from what a person types."""
_QUOTED = 60
"""Characters of a draft in words for people."""

_WRAPPED = re.compile(r'(?:\n\n)?<pasted_content id="(\w+)">\n(.*?)\n?</pasted_content id="\1">\n{0,2}', re.DOTALL)
_SEPARATORS = "\u2028\u2029"
_BETWEEN_MESSAGES = "\n\n"
_NAMED = 4
"""So many of the characters that were taken out are named."""

_REMEMBERED = 1000
"""Prompts that were reported or refused, and messages whose arrival is compared."""

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class DeliveryEvidence:
    """What the agent's own records say of messages. Its transcript proves; its events only announce.

    ``written`` holds the ids of all messages that the transcript shows. A message has arrived when the transcript shows
    it and never before: a user's hook may refuse a prompt that an event has reported, a person may take it back before
    it is written, and an agent that is killed loses what is not written.
    """

    def __init__(self) -> None:
        self.written = RecentMap[str, None](_WRITTEN_IDS)
        self.last_written = ""
        """The last prompt of ours that the transcript shows."""
        self._reported = RecentMap[frozenset[str], None](_REMEMBERED)
        self._refused = RecentMap[frozenset[str], str](_REMEMBERED)
        self._expected = RecentMap[str, Message](_REMEMBERED)
        self._changes = RecentMap[str, tuple[str, ...]](_REMEMBERED)
        self._awaited: set[str] = set()

    def begin_life(self) -> None:
        """The agent was started anew: what was reported before and is not written is lost."""
        self._reported.clear()
        self._awaited.clear()

    def expect(self, messages: Iterable[Message]) -> None:
        """These are typed: what arrives of them is compared with their texts."""
        for message in messages:
            self._expected[message.id] = message

    def begin(self, batch: Sequence[Message]) -> None:
        """These are pasted now: what was told of an earlier paste of the same is over."""
        ids = ids_in(compose(batch))
        self._reported.pop(ids, None)
        self._refused.pop(ids, None)
        self.expect(batch)

    def report(self, prompt: str) -> None:
        """An event has told of this prompt, which the program is about to take or to refuse."""
        ids = ids_in(prompt)
        if ids:
            self._reported[ids] = None
            self._awaited.update(one for one in ids if one not in self.written)

    def write(self, prompt: str) -> None:
        """The transcript shows this prompt."""
        ids = ids_in(prompt)
        for one in ids:
            self.written[one] = None
        self.last_written = prompt if ids else self.last_written
        expected = [self._expected.pop(one) for one in ids if one in self._expected]
        for message_id, changes in changes_in(prompt, expected).items():
            self._changes[message_id] = changes

    def refuse(self, prompt: str, reason: str) -> None:
        """The transcript says that this prompt was refused."""
        if ids := ids_in(prompt):
            self._refused[ids] = reason
            self._awaited.difference_update(ids)

    def has(self, message_id: str) -> bool:
        return message_id in self.written

    def has_all(self, ids: Iterable[str]) -> bool:
        return all(map(self.has, ids))

    def is_reported(self, ids: frozenset[str]) -> bool:
        """Whether an event has told of a prompt with just these ids."""
        return ids in self._reported

    def refusal(self, ids: frozenset[str]) -> str:
        """Why the prompt with just these ids was refused; empty when it was not."""
        return self._refused.get(ids, "")

    def changes(self, message_id: str) -> tuple[str, ...] | None:
        """What differs from the text that was accepted; None when it was not compared."""
        return self._changes.get(message_id)

    @property
    def all_written(self) -> bool:
        """Whether the transcript shows everything that events have reported."""
        self._awaited = {one for one in self._awaited if one not in self.written}
        return not self._awaited

    def await_no_more(self) -> None:
        """What is not written by now will not be: what an interrupt took back is never written."""
        self._awaited.clear()


class RecentMap(dict[_Key, _Value]):
    """The latest ``limit`` entries, so that memory does not grow with the age of an instance.

    A key that is set again counts as new.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: _Key, value: _Value) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        while len(self) > self._limit:
            del self[next(iter(self))]


class DraftMatch(Enum):
    WHOLE = auto()
    """Exactly the parts that were pasted, one after the other."""
    WITH_MORE = auto()
    """All of them, and something else behind."""
    OTHER = auto()


def compare_draft(draft: str, parts: Sequence[str], *, scrolled: bool = False) -> DraftMatch:
    """What ``draft`` shows of the ``parts`` that were pasted.

    ``scrolled``: the rows above have scrolled out of the box, so it shows an end of them.
    """
    expected = [_PastedPart(part) for part in parts]
    odd = any(part.odd for part in expected)  # then symbols do not count
    shown = _firm(draft, with_symbols=not odd)
    if not shown:
        return DraftMatch.OTHER
    if len(shown) in _ends(shown, expected, odd, scrolled=scrolled, least=1):
        return DraftMatch.WHOLE
    return DraftMatch.WITH_MORE if _ends(shown, expected, odd, scrolled=scrolled, least=_TELLING) else DraftMatch.OTHER


def quoted(draft: str) -> str:
    """The draft in a few words, between quotes."""
    words = " ".join(draft.split())
    if len(words) > _QUOTED:
        words = f"{words[: _QUOTED // 2]} … {words[-_QUOTED // 2 :]}"
    return f"'{words}'" if words else "a blank draft"


class _PastedPart:
    def __init__(self, text: str) -> None:
        lines = text.count("\n")
        separators = text.count("\u2028") + text.count("\u2029")
        self.lines = {lines, lines + separators}
        self._text = text
        self.odd = _has_odd(text)

    def firm(self, odd: bool) -> str:
        return _firm(self._text, with_symbols=not odd)


def _ends(shown: str, parts: Sequence[_PastedPart], odd: bool, *, scrolled: bool, least: int) -> set[int]:
    """Where in ``shown`` the parts end. It begins with the first one, or, if it is ``scrolled``, in the midst of any of
    which it shows ``least`` characters."""
    ends = _after(shown, {0}, parts, odd)
    for number, part in enumerate(parts) if scrolled else ():
        text = part.firm(odd)
        begun = range(len(text) - least + 1) if len(text) <= _SHOWN_IN_PIECES else ()
        places = {len(text) - begin for begin in begun if shown.startswith(text[begin:])}
        ends |= _after(shown, places, parts[number + 1 :], odd) | _after(shown, {0}, parts[number:], odd)
    return ends


def _after(shown: str, places: Iterable[int], parts: Sequence[_PastedPart], odd: bool) -> set[int]:
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


def changes_in(prompt: str, batch: Sequence[Message]) -> dict[str, tuple[str, ...]]:
    """What differs, by id, between the messages of a batch and the prompt in which they arrived.

    Empty for a message of which every character arrived, apart from the header and the newline that we add. Messages
    of the batch that the prompt does not hold are left out.
    """
    plain = {m.id: _difference(m.text, found) for m, found in _cut(prompt, batch)}
    if not any(plain.values()):
        return plain
    if not _WRAPPED.search(prompt):
        return plain
    found = [_unwrapped_changes(prompt, batch, end) for end in ("\n", "")]
    return min(found, key=lambda changes: sum(map(len, changes.values())))


def _unwrapped_changes(prompt: str, batch: Sequence[Message], end: str) -> dict[str, tuple[str, ...]]:
    """Newer versions of Claude Code put each long paste between marks of their own, and take a newline at its end."""

    def inside(wrapped: re.Match[str]) -> str:
        return wrapped[2].replace("<\\/pasted_content", "</pasted_content") + end

    cut = _cut(_WRAPPED.sub(inside, prompt), batch)
    return {m.id: ("wrapped in <pasted_content>", *_difference(m.text, text)) for m, text in cut}


def _cut(prompt: str, batch: Sequence[Message]) -> list[tuple[Message, str]]:
    """Each message with what stands under its header, as far as the next one of the batch."""
    headers = [(prompt.find(head := f"[phalanx {m.id} from {m.sender}]\n"), len(head), m) for m in batch]
    found = sorted((place, length, m) for place, length, m in headers if place >= 0)
    cut = []
    for number, (place, length, message) in enumerate(found):
        last = number + 1 == len(found)
        text = prompt[place + length : None if last else found[number + 1][0]]
        cut.append((message, text.removesuffix("\n" if last else _BETWEEN_MESSAGES)))
    return cut


def _difference(accepted: str, arrived: str) -> tuple[str, ...]:
    """In words with counts; empty for equal texts."""
    changes: list[str] = []
    body, blanks = _without_end(accepted)
    arrived_body, arrived_blanks = _without_end(arrived)
    if blanks != arrived_blanks:
        lost = len(blanks) - len(arrived_blanks)
        changes.append(_count(lost, "blank") + " at the end trimmed" if lost > 0 else "blanks added at the end")
    if body == arrived_body:
        return tuple(changes)
    if "\t" in body and "\t" not in arrived_body:
        changes.append(_count(body.count("\t"), "tab") + " turned into spaces")
        body = body.replace("\t", "    ")
    separators = sum(map(body.count, _SEPARATORS))
    if separators and not any(one in arrived_body for one in _SEPARATORS):
        without = body.translate(dict.fromkeys(map(ord, _SEPARATORS), "\n"))
        if without.count("\n") <= arrived_body.count("\n"):
            changes.append(_count(separators, "line separator") + " turned into newlines")
            body = without
    lost_of = {one: body.count(one) - arrived_body.count(one) for one in sorted(set(body)) if _is_invisible(one)}
    gone = [one for one, lost in lost_of.items() if lost > 0]
    if gone:
        removed = sum(lost_of[one] for one in gone)
        named = ", ".join(f"U+{ord(one):04X}" for one in gone[:_NAMED]) + (" …" if len(gone) > _NAMED else "")
        changes.append(f"{_count(removed, 'invisible character')} removed ({named})")
        invisible = dict.fromkeys(map(ord, gone))  # some of one kind may be left: which, is not looked into
        body, arrived_body = body.translate(invisible), arrived_body.translate(invisible)
    if body != arrived_body and unicodedata.normalize("NFC", body) == unicodedata.normalize("NFC", arrived_body):
        changes.append("Unicode composed (NFC)")
    elif body != arrived_body:
        changes.append(f"the text differs: {len(accepted)} characters were accepted, {len(arrived)} arrived")
    return tuple(changes)


def _without_end(text: str) -> tuple[str, str]:
    body = text.rstrip()
    return body, text[len(body) :]


def _is_invisible(character: str) -> bool:
    return character not in "\n\t" and (
        unicodedata.category(character)[0] == "C" or "\ufe00" <= character <= "\ufe0f" or character in _SEPARATORS
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
