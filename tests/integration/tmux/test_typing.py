"""What reaches the program in a pane, with a real tmux."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from actors.errors import PaneGoneError, TerminalError
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Key, Pane, paste_name
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import PASTE_BEGIN, PASTE_END, CallTmux, OpenReader, Run, ended, hung, shown, until
from tests.people import PtyPerson, attach_command

TEXTS = {
    "one byte": "x",
    "one newline": "\n",
    "empty lines": "\n\na\n\n\nb\n",
    "tabs": "\ta\t\tb",
    "quotes": "'a' \"b\" `c` $(touch pwned) ${HOME} #{pid} #(id) %1 \\",
    "trailing backslash": "ends with \\",
    "trailing semicolon": "ends with ;",
    "a leading hyphen": "-t %0 ; kill-server",
    "words of tmux": "Enter C-c ;\nkill-server",
    "unicode": "äöü ß 中文 한국어 e\u0301 👩‍👩‍👧‍👦 \u202eabc\u202c \u2028 \u00a0 \ufeff \U0010ffff",
    "one line of 5,000": "0123456789" * 500,
    "2,000 lines": "".join(f"line {number}\n" for number in range(2000)),
    "1 MB": "0123456789abcdé" * (1_000_000 // 16),
}

CALLS: dict[str, Callable[[Pane], Awaitable[object]]] = {
    "paste": lambda pane: pane.paste("x" * 1_000_000),
    "press": lambda pane: pane.press("Enter"),
    "capture": lambda pane: pane.capture(),
    "state": lambda pane: pane.state(),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
async def test_a_pasted_text_arrives_byte_for_byte(open_reader: OpenReader, tmux: TmuxClient, text: str) -> None:
    reader = await open_reader("agent").ready()
    await reader.pane.paste(text)
    assert await reader.pasted() == text.encode().replace(b"\n", b"\r")
    assert await tmux.run("list-buffers") == ""


async def test_the_parts_of_a_text_arrive_each_as_a_paste_of_its_own(open_reader: OpenReader, tmux: TmuxClient) -> None:
    reader = await open_reader("agent").ready()
    parts = ("one\n\ntwo ;", "#{pid} \\e -s x\n", "three")
    await reader.pane.paste(parts)
    between = PASTE_END + PASTE_BEGIN
    typed = between.join(part.encode().replace(b"\n", b"\r") for part in parts)
    await until(lambda: reader.received() == PASTE_BEGIN + typed + PASTE_END)
    assert await tmux.run("list-buffers") == ""


async def test_pastes_to_ten_panes_at_once_never_mix(open_reader: OpenReader) -> None:
    readers = [await open_reader(f"agent_{number}").ready() for number in range(10)]
    texts = [f"for {number}: {'abc' * 10_000}" for number in range(10)]
    await asyncio.gather(*(reader.pane.paste(text) for reader, text in zip(readers, texts, strict=True)))
    assert [await reader.pasted() for reader in readers] == [text.encode() for text in texts]


async def test_typing_works_from_an_event_loop_outside_the_main_thread(open_reader: OpenReader) -> None:
    reader = await open_reader("agent").ready()

    await asyncio.to_thread(asyncio.run, reader.pane.paste("text"))
    assert await reader.pasted() == b"text"


@pytest.mark.parametrize(("key", "sent"), [("Enter", b"\r"), ("Escape", b"\x1b"), ("C-c", b"\x03")])
async def test_a_key_arrives_as_its_byte(open_reader: OpenReader, key: Key, sent: bytes) -> None:
    reader = await open_reader("agent").ready()
    await reader.pane.press(key)
    await until(lambda: reader.received() == sent)


@pytest.mark.parametrize("mode", [("copy-mode",), ("clock-mode",), ("choose-tree",), ("copy-mode", "choose-tree")])
async def test_what_is_typed_passes_any_mode_that_a_person_left_open(
    open_reader: OpenReader, tmux: TmuxClient, mode: tuple[str, ...]
) -> None:
    reader = await open_reader("agent").ready()
    await enter(mode, tmux, reader.pane, reader.info.pane_id)
    await reader.pane.paste("text")
    assert await reader.pasted() == b"text"
    assert not (await reader.pane.state()).in_mode
    await enter(mode, tmux, reader.pane, reader.info.pane_id)
    await reader.pane.press("Enter")
    await until(lambda: reader.received().endswith(PASTE_END + b"\r"))
    assert not (await reader.pane.state()).in_mode


async def test_ctrl_c_interrupts_a_program_in_cooked_mode(run: Run) -> None:
    pane = run("echo ready; exec sleep 1000")
    await shown(pane, "ready")
    await pane.press("C-c")
    assert (await ended(pane)).exit_status == -signal.SIGINT


async def test_typing_to_a_pane_that_is_gone_fails_and_leaves_no_buffer(tmux: TmuxClient) -> None:
    pane = Pane(tmux, "%99")
    for call in CALLS.values():
        with pytest.raises(PaneGoneError):
            await call(pane)
    assert await tmux.run("list-buffers") == ""


async def test_typing_to_a_program_that_has_ended_is_refused_and_the_server_lives(
    run: Run, server: TmuxServer, tmux: TmuxClient
) -> None:
    """tmux 3.3a itself dies of such a paste."""
    pane = run("exit 3")
    await ended(pane)
    for name in ("paste", "press"):
        with pytest.raises(PaneGoneError, match="has ended"):
            await CALLS[name](pane)
    assert await tmux.run("list-buffers") == ""
    assert server.is_running()


async def test_typing_without_a_server_surely_typed_nothing(home: Path, call_tmux: CallTmux) -> None:
    with pytest.raises(PaneGoneError, match="phalanx up"):
        await Pane(call_tmux(home / "tmux.sock", 10.0), "%0").paste("x")


async def test_a_server_that_hangs_is_told_in_time_and_costs_neither_process_nor_file(
    server: TmuxServer, open_reader: OpenReader, call_tmux: CallTmux, home: Path
) -> None:
    reader = await open_reader("agent").ready()
    pane = Pane(call_tmux(home / "tmux.sock", 0.2), reader.info.pane_id)
    files = open_files()
    with hung(server):
        for call in CALLS.values():
            with pytest.raises(TerminalError, match=r"did not answer within 0.2 s"):
                await asyncio.wait_for(call(pane), 3)
        assert not tmux_clients()
        assert open_files() == files
    assert await TmuxClient(home / "tmux.sock").run("list-buffers") == ""
    await reader.pane.press("Escape")
    await until(lambda: reader.received() != b"")
    assert reader.received() == b"\x1b", "what was given up must not arrive late"


async def test_a_cancelled_call_ends_its_process_or_connection(server: TmuxServer, open_reader: OpenReader) -> None:
    reader = await open_reader("agent").ready()
    files = open_files()
    with hung(server):
        capture = asyncio.create_task(reader.pane.capture())
        await until(lambda: open_files() > files)
        capture.cancel()
        with suppress(asyncio.CancelledError):
            await capture
        assert capture.cancelled()
        assert not tmux_clients()
        assert open_files() == files


async def enter(mode: tuple[str, ...], tmux: TmuxClient, pane: Pane, pane_id: str) -> None:
    for command in mode:
        await tmux.run(command, "-t", pane_id)
    assert (await pane.state()).in_mode


def tmux_clients() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name().startswith("tmux")]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@asynccontextmanager
async def looking(home: Path, tmux: TmuxClient) -> AsyncIterator[PtyPerson]:
    """Somebody who looks into the session ``agent``."""
    with PtyPerson(attach_command(home / "tmux.sock", "agent"), 80, 24) as person:
        while not (await tmux.run("list-clients")).strip():  # noqa: ASYNC110 - tmux tells nobody
            await asyncio.sleep(0.01)
        yield person


async def test_a_key_is_not_pressed_when_a_person_has_pressed_one_since(
    open_reader: OpenReader, tmux: TmuxClient, home: Path
) -> None:
    reader = await open_reader("agent").ready()
    async with looking(home, tmux) as person:
        before = await reader.pane.paste("ours")
        assert before is not None
        assert before.attached
        await asyncio.to_thread(time.sleep, max(before.at + 1 - time.time(), 0))  # tmux counts whole seconds
        person.type("theirs")
        await until(lambda: reader.received().endswith(b"theirs"))
        assert not await reader.pane.press("Enter", before)
        assert reader.received().endswith(b"theirs")
        now = await reader.pane.last_key()
        assert now.at > before.at
        assert await reader.pane.press("Enter", now)
        await until(lambda: reader.received().endswith(b"\r"))


async def test_nothing_is_pasted_when_a_person_has_pressed_a_key_since(
    open_reader: OpenReader, tmux: TmuxClient, home: Path
) -> None:
    reader = await open_reader("agent").ready()
    async with looking(home, tmux) as person:
        before = await reader.pane.last_key()
        await asyncio.to_thread(time.sleep, max(before.at + 1 - time.time(), 0))  # tmux counts whole seconds
        person.type("theirs")
        await until(lambda: reader.received().endswith(b"theirs"))
        refused = paste_name()
        assert await reader.pane.paste("ours", refused, before) is None
        assert not await reader.pane.has_pasted(refused)
        assert await reader.pane.paste("ours", paste_name(), await reader.pane.last_key())
        await until(lambda: reader.received().endswith(b"ours\x1b[201~"))
        assert reader.received().count(b"ours") == 1


async def test_keys_of_ours_are_none_of_a_person(open_reader: OpenReader) -> None:
    reader = await open_reader("agent").ready()
    before = await reader.pane.paste("ours")
    assert before is not None
    assert not before.attached
    for key in ("Up", "Down", "Enter"):
        assert await reader.pane.press(key, before)
    await until(lambda: reader.received().endswith(b"\r"))
    assert await reader.pane.last_key() == before
