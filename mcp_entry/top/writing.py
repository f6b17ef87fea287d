"""The two places to write in: a message to an instance, and the words of the filter.

Pasted text goes in whole, with its lines, and is never taken for keys. Where a terminal does not mark what is pasted,
the Enter in it is told from a pressed one by the key that follows at once.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Input, TextArea

_PASTE_S = 0.05
"""Keys that follow each other so fast were not pressed by a person."""


class MessageArea(TextArea):
    """Posts ``Sent`` and ``Left``."""

    KEYS: ClassVar[str] = "Enter send  Ctrl-J new line  Esc leave, it is kept  Tab to the list"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "leave", show=False, priority=True),
        Binding("ctrl+j", "new_line", show=False, priority=True),
    ]

    class Sent(Message):
        def __init__(self, place: MessageArea) -> None:
            super().__init__()
            self.place = place
            self.text = place.text

    class Left(Message):
        """Nothing is sent."""

        def __init__(self, place: MessageArea) -> None:
            super().__init__()
            self.place = place
            self.text = place.text

    def __init__(self, instance_id: str, text: str) -> None:
        """``instance_id``: to whom it is written."""
        super().__init__(
            text, id="message", show_line_numbers=False, soft_wrap=True, compact=True, tab_behavior="focus"
        )
        self.instance_id = instance_id
        self.move_cursor(self.document.end)
        self._entered: Timer | None = None
        """Runs after an Enter until it is certain that it was no part of a paste."""

    async def _on_key(self, event: events.Key) -> None:
        if self._entered is not None:
            self._entered.stop()
            self._entered = None
            self.insert("\n")
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self._entered = self.set_timer(_PASTE_S, self._send)
            return
        await super()._on_key(event)

    def _send(self) -> None:
        self._entered = None
        self.post_message(self.Sent(self))

    def action_new_line(self) -> None:
        self.insert("\n")

    def action_leave(self) -> None:
        self.post_message(self.Left(self))


class FilterLine(Input):
    """The list follows each letter. Posts ``Left``."""

    KEYS: ClassVar[str] = "Enter keep the filter  Esc end it  Tab to the list"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "clear", show=False, priority=True)]

    class Left(Message):
        """The list has the keyboard again."""

        def __init__(self, place: FilterLine) -> None:
            super().__init__()
            self.place = place

    def __init__(self, words: str) -> None:
        super().__init__(words, id="filter", placeholder="id, name, role, state, branch, task…", compact=True)
        self.cursor_blink = False

    def action_clear(self) -> None:
        self.value = ""
        self.post_message(self.Left(self))

    async def action_submit(self) -> None:
        self.post_message(self.Left(self))
