"""The demo from start to end: start-up with its faults, what keys do, signals, the last words."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterable, Sequence
from pathlib import Path

from actors.agents.demo.display import PROMPT_LOG, Display, OpenDialog
from actors.agents.demo.loop import EventLoop
from actors.agents.demo.options import DemoOptions, UsageError, read_options
from actors.agents.demo.records import HookRunner, TranscriptWriter
from actors.agents.demo.terminal import DialogView, Input, Key, KeyReader, PastedText, TypedKey
from actors.agents.demo.turns import TurnRunner

_PIECE_BYTES = 65536
_TERMINATED = 143
_ESCAPE_ALONE_S = 0.03
_TWICE_S = 0.8
_PASTE_ON, _PASTE_OFF = b"\x1b[?25l\x1b[?2004h", b"\x1b[?2004l\x1b[?25h"
_TRUST = DialogView(
    title="Accessing workspace:",
    body=("Quick safety check: Is this a project you created or one you trust?",),
    question="",
    options=("Yes, I trust this folder", "No, exit"),
    hint="Enter to confirm · Esc to cancel",
)
_REWIND = DialogView(
    title="Rewind",
    body=("Restore the conversation to the point before…",),
    question="",
    options=("(current)",),
    hint="Enter to continue · Esc to cancel",
)


def main() -> int:
    """The exit status."""
    try:
        options = read_options(sys.argv[1:], os.environ, Path.cwd())
        transcript = _transcript(options)
    except UsageError as error:
        print(error)
        return 1
    if "exit-at-start" in options.faults:
        print("demo: exits at its start, as it was told to")
        return int(options.faults["exit-at-start"] or 1)
    display = Display(options, EventLoop(), HookRunner(options, transcript.path), transcript)
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # what was typed before stays in the terminal's buffer
    os.write(1, _PASTE_ON)
    try:
        return DemoProgram(display).run()
    finally:
        os.write(1, _PASTE_OFF)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _transcript(options: DemoOptions) -> TranscriptWriter:
    path = options.directory / "transcripts" / f"{options.session_id}.jsonl"
    if options.resume and not path.exists():
        raise UsageError(f"No conversation found with session ID: {options.session_id}")
    if not options.resume and path.exists():
        raise UsageError(f"Error: Session ID {options.session_id} is already in use.")
    return TranscriptWriter(path, options.session_id, options.cwd)


class DemoProgram:
    def __init__(self, display: Display) -> None:
        self._display = display
        self._turns = TurnRunner(display, self._submit_queued)
        self._keys = KeyReader()
        self._pressed_once: Key | None = None

    def run(self) -> int:
        loop = self._display.loop
        loop.on_signals(
            {
                signal.SIGTERM: lambda: self._end("other", _TERMINATED),
                signal.SIGHUP: lambda: self._end("other", _TERMINATED),
                signal.SIGWINCH: self._display.repaint,
            }
        )
        loop.later(self._display.options.start_s, self._begin)
        return loop.run()

    def _begin(self) -> None:
        if "trust-dialog" in self._display.options.faults:
            self._display.dialog = OpenDialog(_TRUST, self._trust)
            self._listen()
        else:
            self._begin_session()

    def _trust(self, option: int | None) -> None:
        if option == 0:
            self._display.dialog = None
            self._display.loop.forget(0)
            self._begin_session()
        else:
            self._display.loop.stop(1)

    def _begin_session(self) -> None:
        options = self._display.options
        self._display.hooks.fire("SessionStart", source="resume" if options.resume else "startup")
        self._display.loop.later(float(options.faults.get("start-slow") or 0), self._open)

    def _open(self) -> None:
        """From now on the input box is there. Of what was typed before, the text stays and every Enter is lost."""
        self._display.say("program", "Demo agent: answers every message, see @@demo")
        if self._display.options.resume:
            for speaker, text in self._display.transcript.exchanges():
                self._display.say(speaker, text)
        self._take(each for each in self._keys.feed(_pending_input()) if each is not Key.ENTER)
        self._listen()

    def _listen(self) -> None:
        self._display.loop.on_readable(0, self._read)
        self._display.repaint()

    def _read(self) -> None:
        data = os.read(0, _PIECE_BYTES)
        if not data:
            self._end("other", 0)
            return
        self._take(self._keys.feed(data))
        if self._keys.waits:
            self._display.loop.later(_ESCAPE_ALONE_S, lambda: self._take(self._keys.flush()))

    def _end(self, reason: str, status: int) -> None:
        self._display.ended = True
        self._display.hooks.fire("SessionEnd", reason=reason)
        if self._display.transcript.path.exists():
            words = f"Resume this session with:\r\ndemo --resume {self._display.options.session_id}"
            os.write(1, f"\r\n\x1b[2m{words}\x1b[0m\r\n".encode())
        self._display.loop.stop(status)

    def _take(self, inputs: Iterable[Input]) -> None:
        taken = False
        for each in inputs:
            taken = True
            if self._display.dialog:
                _press_in_dialog(self._display.dialog, each)
            else:
                self._press(each)
        if taken:  # most reads are pieces of one long paste
            self._display.repaint()

    def _press(self, each: Input) -> None:
        draft = self._display.draft
        match each:
            case TypedKey(text):
                draft.type(text)
            case PastedText(text):
                draft.paste(text)
            case Key.NEWLINE:
                draft.type("\n")
            case Key.BACKSPACE:
                draft.backspace()
            case Key.CTRL_U:
                draft.clear()
            case Key.ENTER:
                self._enter()
            case Key.ESCAPE:
                self._escape()
            case Key.CTRL_C:
                self._control_c()

    def _enter(self) -> None:
        display = self._display
        if display.swallow_enter:
            display.swallow_enter = False
        elif display.draft.mention:
            display.draft.complete_mention()
        elif not display.draft.escape_enter() and (text := display.draft.text).strip():
            display.draft.clear()
            self._send(text)

    def _send(self, text: str) -> None:
        display = self._display
        if text.startswith(("!", "/")):
            display.note(PROMPT_LOG, command=text)
            display.say("program", f"Unknown command: {text}")
        elif display.busy:
            display.transcript.queued(text)
            display.queued.append(text)
        else:
            self._submit([text], "typed")

    def _submit(self, prompts: Sequence[str], source: str) -> None:
        display = self._display
        for prompt in prompts:
            told = display.hooks.told()
            display.note(PROMPT_LOG, prompt=prompt, **({"told": told} if told else {}))
            display.hooks.fire("UserPromptSubmit", prompt=prompt)
            display.transcript.prompt(prompt, source)
            display.say("user", prompt)
        self._turns.begin(prompts)

    def _submit_queued(self) -> None:
        display = self._display
        prompts = list(display.queued)
        display.queued.clear()
        for _ in prompts:
            display.transcript.dequeued()
        if prompts:
            self._submit(prompts, "queued")
        display.repaint()

    def _escape(self) -> None:
        display = self._display
        if display.busy:
            self._turns.interrupt()
        elif not self._twice(Key.ESCAPE, "Esc again to clear" if display.draft.shown else ""):
            return
        elif display.draft.shown:
            display.draft.clear()
        else:
            display.dialog = OpenDialog(_REWIND, self._leave_rewind)

    def _control_c(self) -> None:
        if self._display.busy:
            self._turns.interrupt()
            return
        if self._display.draft.shown and self._pressed_once is Key.CTRL_C:
            return  # Claude Code takes it for the second press, and does not leave because of the draft
        self._display.draft.clear()
        if self._twice(Key.CTRL_C, "Press Ctrl-C again to exit"):
            self._end("prompt_input_exit", 0)

    def _twice(self, key: Key, hint: str) -> bool:
        """True when the same key was pressed shortly before; otherwise says so in the hint for that time."""
        if self._pressed_once is key:
            self._forget_key()
            return True
        self._pressed_once = key
        self._display.hint = hint
        self._display.loop.later(_TWICE_S, self._forget_key)
        return False

    def _forget_key(self) -> None:
        self._pressed_once = None
        self._display.hint = ""
        self._display.repaint()

    def _leave_rewind(self, _: int | None) -> None:
        self._display.dialog = None


def _pending_input() -> bytes:
    os.set_blocking(0, False)
    try:
        return os.read(0, _PIECE_BYTES)
    except BlockingIOError:
        return b""
    finally:
        os.set_blocking(0, True)


def _press_in_dialog(dialog: OpenDialog, each: Input) -> None:
    """Enter takes the option with the pointer and a digit its own; all other text is lost."""
    match each:
        case Key.ENTER:
            dialog.choose(dialog.view.chosen)
        case Key.UP | Key.DOWN:
            dialog.move(1 if each is Key.DOWN else -1)
        case Key.ESCAPE | Key.CTRL_C:
            dialog.choose(None)
        case TypedKey(text) if text.isdecimal() and 1 <= int(text) <= len(dialog.view.options):
            dialog.choose(int(text) - 1)
