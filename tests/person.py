"""A person at a terminal: a program on a real pseudo-terminal of a given size, real keys, real changes of the size.

Used to look into panes as people do: ``Person(attach_command(socket, session), 80, 24)`` and then ``type``, ``wheel``,
``resize``, ``detach``. All that the program draws is read by a thread, as a terminal does it, and kept in ``seen``.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_KEPT_BYTES = 1_000_000
_END_PATIENCE_S = 10.0
_APART_S = 0.02
"""tmux takes keys that it reads within a millisecond of each other for pasted text, in which no key has a meaning."""
_PRESS_AGAIN_S = 2.0
DETACH = "\x02d"
"""Ctrl-b d, the keys that leave tmux."""
FOCUS_IN, FOCUS_OUT = "\x1b[I", "\x1b[O"
"""What a terminal sends, when it is asked to, as its window gets or loses the keyboard."""


def attach_command(socket: Path, session: str) -> tuple[str, ...]:
    """As a person types it by hand."""
    return ("tmux", "-S", str(socket), "attach-session", "-t", f"={session}")


class Person:
    """A context manager: at its end the program is hung up on, as when a terminal's window is closed."""

    def __init__(
        self, command: Sequence[str], columns: int, rows: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._terminal, program_side = pty.openpty()
        self.resize(columns, rows)
        known = {name: value for name, value in os.environ.items() if name not in {"TMUX", "TMUX_PANE"}}
        self._program = subprocess.Popen(
            # Gives the program the terminal as its own, so that it is told of a new size.
            ["setsid", "--ctty", *command],
            stdin=program_side,
            stdout=program_side,
            stderr=program_side,
            env={**known, "TERM": "xterm-256color", "LANG": "C.UTF-8", **(environment or {})},
        )
        os.close(program_side)
        self.seen = b""
        """The last of what was drawn, as it came."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    @property
    def pid(self) -> int:
        return self._program.pid

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def wheel(self, turns: int, column: int = 10, row: int = 10) -> None:
        """Turns the mouse's wheel at a place of the window: up for positive ``turns``, down for negative ones."""
        button = 64 if turns > 0 else 65
        self.type(f"\x1b[<{button};{column};{row}M" * abs(turns))

    def click(self, column: int, row: int) -> None:
        self.type(f"\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def detach(self) -> None:
        """Leaves tmux by its keys, pressed again until they count; returns when the program has ended."""
        deadline = time.monotonic() + _END_PATIENCE_S
        while not self.has_ended():
            assert time.monotonic() < deadline, "Ctrl-b d does not detach"
            time.sleep(_APART_S)
            self.type(DETACH)
            with suppress(subprocess.TimeoutExpired):
                self._program.wait(_PRESS_AGAIN_S)

    def has_ended(self) -> bool:
        return self._program.poll() is not None

    def hang_up(self) -> None:
        """Closes the terminal; no-op when that was done. Returns when the program has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self._program.pid, signal.SIGHUP)
        try:
            self._program.wait(_END_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait(_END_PATIENCE_S)
        self._reader.join(_END_PATIENCE_S)
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def _read(self) -> None:
        while True:
            try:
                drawn = os.read(self._terminal, 65536)
            except OSError:  # the last who had the other side open has ended
                return
            if not drawn:
                return
            self.seen = (self.seen + drawn)[-_KEPT_BYTES:]
