"""People at terminals: each is a real tmux client, or ``phalanx attach``, in a terminal of a given size.

The terminal of a ``Person`` is a pane of another tmux server. What is typed there reaches the client as from a
keyboard, and what the person sees is what that pane shows, so no emulator of our own stands in between.

A ``PtyPerson`` sits at a pseudo-terminal, without a tmux of its own and without an event loop:
``PtyPerson(attach_command(socket, session), 80, 24)`` and then ``type``, ``wheel``, ``resize``, ``detach``. All that
the program draws is read by a thread, as a terminal does it, and kept in ``seen``.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import pty
import shlex
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 30.0
POLL_S = 0.1
_COMMAND_S = 60.0
_USUAL_LOAD, _MOST_PATIENCE = 4.0, 2.5
"""Processes that want to run for each core: as many are usual while scenarios are played."""
_WHEEL = {"up": 64, "down": 65}


def patient(within_s: float) -> float:
    """As much longer as the machine has more to do than this: what is waited for then takes longer, too."""
    crowd = os.getloadavg()[0] / (os.cpu_count() or 1) / _USUAL_LOAD
    return within_s * min(_MOST_PATIENCE, max(1.0, crowd))


@dataclass(slots=True)
class People:
    """``environment`` is that of the persons' shells; ``home_socket`` is the socket of the team's tmux server."""

    directory: Path
    environment: Mapping[str, str]
    home_socket: Path
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def _socket(self) -> Path:
        return self.directory / "people.sock"

    async def run(self, *words: str) -> str:
        """What tmux answers; raises ``RuntimeError`` when it refuses."""
        return await self._tmux(self._socket, *words)

    async def of_the_team(self, *words: str) -> str:
        """Asks the team's own tmux server; for what only it knows, such as how wide a pane is."""
        return await self._tmux(self.home_socket, *words)

    async def _tmux(self, socket: Path, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *("tmux", "-S", str(socket), "-f", "/dev/null", *words),
            env=dict(self.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_COMMAND_S):
            out, errors = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"tmux {words[0]}: {errors.decode().strip()}")
        return out.decode()

    async def sits_down(
        self, instance_id: str, session_name: str, size: tuple[int, int] = (80, 24), *, plain_tmux: bool = False
    ) -> Person:
        """Somebody attaches to the instance, by ``phalanx attach`` or by tmux itself."""
        command = (
            ["tmux", "-S", str(self.home_socket), "attach-session", "-t", f"={session_name}"]
            if plain_tmux
            else [str(Path(sys.executable).with_name("phalanx")), "attach", instance_id]
        )
        person = await self.runs(command, size)
        try:
            await person.until(lambda screen: "❯" in screen or "─────" in screen, "the agent's screen")
        except AssertionError:
            await person.closes_the_window()
            raise
        return person

    async def runs(self, command: Sequence[str], size: tuple[int, int]) -> Person:
        """Somebody runs a program in a terminal of this size."""
        name = f"person{next(self._numbers)}"
        width, height = size
        words = [
            "env",
            "-u",
            "TMUX",
            "-u",
            "TMUX_PANE",
            *command,
        ]  # a terminal that is no tmux, for all the program knows
        await self.run(
            *("new-session", "-d", "-s", name, "-x", str(width), "-y", str(height), shlex.join(words)),
            *(";", "set-option", "-g", "status", "off"),
            *(";", "set-option", "-wg", "remain-on-exit", "on"),
            *(";", "resize-window", "-t", f"={name}:", "-x", str(width), "-y", str(height)),
        )
        return Person(self, f"={name}:")

    async def close(self) -> None:
        with suppress(RuntimeError):  # it ends by itself when the last terminal is closed
            await self.run("kill-server")


@dataclass(frozen=True, slots=True)
class Person:
    _people: People
    _pane: str

    async def types(self, text: str) -> None:
        """Letter by letter, as from a keyboard; presses no Enter."""
        await self._people.run("send-keys", "-t", self._pane, "-l", "--", text)

    async def presses(self, *keys: str) -> None:
        """By tmux's names: Enter, Escape, C-c, BTab, Left."""
        for key in keys:
            await self._people.run("send-keys", "-t", self._pane, key)
            await asyncio.sleep(0.05)  # a terminal takes an Escape and the next key within an instant for one key

    async def scrolls(self, way: str = "up", times: int = 3) -> None:
        """Turns the wheel of the mouse."""
        turn = f"\x1b[<{_WHEEL[way]};10;10M".encode() * times
        await self._people.run("send-keys", "-t", self._pane, "-H", *(f"{byte:02x}" for byte in turn))

    async def resizes(self, width: int, height: int) -> None:
        await self._people.run("resize-window", "-t", self._pane, "-x", str(width), "-y", str(height))

    async def sees(self) -> str:
        """The rows of the terminal, without trailing blanks; a no-break space is shown as what it looks like."""
        return (await self._people.run("capture-pane", "-p", "-t", self._pane)).replace("\xa0", " ")

    async def until(
        self, condition: str | Callable[[str], object], what: str = "", within_s: float = PATIENCE_S
    ) -> str:
        """The screen once it meets the condition, or shows the words; raises ``AssertionError`` with the screen."""
        deadline = time.monotonic() + patient(within_s)
        while True:
            screen = await self.sees()
            if condition in screen if isinstance(condition, str) else condition(screen):
                return screen
            if time.monotonic() > deadline:
                wanted = what or condition
                raise AssertionError(f"the person does not see {wanted!r} within {within_s:.0f} s but:\n{rows(screen)}")
            await asyncio.sleep(POLL_S)

    async def has_left(self) -> bool:
        """The program has ended."""
        return (await self._people.run("display-message", "-p", "-t", self._pane, "#{pane_dead}")).strip() == "1"

    async def detaches(self) -> None:
        """By Ctrl-b d."""
        await self.presses("C-b", "d")
        deadline = time.monotonic() + patient(PATIENCE_S)
        while not await self.has_left():
            if time.monotonic() > deadline:
                raise AssertionError(f"Ctrl-b d does not detach:\n{rows(await self.sees())}")
            await asyncio.sleep(POLL_S)

    async def closes_the_window(self) -> None:
        """The terminal goes away under the client."""
        await self._people.run("kill-session", "-t", self._pane.rstrip(":"))


def rows(screen: str, most: int = 14) -> str:
    """The last rows that show something, for a reader of a failure."""
    shown = [row.rstrip() for row in screen.splitlines() if row.strip()]
    return "\n".join(f"  | {row[:150]}" for row in shown[-most:])


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


class PtyPerson:
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
        self._typed_at = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> PtyPerson:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    @property
    def pid(self) -> int:
        return self._program.pid

    def type(self, keys: str) -> None:
        """A moment after what was typed before."""
        time.sleep(max(0.0, self._typed_at + _APART_S - time.monotonic()))
        os.write(self._terminal, keys.encode())
        self._typed_at = time.monotonic()

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
