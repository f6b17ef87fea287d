"""The part of the screen about the selected instance: who it is, what it needs, and what it shows or says.

``LinesView`` is a widget for lines that are laid out already. Who has scrolled up in it stays there while lines are
added; who is at its end follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from actors.status import ALIVE
from mcp_entry.cli.output import one_line, plain, visible
from mcp_entry.top.columns import context_used
from mcp_entry.top.needs import MOST_OPTIONS, Need
from supervisor.api.results import InstanceInfo, called

_LONGEST = 300


LayOut = Callable[[int], Sequence[Strip]]
"""Lays something out for a width in cells."""


class LinesView(ScrollView, can_focus=True):
    """``follows_end``: it begins at its end. ``fits``: it is as high as its lines, as far as there is room."""

    def __init__(self, *, id: str, follows_end: bool = False, fits: bool = False) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._follows_end = follows_end
        self._fits = fits
        self._lay_out: LayOut = lambda width: ()
        self._strips: Sequence[Strip] = ()
        self._width = 0
        """For which the lines were laid out."""
        self._end_drawn = False

    @property
    def end_was_in_view(self) -> bool:
        """Whether the last line of the subject has been drawn since ``show`` began with it."""
        return self._end_drawn

    @property
    def text(self) -> str:
        """All lines, without styles."""
        return "\n".join(strip.text.rstrip() for strip in self._strips)

    def show(self, lay_out: LayOut, *, anew: bool) -> None:
        """``anew``: of another subject, so where it was scrolled to does not count."""
        self._lay_out = lay_out
        height = self.scrollable_content_region.height
        at_end = round(self.scroll_y) >= len(self._strips) - height
        before = self._strips
        self._end_drawn = self._end_drawn and not anew
        self._take(self._width_given)
        if anew or (self._follows_end and at_end):
            self.scroll_to(x=0 if anew else None, y=self._end, animate=False, force=True, immediate=True)
        top = round(self.scroll_y)
        for line in range(height):
            if anew or _at(before, top + line) != _at(self._strips, top + line):
                self.refresh_line(top + line)

    @property
    def _width_given(self) -> int:
        """Without the column of the scroll bar. Known also while the widget is not shown."""
        parent = self.parent
        return max(1, (parent.content_size.width if isinstance(parent, Widget) else self.size.width) - 1)

    @property
    def _end(self) -> int:
        return max(0, len(self._strips) - self.scrollable_content_region.height) if self._follows_end else 0

    def _take(self, width: int) -> None:
        self._strips, self._width = self._lay_out(width), width
        self.virtual_size = Size(max((strip.cell_length for strip in self._strips), default=0), len(self._strips))
        if self._fits:
            self.styles.height = len(self._strips)

    def on_resize(self, event: events.Resize) -> None:
        if self._width != self._width_given:
            self._take(self._width_given)
            self.refresh()
        if self._follows_end:
            self.scroll_to(y=self._end, animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        width = self.scrollable_content_region.width
        strip = _at(self._strips, top + y)
        self._end_drawn |= top + y == len(self._strips) - 1
        return Strip.blank(width) if strip is None else strip.crop_extend(x, x + width, None)


class FactsLine(Widget):
    """One line of facts. The last ones are left out whole where they do not fit: half a figure says another thing."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._facts: Sequence[str] = ()

    def show(self, facts: Sequence[str]) -> None:
        if facts != self._facts:
            self._facts = facts
            self.refresh()

    def render(self) -> Text:
        line = "".join(self._facts[:1])
        for fact in self._facts[1:]:
            longer = f"{line} · {fact}"
            if cell_len(longer) > self.size.width:
                break
            line = longer
        return plain(line, "bold")


def _at(strips: Sequence[Strip], index: int) -> Strip | None:
    return strips[index] if 0 <= index < len(strips) else None


def who_facts(each: InstanceInfo, age_words: str) -> Sequence[str]:
    """Who it is and how it stands, what matters most first."""
    since = f" for {age_words}" if age_words else ""
    used = context_used(each)
    facts = [
        called(each.instance_id, each.name),
        str(each.role),
        f"{each.status}{since}".replace("_", " "),
        f"{each.unread} unread" if each.unread else "",
        f"{each.queued_messages} queued" if each.queued_messages else "",
        f"context {used}" if used else "",
        each.model or "",
    ]
    return [one_line(fact, _LONGEST) for fact in facts if fact]


def task_text(each: InstanceInfo) -> Text:
    """What it was asked last and where it works, on one line."""
    where = each.branch if each.branch and each.workspace_mode == "isolated" else each.working_directory
    unknown = "no task yet" if each.status in ALIVE else "its last task is not known"
    return plain(one_line(f"{each.task or unknown} · {where}", _LONGEST))


def need_text(need: Need, answers: Mapping[str, str]) -> Text:
    """All that somebody must know to decide, to the last character, and the keys that decide.

    ``answers``: what was chosen so far of several questions.
    """
    lines = [plain(f"! {need.who} {need.title}", "bold yellow")]
    if need.decidable and not need.questions:
        lines[0].append_text(plain("   a allow  d deny", "bold"))
    for name, value in need.parts:
        label = plain(f"  {name}: ", "bold")
        lines.append(label.append_text(plain(value)) if "\n" not in value else label)
        if "\n" in value:
            lines += [plain(f"    {line}") for line in visible(value).split("\n")]
    for question in need.questions:
        chosen = answers.get(question.words)
        lines.append(plain(question.words, "dim" if chosen else "bold"))
        if chosen:
            lines.append(plain(f"  → {chosen}", "dim"))
            continue
        for number, option in enumerate(question.options, 1):
            described = question.descriptions[number - 1] if number <= len(question.descriptions) else ""
            key = f"  {number}. " if number <= MOST_OPTIONS else "     "
            lines.append(plain(f"{key}{option}").append_text(plain(f"  {described}" if described else "", "dim")))
        several = " More than one may be chosen at its terminal: Enter attaches." if question.several else ""
        deny = "  d deny" if need.decidable or need.closable else ""
        lines.append(plain(f"  1-{min(len(question.options), MOST_OPTIONS)} answer{deny}.{several}", "bold"))
        break
    if need.reason and not need.permission_id and not need.questions:
        lines.append(plain(need.reason))
    if need.next_step:
        lines.append(plain(need.next_step, "bold"))
    return Text("\n").join(lines)
