"""The demo from start to end: options, terminal, start-up with its faults, signals, the last words."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from pathlib import Path

from actors.agents.demo.display import Display, OpenDialog
from actors.agents.demo.loop import EventLoop
from actors.agents.demo.options import DemoOptions, UsageError, read_options
from actors.agents.demo.records import HookRunner, TranscriptWriter
from actors.agents.demo.session import DemoSession
from actors.agents.demo.terminal import DialogView

_PIECE_BYTES = 65536
_TERMINATED = 143
_PASTE_ON, _PASTE_OFF = b"\x1b[?25l\x1b[?2004h", b"\x1b[?2004l\x1b[?25h"
_TRUST = DialogView(
    title="Accessing workspace:",
    body=("Quick safety check: Is this a project you created or one you trust?",),
    question="",
    options=("Yes, I trust this folder", "No, exit"),
    hint="Enter to confirm · Esc to cancel",
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
    loop = EventLoop()
    display = Display(options, loop, HookRunner(options, transcript.path), transcript)
    return _in_raw_terminal(DemoProgram(display))


def _transcript(options: DemoOptions) -> TranscriptWriter:
    path = options.directory / "transcripts" / f"{options.session_id}.jsonl"
    if options.resume and not path.exists():
        raise UsageError(f"No conversation found with session ID: {options.session_id}")
    if not options.resume and path.exists():
        raise UsageError(f"Error: Session ID {options.session_id} is already in use.")
    return TranscriptWriter(path, options.session_id, options.cwd)


def _in_raw_terminal(program: DemoProgram) -> int:
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # what was typed before stays in the terminal's buffer
    os.write(1, _PASTE_ON)
    try:
        return program.run()
    finally:
        os.write(1, _PASTE_OFF)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class DemoProgram:
    def __init__(self, display: Display) -> None:
        self._display = display
        self._session = DemoSession(display, lambda: self._end("prompt_input_exit", 0))

    def run(self) -> int:
        loop = self._display.loop
        loop.on_signals(
            (signal.SIGTERM, lambda: self._end("other", _TERMINATED)),
            (signal.SIGHUP, lambda: self._end("other", _TERMINATED)),
            (signal.SIGWINCH, self._display.repaint),
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
        """From now on the input box is there."""
        self._display.say("program", "Demo agent: answers every message, see @@demo")
        if self._display.options.resume:
            for kind, text in self._display.transcript.exchanges():
                self._display.say("user" if kind == "user" else "agent", text)
        self._session.take_early(_pending_input())
        self._listen()

    def _listen(self) -> None:
        self._display.loop.on_readable(0, self._read)
        self._display.repaint()

    def _read(self) -> None:
        data = os.read(0, _PIECE_BYTES)
        if data:
            self._session.take(data)
        else:
            self._end("other", 0)

    def _end(self, reason: str, status: int) -> None:
        self._display.ended = True
        self._display.hooks.fire("SessionEnd", reason=reason)
        if self._display.transcript.path.exists():
            words = f"Resume this session with:\r\ndemo --resume {self._display.options.session_id}"
            os.write(1, f"\r\n\x1b[2m{words}\x1b[0m\r\n".encode())
        self._display.loop.stop(status)


def _pending_input() -> bytes:
    os.set_blocking(0, False)
    try:
        return os.read(0, _PIECE_BYTES)
    except BlockingIOError:
        return b""
    finally:
        os.set_blocking(0, True)
