"""Where the command's words go: one JSON document on stdout, or tables and texts there and progress on stderr."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from mcp_entry.cli.terminal_text import visible
from supervisor.api.verbs import ProgressCallback, ignore_progress

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
