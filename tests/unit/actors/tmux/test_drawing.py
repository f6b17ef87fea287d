"""Being told that a program has written to its terminal, on a terminal of the kernel's without tmux."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.inotify import Inotify
from actors.tmux.pane import watch_drawing

TOLD_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Terminal:
    master: int
    program: int

    @property
    def name(self) -> str:
        return os.ttyname(self.program)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal(*pty.openpty())
    yield opened
    os.close(opened.master)
    os.close(opened.program)


async def test_what_the_program_writes_is_told(terminal: Terminal) -> None:
    told = asyncio.Event()
    with watch_drawing(terminal.name, told.set) as can_tell:
        assert can_tell
        os.write(terminal.program, b"prompt")
        await asyncio.wait_for(told.wait(), TOLD_WITHIN_S)
        told.clear()
        os.write(terminal.program, b"more")
        await asyncio.wait_for(told.wait(), TOLD_WITHIN_S)


async def test_what_is_typed_is_not_told(terminal: Terminal) -> None:
    told = asyncio.Event()
    with watch_drawing(terminal.name, told.set):
        os.write(terminal.master, b"typed\n")
        assert os.read(terminal.program, 100) == b"typed\n"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(told.wait(), 0.05)
        os.write(terminal.program, b"drawn")
        await asyncio.wait_for(told.wait(), TOLD_WITHIN_S)


async def test_nothing_is_told_afterwards(terminal: Terminal) -> None:
    told: list[str] = []
    with watch_drawing(terminal.name, lambda: told.append("drawn")):
        pass
    again = asyncio.Event()
    os.write(terminal.program, b"late")
    with watch_drawing(terminal.name, again.set):
        os.write(terminal.program, b"again")
        await asyncio.wait_for(again.wait(), TOLD_WITHIN_S)
    assert told == []


@pytest.mark.parametrize("name", ["", "/dev/pts/gone"])
async def test_of_a_terminal_that_is_not_there_it_says_that_it_cannot_tell(name: str) -> None:
    with watch_drawing(name, lambda: None) as can_tell:
        assert not can_tell


async def test_without_an_inotify_left_it_says_that_it_cannot_tell(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inotify, "open", lambda: None)
    with watch_drawing(terminal.name, lambda: None) as can_tell:
        assert not can_tell


async def test_no_inotify_is_kept(terminal: Terminal) -> None:
    def held() -> int:
        opened = Path("/proc/self/fd").iterdir()
        return sum("inotify" in str(entry.readlink()) for entry in opened if entry.is_symlink())

    before = held()
    for _ in range(50):
        with watch_drawing(terminal.name, lambda: None) as can_tell:
            assert can_tell
    await asyncio.get_running_loop().shutdown_default_executor()
    assert held() == before
