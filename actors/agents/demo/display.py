"""What all parts of the demo share while it runs: the conversation on the screen, the input box, the records."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from actors.agents.demo.loop import EventLoop
from actors.agents.demo.options import DemoOptions
from actors.agents.demo.records import HookRunner, TranscriptWriter
from actors.agents.demo.terminal import DialogView, InputBuffer, ScreenView, paint

PROMPT_LOG = "demo-log.jsonl"
"""Every prompt that the demo took, and every line that it swallowed as a command."""
TOOL_LOG = "ran.jsonl"
"""Every tool that was allowed to run."""

_LONGEST_CONVERSATION = 100
_FALLBACK_SIZE = os.terminal_size((80, 24))


class OpenDialog:
    """``choose`` gets the index of the chosen option, None for Escape."""

    def __init__(self, view: DialogView, choose: Callable[[int | None], None]) -> None:
        self.view = view
        self.choose = choose

    def move(self, step: int) -> None:
        """Puts the pointer to another option, from the last one to the first."""
        self.view = self.view._replace(chosen=(self.view.chosen + step) % len(self.view.options))


class Display:
    def __init__(self, options: DemoOptions, loop: EventLoop, hooks: HookRunner, transcript: TranscriptWriter) -> None:
        self.options = options
        self.loop = loop
        self.hooks = hooks
        self.transcript = transcript
        self.draft = InputBuffer()
        self.conversation: list[tuple[str, str]] = []
        self.queued: list[str] = []
        self.dialog: OpenDialog | None = None
        self.busy = False
        self.hint = ""
        self.ended = False
        """The last words stand on the screen; nothing is drawn over them."""
        self.swallow_enter = "swallow-first-enter" in options.faults

    def say(self, speaker: str, text: str) -> None:
        self.conversation.append((speaker, text))
        del self.conversation[:-_LONGEST_CONVERSATION]

    def note(self, log: str, **fields: object) -> None:
        """Appends a line to a log in the demo's directory: the ground truth for tests."""
        descriptor = os.open(self.options.directory / log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        line = json.dumps({"at": time.time(), **fields}, ensure_ascii=False) + "\n"
        os.write(descriptor, line.encode(errors="replace"))
        os.close(descriptor)

    def repaint(self) -> None:
        if self.ended:
            return
        try:
            size = os.get_terminal_size(1)
        except OSError:
            size = _FALLBACK_SIZE
        os.write(1, paint(self._view(), size.columns, size.lines).encode(errors="replace"))

    def _view(self) -> ScreenView:
        return ScreenView(
            conversation=tuple(self.conversation),
            draft=self.draft.shown,
            queued=tuple(self.queued),
            busy=self.busy,
            hint=self.hint,
            dialog=self.dialog.view if self.dialog else None,
            menu=self._menu(),
        )

    def _menu(self) -> tuple[str, ...]:
        if self.draft.shown.startswith("/"):
            return ("/demo-command          Does nothing", "/demo-other            Does nothing either")
        if self.draft.mention:
            return ("+ demo-file.txt", "* demo (agent)")
        return ()
