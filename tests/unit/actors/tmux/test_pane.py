from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import PaneGoneError, TerminalError
from actors.inotify import Inotify
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane, paste_name, watch_drawing


class RecordingTmux(TmuxClient):
    """Keeps what it is asked to run; answers, or fails, as told by the command's first word."""

    def __init__(self, answers: dict[str, str | BaseException] | None = None) -> None:
        self.calls: list[tuple[tuple[str, ...], bytes | None]] = []
        self._answers = answers or {}

    async def run(self, *args: str, stdin: bytes | None = None) -> str:
        self.calls.append((args, stdin))
        answer = self._answers.get(args[0], "")
        if isinstance(answer, BaseException):
            raise answer
        return answer


UNTYPABLE = st.characters(categories=["Cc", "Cs"], exclude_characters="\n\t")


@given(st.text(), UNTYPABLE, st.text())
def test_a_text_with_any_control_character_is_refused_before_tmux_is_asked(before: str, bad: str, after: str) -> None:
    tmux = RecordingTmux()
    with pytest.raises(ValueError, match="control characters"):
        asyncio.run(Pane(tmux, "%1").paste(before + bad + after))
    assert tmux.calls == []


@pytest.mark.parametrize("parts", ["", (), ("a", ""), ("a", "b\x1b")])
async def test_nothing_to_paste_is_refused(parts: str | tuple[str, ...]) -> None:
    tmux = RecordingTmux()
    with pytest.raises(ValueError):
        await Pane(tmux, "%1").paste(parts)
    assert tmux.calls == []


@pytest.mark.parametrize("failure", [TerminalError("no answer"), asyncio.CancelledError()])
async def test_the_buffer_of_a_paste_that_failed_is_deleted_and_the_failure_is_told(failure: BaseException) -> None:
    tmux = RecordingTmux({"load-buffer": failure, "delete-buffer": TerminalError("unknown buffer")})
    with pytest.raises(type(failure)):
        await Pane(tmux, "%1").paste("x")
    (paste, _), (cleanup, _) = tmux.calls
    assert cleanup == ("delete-buffer", "-b", paste[paste.index("-b") + 1])


async def test_a_paste_is_known_by_its_name_in_the_pane_that_took_it_last() -> None:
    name, other = paste_name(), paste_name()
    pane = Pane(RecordingTmux({"set-option": f"%1:{name}\n", "delete-buffer": TerminalError("unknown")}), "%1")
    assert (await pane.has_pasted(name), await pane.has_pasted(other)) == (True, False)


@pytest.mark.parametrize("name", ["x", "phalanx-1 ; kill-server", "phalanx-" + "0" * 31])
async def test_no_other_text_passes_for_the_name_of_a_paste(name: str) -> None:
    tmux = RecordingTmux()
    with pytest.raises(ValueError, match="not the name"):
        await Pane(tmux, "%1").paste("x", name)
    assert tmux.calls == []


@pytest.mark.parametrize("pane_id", ["", "1", "%", "%1 ; kill-server", "%1\n", "=name", "%x"])
def test_only_a_pane_id_names_a_pane(pane_id: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        Pane(RecordingTmux(), pane_id)


@pytest.mark.parametrize(
    ("answer", "pid", "dead", "exit_status"),
    [
        ("1:%1:7:0:::0:5:/dev/pts/9\n", 7, False, None),
        ("1:%1:7:1:3::0:5:/dev/pts/9\n", 7, True, 3),
        ("1:%1:7:1::9:0:5:/dev/pts/9\n", 7, True, -9),
        ("1:%1::1:3::0:5:/dev/pts/9\n", 0, True, 3),  # since 3.8 tmux does not tell the id of what has ended
    ],
)
async def test_the_state_tells_an_exit_status_from_a_signal(
    answer: str, pid: int, dead: bool, exit_status: int | None
) -> None:
    state = await Pane(RecordingTmux({"has-session": answer}), "%1").state()
    assert (state.pid, state.dead, state.exit_status) == (pid, dead, exit_status)


async def test_the_state_of_a_pane_that_tmux_does_not_find_is_gone() -> None:
    with pytest.raises(PaneGoneError):
        await Pane(RecordingTmux({"has-session": "1::::::::\n"}), "%1").state()


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal of the kernel's, without tmux."""

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


async def told_within_time(told: asyncio.Event) -> None:
    async with asyncio.timeout(5.0):
        await told.wait()
    told.clear()


async def test_what_the_program_writes_is_told_and_what_is_typed_is_not(terminal: Terminal) -> None:
    told = asyncio.Event()
    with watch_drawing(terminal.name, told.set) as can_tell:
        assert can_tell
        os.write(terminal.program, b"prompt")
        await told_within_time(told)
        os.write(terminal.master, b"typed\n")
        assert os.read(terminal.program, 100) == b"typed\n"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await told.wait()
        os.write(terminal.program, b"more")
        await told_within_time(told)


async def test_nothing_is_told_afterwards(terminal: Terminal) -> None:
    told: list[str] = []
    with watch_drawing(terminal.name, lambda: told.append("drawn")):
        pass
    again = asyncio.Event()
    os.write(terminal.program, b"late")
    with watch_drawing(terminal.name, again.set):
        os.write(terminal.program, b"again")
        await told_within_time(again)
    assert told == []


@pytest.mark.parametrize("name", ["", "/dev/pts/gone", "no inotify left"])
async def test_of_a_terminal_that_cannot_be_watched_it_says_so(
    terminal: Terminal, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "no inotify left":
        monkeypatch.setattr(Inotify, "open", lambda: None)
        name = terminal.name
    with watch_drawing(name, lambda: None) as can_tell:
        assert not can_tell


async def test_no_inotify_is_kept(terminal: Terminal) -> None:
    def held() -> int:
        opened = Path("/proc/self/fd").iterdir()
        return sum("inotify" in str(entry.readlink()) for entry in opened if entry.is_symlink())

    before = held()
    for _ in range(50):
        with watch_drawing(terminal.name, lambda: None):
            pass
    await asyncio.get_running_loop().shutdown_default_executor()
    assert held() == before


async def test_whoever_looks_at_a_terminal_asks_first_whether_the_pane_is_there() -> None:
    """tmux 3.2a dies, with every agent, of a query for a pane that is gone."""
    tmux = RecordingTmux({"has-session": PaneGoneError("no such pane")})
    pane = Pane(tmux, "%1")
    for look in (pane.look, pane.view, pane.state):
        with pytest.raises(PaneGoneError):
            await look()
    assert [call[:4] for call, _ in tmux.calls] == 3 * [("has-session", "-t", "%1", ";")]
