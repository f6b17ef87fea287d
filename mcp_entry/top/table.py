"""The list of the team as a widget that draws only the lines that changed.

What a person looks at stays where it is on the screen while lines come and go above it: the selected line if it is in
view, otherwise the first line in view. At the top of the list it stays at the top, so that who newly needs somebody is
seen, as long as the selected line stays in view. Where the selected instance goes to another section, the view goes
with it. A selection is an instance in a section, never a place in the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from mcp_entry.top.columns import Cell, Column, Row, columns_in

_HEADING = Style(bold=True, underline=True)
_SELECTED = Style(color="cyan", bgcolor="black", reverse=True)
"""Black on cyan stands out on a dark and on a light terminal alike; without colours it is still in reverse."""
_TITLES = Style(dim=True)
_NOTHING = Cell("")


class TeamTable(ScrollView, can_focus=True):
    """``show`` gives it the rows, top to bottom. Posts ``Selected`` when another row is selected or the same anew."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "end_of_list(-1)", show=False),
        Binding("end", "end_of_list(1)", show=False),
    ]

    class Selected(Message):
        """Another instance is selected, or none (empty)."""

        def __init__(self, instance_id: str) -> None:
            super().__init__()
            self.instance_id = instance_id

    def __init__(self) -> None:
        super().__init__(id="team")
        self._rows: Sequence[Row] = ()
        self._selected: tuple[str, str] | None = None

    @property
    def instance_id(self) -> str:
        """The selected instance; empty: none."""
        return self._selected[1] if self._selected else ""

    @property
    def selected_key(self) -> tuple[str, str] | None:
        return self._selected

    @property
    def top(self) -> int:
        """The number of the first row in view."""
        return round(self.scroll_y)

    @property
    def shown(self) -> Sequence[Row]:
        """The rows in view, from top to bottom."""
        return self._rows[self.top : self.top + self._height]

    @property
    def _height(self) -> int:
        return max(1, self.scrollable_content_region.height)

    @property
    def _columns(self) -> Sequence[Column]:
        return columns_in(self.scrollable_content_region.width)

    def show(self, rows: Sequence[Row]) -> None:
        """Draws these in place of the earlier ones."""
        if rows == self._rows:
            return  # as mostly, when only time has passed
        before, top = self._rows, self.top
        selected = self._new_selection(rows)
        new_top = self._new_top(rows, selected)
        changed_selection = selected != self._selected
        moved_selection = {self._selected, selected} if changed_selection else set()
        self._rows, self._selected = rows, selected
        if len(rows) != len(before):
            self.virtual_size = Size(self.scrollable_content_region.width, len(rows))
        self.scroll_to(y=new_top, animate=False, force=True, immediate=True)
        shift = self.top - top
        for line in range(self._height):
            old, new = _at(before, top + line), _at(rows, top + shift + line)
            if old != new or (new is not None and new.key in moved_selection):
                self.refresh_line(self.top + line)
        if changed_selection:
            self.post_message(self.Selected(self.instance_id))

    def select(self, key: tuple[str, str]) -> None:
        """Selects a row and brings it into view; no-op for one that is not there."""
        index = _index(self._rows, key)
        if index is not None and key[1]:
            self._go_to(index)

    def _new_selection(self, rows: Sequence[Row]) -> tuple[str, str] | None:
        """The same row; where it is gone the same instance elsewhere, otherwise the row that stood nearest."""
        keys = {row.key for row in rows}
        if self._selected is None or self._selected in keys:
            return self._selected or next((row.key for row in rows if row.instance_id), None)
        same = next((row.key for row in rows if row.instance_id == self.instance_id), None)
        if same is not None:
            return same
        old = _index(self._rows, self._selected) or 0
        ordered = [*self._rows[old + 1 :], *reversed(self._rows[:old])]
        near = next((row.key for row in ordered if row.instance_id and row.key in keys), None)
        return near or next((row.key for row in rows if row.instance_id), None)

    def _new_top(self, rows: Sequence[Row], selected: tuple[str, str] | None) -> int:
        top, height = self.top, self._height
        index = _index(rows, selected) if selected else None
        was = _index(self._rows, self._selected) if self._selected else None
        in_view = was is not None and top <= was < top + height
        if top == 0:
            if in_view and index is not None and index >= height:
                return index - height + 1
            return 0
        if in_view and was is not None and index is not None:
            return _within(index - (was - top), len(rows), height)
        places = {row.key: number for number, row in enumerate(rows)}
        for number in range(top, len(self._rows)):
            place = places.get(self._rows[number].key)
            if place is not None:
                return _within(place - (number - top), len(rows), height)
        return _within(top, len(rows), height)

    def action_move(self, by: int) -> None:
        index = self._index_selected()
        place = index + by
        while 0 <= place < len(self._rows) and not self._rows[place].instance_id:
            place += by
        if 0 <= place < len(self._rows):
            self._go_to(place)
        elif by < 0:
            self.scroll_to(y=0, animate=False, force=True, immediate=True)  # the headings above the first row

    def action_page(self, by: int) -> None:
        self._go_near(self._index_selected() + by * max(1, self._height - 1), by)

    def action_end_of_list(self, by: int) -> None:
        self._go_near(0 if by < 0 else len(self._rows) - 1, by)

    def _go_near(self, place: int, by: int) -> None:
        """To the row at this place, or the next one that is an instance."""
        instances = [number for number, row in enumerate(self._rows) if row.instance_id]
        if instances:
            place = min(max(place, instances[0]), instances[-1])
            ahead = [number for number in instances if (number >= place if by > 0 else number <= place)]
            self._go_to(ahead[0] if by > 0 else ahead[-1])

    def _index_selected(self) -> int:
        found = _index(self._rows, self._selected) if self._selected else None
        return -1 if found is None else found

    def _go_to(self, index: int) -> None:
        before, self._selected = self._index_selected(), self._rows[index].key
        for each in (before, index):
            self.refresh_line(each)
        if index < self.top:
            above = index - 1 if index and not self._rows[index - 1].instance_id else index
            self.scroll_to(y=above, animate=False, force=True, immediate=True)
        elif index >= self.top + self._height:
            self.scroll_to(y=index - self._height + 1, animate=False, force=True, immediate=True)
        self.post_message(self.Selected(self.instance_id))

    def on_click(self, event: events.Click) -> None:
        place = self.top + event.y
        if place < len(self._rows) and self._rows[place].instance_id:
            self._go_to(place)

    def on_resize(self, event: events.Resize) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._rows))
        index = self._index_selected()
        if index >= self.top + self._height:
            self.scroll_to(y=index - self._height + 1, animate=False, force=True, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        row = _at(self._rows, self.top + y)
        if row is None:
            return Strip.blank(width)
        return _strip(row, width, _SELECTED if row.key == self._selected else None)


class Titles(Widget):
    """The head of the list, above it and as wide; the list has a scroll bar beside it."""

    def render_line(self, y: int) -> Strip:
        columns = columns_in(max(1, self.size.width - 1))
        return Strip([Segment(" ".join(_sized(each.title, each) for each in columns), _TITLES)]).adjust_cell_length(
            self.size.width
        )


@lru_cache(maxsize=1024)
def _strip(row: Row, width: int, over: Style | None) -> Strip:
    """A row does not change, so it is laid out once for each width. ``over``: in place of the styles of its cells."""
    if row.heading:
        return Strip([Segment(set_cell_size(row.heading, width), _HEADING)], width)
    cells = dict(row.cells)
    segments: list[Segment] = []
    for number, column in enumerate(columns_in(width)):
        cell = cells.get(column.title, _NOTHING)
        style = over or Style.parse(cell.style)
        if number:
            segments.append(Segment(" ", over))
        segments.append(Segment(_sized(cell.text, column), style))
    return Strip(segments, width).adjust_cell_length(width, over)


def _sized(text: str, column: Column) -> str:
    """Exactly as wide as the column; what does not fit ends with an ellipsis."""
    length = cell_len(text)
    if length > column.width:
        return f"{set_cell_size(text, column.width - 1)}…" if column.width > 1 else set_cell_size(text, column.width)
    return " " * (column.width - length) + text if column.right else text + " " * (column.width - length)


def _at(rows: Sequence[Row], index: int) -> Row | None:
    return rows[index] if 0 <= index < len(rows) else None


def _index(rows: Sequence[Row], key: tuple[str, str] | None) -> int | None:
    return next((number for number, row in enumerate(rows) if row.key == key), None)


def _within(top: int, count: int, height: int) -> int:
    return max(0, min(top, count - height))
