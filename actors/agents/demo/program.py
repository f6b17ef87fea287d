"""The demo from start to end: options, terminal, start-up with its faults, signals, the last words."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from pathlib import Path

from actors.agents.demo.loop import Loop
from actors.agents.demo.options import Options, UsageError, read_options
from actors.agents.demo.records import Hooks, Transcript
from actors.agents.demo.session import Session
from actors.agents.demo.stage import Dialog, Stage
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
    loop = Loop()
    stage = Stage(options, loop, Hooks(options, transcript.path), transcript)
    return _in_raw_terminal(Program(stage))


def _transcript(options: Options) -> Transcript:
    path = options.directory / "transcripts" / f"{options.session_id}.jsonl"
    if options.resume and not path.exists():
        raise UsageError(f"No conversation found with session ID: {options.session_id}")
    if not options.resume and path.exists():
        raise UsageError(f"Error: Session ID {options.session_id} is already in use.")
    return Transcript(path, options.session_id, options.cwd)


def _in_raw_terminal(program: Program) -> int:
    before = termios.tcgetattr(0)
    tty.setraw(0, termios.TCSANOW)  # what was typed before stays in the terminal's buffer
    os.write(1, _PASTE_ON)
    try:
        return program.run()
    finally:
        os.write(1, _PASTE_OFF)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class Program:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._session = Session(stage, lambda: self._end("prompt_input_exit", 0))

    def run(self) -> int:
        loop = self._stage.loop
        loop.on_signals(
            (signal.SIGTERM, lambda: self._end("other", _TERMINATED)),
            (signal.SIGHUP, lambda: self._end("other", _TERMINATED)),
            (signal.SIGWINCH, self._stage.repaint),
        )
        loop.later(self._stage.options.start_s, self._begin)
        return loop.run()

    def _begin(self) -> None:
        if "trust-dialog" in self._stage.options.faults:
            self._stage.dialog = Dialog(_TRUST, self._trust)
            self._listen()
        else:
            self._begin_session()

    def _trust(self, option: int | None) -> None:
        if option == 0:
            self._stage.dialog = None
            self._stage.loop.forget(0)
            self._begin_session()
        else:
            self._stage.loop.stop(1)

    def _begin_session(self) -> None:
        options = self._stage.options
        self._stage.hooks.fire("SessionStart", source="resume" if options.resume else "startup")
        self._stage.loop.later(float(options.faults.get("start-slow") or 0), self._open)

    def _open(self) -> None:
        """From now on the input box is there."""
        self._stage.say("program", "Demo agent: answers every message, see @@demo")
        if self._stage.options.resume:
            for kind, text in self._stage.transcript.exchanges():
                self._stage.say("user" if kind == "user" else "agent", text)
        self._session.take_early(_pending_input())
        self._listen()

    def _listen(self) -> None:
        self._stage.loop.on_readable(0, self._read)
        self._stage.repaint()

    def _read(self) -> None:
        data = os.read(0, _PIECE_BYTES)
        if data:
            self._session.take(data)
        else:
            self._end("other", 0)

    def _end(self, reason: str, status: int) -> None:
        self._stage.ended = True
        self._stage.hooks.fire("SessionEnd", reason=reason)
        if self._stage.transcript.path.exists():
            words = f"Resume this session with:\r\ndemo --resume {self._stage.options.session_id}"
            os.write(1, f"\r\n\x1b[2m{words}\x1b[0m\r\n".encode())
        self._stage.loop.stop(status)


def _pending_input() -> bytes:
    os.set_blocking(0, False)
    try:
        return os.read(0, _PIECE_BYTES)
    except BlockingIOError:
        return b""
    finally:
        os.set_blocking(0, True)
