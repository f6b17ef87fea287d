"""What the agent's own records say of messages: its transcript proves, its hook events only tell beforehand.

Kept by the observer, asked by the courier. A hook of the user's may refuse a prompt that our hook has reported, a
person may take it back before it is written, and an agent that is killed loses what is not written: so a message has
arrived when the transcript shows it and never before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from actors.messages import Message
from actors.messaging.arrival import changes_in
from actors.messaging.envelope import compose, ids_in
from actors.messaging.recent import RecentIds

_REMEMBERED = 1000
"""Prompts that were reported or refused, and messages whose arrival is compared."""


class Proofs:
    """``written`` holds the ids of all messages that the transcript shows."""

    def __init__(self) -> None:
        self.written = RecentIds()
        self.last_written = ""
        """The last prompt of ours that the transcript shows."""
        self._reported: OrderedDict[frozenset[str], None] = OrderedDict()
        self._refused: OrderedDict[frozenset[str], str] = OrderedDict()
        self._expected: OrderedDict[str, Message] = OrderedDict()
        self._changes: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._awaited: set[str] = set()

    def begin_life(self) -> None:
        """The agent was started anew: what was reported before and is not written is lost."""
        self._reported.clear()
        self._awaited.clear()

    def expect(self, messages: Iterable[Message]) -> None:
        """These are typed: what arrives of them is compared with their texts."""
        for message in messages:
            _remember(self._expected, message.id, message)

    def begin(self, batch: Sequence[Message]) -> None:
        """These are pasted now: what was told of an earlier paste of the same is over."""
        ids = ids_in(compose(batch))
        self._reported.pop(ids, None)
        self._refused.pop(ids, None)
        self.expect(batch)

    def report(self, prompt: str) -> None:
        """A hook has told of this prompt, which the program is about to take or to refuse."""
        ids = ids_in(prompt)
        if ids:
            _remember(self._reported, ids, None)
            self._awaited.update(one for one in ids if one not in self.written)

    def write(self, prompt: str) -> None:
        """The transcript shows this prompt."""
        ids = ids_in(prompt)
        self.written.add(ids)
        self.last_written = prompt if ids else self.last_written
        expected = [self._expected.pop(one) for one in ids if one in self._expected]
        for message_id, changes in changes_in(prompt, expected).items():
            _remember(self._changes, message_id, changes)

    def refuse(self, prompt: str, reason: str) -> None:
        """The transcript says that this prompt was refused."""
        if ids := ids_in(prompt):
            _remember(self._refused, ids, reason)
            self._awaited.difference_update(ids)

    def has(self, message_id: str) -> bool:
        return message_id in self.written

    def has_all(self, ids: Iterable[str]) -> bool:
        return all(map(self.has, ids))

    def is_reported(self, paste: str) -> bool:
        """Whether a hook has told of the prompt of this paste."""
        return ids_in(paste) in self._reported

    def refusal(self, paste: str) -> str:
        """Why the prompt of this paste was refused; empty when it was not."""
        return self._refused.get(ids_in(paste), "")

    def changes(self, message_id: str) -> tuple[str, ...] | None:
        """What differs from the text that was accepted; None when it was not compared."""
        return self._changes.get(message_id)

    @property
    def all_written(self) -> bool:
        """Whether the transcript shows everything that hooks have reported."""
        self._awaited = {one for one in self._awaited if one not in self.written}
        return not self._awaited

    def await_no_more(self) -> None:
        """What is not written by now will not be: what an interrupt took back is never written."""
        self._awaited.clear()


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _remember(known: OrderedDict[_Key, _Value], key: _Key, value: _Value) -> None:
    known.pop(key, None)
    known[key] = value
    while len(known) > _REMEMBERED:
        known.popitem(last=False)
