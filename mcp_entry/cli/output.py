"""The output of a command, made safe for a terminal.

With ``--json`` stdout carries one document; otherwise tables and texts, and stderr carries progress. Texts of agents
and users must go through ``visible``, ``plain`` or ``one_line``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from mcp_entry.cli.progress_line import Lines, drawn
from supervisor.api.verbs import ProgressCallback, ignore_progress

_KEPT = frozenset("\n\t")
_FIRST_PICTURE = 0x2400
"""Unicode's pictures of the 32 ASCII control characters begin here."""
_DELETE = 0x7F
_LAST_C1 = 0x9F
_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Bidirectional overrides: they reorder the text that follows, so a person reads something else."""
_RULE = re.compile(r"([─━═_-])\1{3,}")
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
        """Writes the document with ``--json``, otherwise the view."""
        if self.as_json:
            self.results.file.write(json.dumps(document, indent=2) + "\n")
        elif self.results.is_terminal:
            self.results.print(view, crop=False)
        else:
            self.results.file.write(_without_padding(self.results, view))

    def say(self, text: str, style: str = "") -> None:
        """Writes a line to stderr."""
        self.progress.print(visible(text), style=style, markup=False)

    @contextmanager
    def telling_progress(self, what: str, *, alike: bool = False) -> Iterator[ProgressCallback]:
        """One line on a terminal, a few whole ones elsewhere, nothing with ``--json``. ``alike``: as ``Progress``."""
        if self.as_json:
            yield ignore_progress
        elif self.progress.is_terminal:
            with drawn(self.progress, what, visible, alike=alike) as progress:
                yield progress
        else:
            yield Lines(self.say, alike=alike)

    @contextmanager
    def telling_steps(self, what: str) -> Iterator[Callable[[str], None]]:
        """``telling_progress`` for what counts nothing and takes a step at a time; also with ``--json``."""
        if self.progress.is_terminal:
            with drawn(self.progress, what, visible, alike=False) as progress:
                yield lambda step: progress(0, 0, step)
        else:
            yield self.say


def _console(file: IO[str]) -> Console:
    """Breaks lines only on a terminal: elsewhere programs read them."""
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED_COLUMNS
    return console


def _without_padding(console: Console, view: RenderableType) -> str:
    with console.capture() as captured:
        console.print(view)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().removesuffix("\n").split("\n"))


def visible(text: str) -> str:
    """The text with a visible sign in place of each character that controls the terminal."""
    return "".join(_picture(character) if _steers(character) else character for character in text)


def plain(text: str, style: str = "") -> Text:
    """The text for rich: nothing in it is markup, and nothing controls the terminal."""
    return Text(visible(text), style=style)


def one_line(text: str, most: int) -> str:
    """The text on one line of at most ``most`` characters. Drawn rules, as screens have them, become short."""
    line = _RULE.sub(r"\1\1\1", " ".join(visible(text).split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def table(*headings: str, right: Collection[str] = ()) -> Table:
    """An empty table; the columns in ``right``, which hold numbers, are aligned to the right and not broken."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        numbers = heading in right
        made.add_column(heading, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    return made


def _steers(character: str) -> bool:
    code = ord(character)
    control = (code < 0x20 and character not in _KEPT) or _DELETE <= code <= _LAST_C1
    return control or character in _OVERRIDES or 0xD800 <= code <= 0xDFFF


def _picture(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(_FIRST_PICTURE + code)
    return "␡" if code == _DELETE else "\N{REPLACEMENT CHARACTER}"
