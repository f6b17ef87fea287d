"""Where the command's words go, made safe for a terminal.

One JSON document on stdout, or tables and texts there and progress on stderr. Texts of agents and users go through
``visible``, ``plain`` or ``one_line``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from supervisor.api.verbs import ProgressCallback, ignore_progress

_KEPT = frozenset("\n\t")
_FIRST_PICTURE = 0x2400
"""Unicode's pictures of the 32 ASCII control characters begin here."""
_DELETE = 0x7F
_LAST_C1 = 0x9F
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They turn the order of what follows, and with it what a person believes to read."""

_RULE = re.compile(r"([─━═_-])\1{3,}")


def visible(text: str) -> str:
    """The text with every character that would steer the terminal replaced by one that can be seen."""
    return "".join(_picture(character) if _steers(character) else character for character in text)


def plain(text: str, style: str = "") -> Text:
    """The text for rich: nothing in it is taken for markup, nothing steers the terminal."""
    return Text(visible(text), style=style)


def one_line(text: str, most: int) -> str:
    """The text on one line of at most ``most`` characters; drawn rules, as screens have them, become short."""
    line = _RULE.sub(r"\1\1\1", " ".join(visible(text).split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def _steers(character: str) -> bool:
    code = ord(character)
    control = (code < 0x20 and character not in _KEPT) or _DELETE <= code <= _LAST_C1
    return control or character in _OVERRIDES or 0xD800 <= code <= 0xDFFF


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_FIRST_PICTURE + code)
    return "␡" if code == _DELETE else "\N{REPLACEMENT CHARACTER}"


_UNLIMITED_COLUMNS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    as_json: bool
    results: Console
    progress: Console

    @classmethod
    def to(cls, stdout: IO[str], stderr: IO[str], *, as_json: bool) -> Output:
        return cls(as_json=as_json, results=_console(stdout), progress=_console(stderr))

    def show(self, document: Any, view: RenderableType) -> None:
        """The document with ``--json``, else the view of it."""
        if self.as_json:
            self.results.file.write(json.dumps(document, indent=2) + "\n")
        elif self.results.is_terminal:
            self.results.print(view, crop=False)
        else:
            self.results.file.write(_without_padding(self.results, view))

    def say(self, text: str, style: str = "") -> None:
        """A word beside the result, on stderr."""
        self.progress.print(visible(text), style=style, markup=False)

    @contextmanager
    def telling_progress(self, what: str) -> Iterator[ProgressCallback]:
        """A bar on a terminal, a line a step elsewhere, nothing with ``--json``."""
        if self.as_json:
            yield ignore_progress
        elif self.progress.is_terminal:
            with _bar(self.progress) as bar:
                task = bar.add_task(what, total=None)
                yield lambda done, total, word: bar.update(
                    task, completed=done, total=total or None, description=f"{what}: {visible(word)}"
                )
        else:
            yield _Lines(self).on_progress


class _Lines:
    """Progress where lines cannot be rewritten: only what is new."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ""

    def on_progress(self, done: int, total: int, what: str) -> None:
        line = f"{done}/{total} {what}" if total else what
        if line != self._last:
            self._output.say(line)
        self._last = line


def _without_padding(console: Console, view: RenderableType) -> str:
    with console.capture() as captured:
        console.print(view)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().removesuffix("\n").split("\n"))


def _bar(console: Console) -> Progress:
    word = TextColumn("{task.description}", markup=False)
    return Progress(
        SpinnerColumn(), word, BarColumn(), _CountColumn(), TimeElapsedColumn(), console=console, transient=True
    )


class _CountColumn(MofNCompleteColumn):
    """Nothing where there is nothing to count."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


def _console(file: IO[str]) -> Console:
    """Where nobody looks, lines are as long as they are: programs read them."""
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    return (
        console
        if console.is_terminal
        else Console(file=file, highlight=False, markup=False, emoji=False, width=_UNLIMITED_COLUMNS)
    )
