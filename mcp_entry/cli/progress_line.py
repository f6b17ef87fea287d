"""The progress of a command on stderr: one line that is drawn anew on a terminal, a few whole lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.text import Text

from mcp_entry.progress import Progress
from supervisor.api.verbs import ProgressCallback

_DRAWN_A_SECOND = 4
_SHOWN_AFTER_S = 1.0
"""From here on the line says how long it takes."""
_FEWEST_CELLS = 8
"""Of the words in the middle; a line in which they have no room at all leaves them out."""
_BETWEEN_LINES_S = 10.0
_SHARE = 0.1
"""Lines come after this share of the time so far, too: so there are few of them, however long it takes."""


@contextmanager
def drawn(console: Console, heading: str, plain: Callable[[str], str], *, alike: bool) -> Iterator[ProgressCallback]:
    """One line on the terminal, which is gone after the block. ``plain``: makes a word safe for the terminal."""
    progress = Progress(alike=alike)
    with Live(
        get_renderable=lambda: line(progress, heading, plain(progress.what), console.width),
        console=console,
        transient=True,
        refresh_per_second=_DRAWN_A_SECOND,
    ):
        yield progress


def line(progress: Progress, heading: str, what: str, width: int) -> Text:
    """The heading, what is done, how much of all, and the times. The words in the middle are cut, nothing else is."""
    numbers = [f"{progress.done}/{progress.total}"] if progress.total else []
    if progress.lasts_s >= _SHOWN_AFTER_S:
        numbers.append(f"{progress.lasts_s:.0f} s")
    end = ", ".join([*numbers, *filter(None, [progress.left])])
    room = width - cell_len(heading) - cell_len(end) - len(":   ") - 1
    words = f": {_cut(what, room)}" if what and room >= _FEWEST_CELLS else ""
    made = Text.assemble((f"{heading}{words}", "bold"), f"  {end}" if end else "", no_wrap=True, end="")
    made.truncate(width - 1, overflow="ellipsis")
    return made


def _cut(text: str, cells: int) -> str:
    text = " ".join(text.split())
    return text if cell_len(text) <= cells else f"{set_cell_size(text, cells - 1).rstrip()}…"


class Lines:
    """A ``ProgressCallback``: a line for each step; of what is counted the first, the last, and one now and then.

    A number without words is no line: what was done is told at the end.
    """

    def __init__(self, say: Callable[[str], None], *, alike: bool, now: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now = now
        self._progress = Progress(alike=alike, now=now)
        self._last = ""
        self._next_at = now()

    def __call__(self, done: int, total: int, what: str) -> None:
        progress = self._progress
        begins = (total if total > 1 else 0) != progress.total
        progress(done, total, what)
        counted = f"{done}/{progress.total} " if progress.total else ""
        said = f"{counted}{what}"
        due = not counted or begins or done == progress.total or self._now() >= self._next_at
        if not what or said == self._last or not due:
            return
        self._last = said
        self._say(f"{said}, {progress.left}" if progress.left else said)
        self._next_at = self._now() + max(_BETWEEN_LINES_S, progress.lasts_s * _SHARE)
