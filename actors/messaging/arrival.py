"""What a message looks like where it arrived, and what the agent's program has changed in it; pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from actors.messages import Message

_WRAPPED = re.compile(r'(?:\n\n)?<pasted_content id="(\w+)">\n(.*?)\n?</pasted_content id="\1">\n{0,2}', re.DOTALL)
_SEPARATORS = "\u2028\u2029"
_BETWEEN_MESSAGES = "\n\n"
_NAMED = 4
"""So many of the characters that were taken out are named."""


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
