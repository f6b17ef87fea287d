"""A pane as people see it from afar, and their keys that come that way, with a real tmux."""

from __future__ import annotations

import time

import pytest

from actors.errors import PaneGoneError
from actors.tmux.client import TmuxClient
from actors.tmux.pane import NamedKey, Pane, TypedText
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import OpenReader, Run, ended, shown, until

KEYS = {
    "Enter": b"\r",
    "Escape": b"\x1b",
    "Tab": b"\t",
    "BTab": b"\x1b[Z",
    "BSpace": b"\x7f",
    "DC": b"\x1b[3~",
    "Up": b"\x1b[A",
    "Left": b"\x1b[D",
    "PageDown": b"\x1b[6~",
    "C-a": b"\x01",
    "C-b": b"\x02",
    "C-y": b"\x19",
}


@pytest.mark.parametrize(("name", "sent"), KEYS.items(), ids=KEYS)
async def test_a_person_s_key_arrives_as_from_a_keyboard(open_reader: OpenReader, name: str, sent: bytes) -> None:
    reader = await open_reader("agent").ready()
    await reader.pane.type_keys([NamedKey(name)])
    await until(lambda: reader.received() == sent)


async def test_texts_and_keys_arrive_in_their_order_and_nothing_is_pasted(
    open_reader: OpenReader, tmux: TmuxClient
) -> None:
    reader = await open_reader("agent").ready()
    texts = ["-t %0 ; kill-server", "#{pid} 'ä' 中文 👩‍👩‍👧‍👦", "x" * 4000]
    for text in texts:
        await reader.pane.type_keys([TypedText(text), NamedKey("Escape"), NamedKey("Enter")])
    await until(lambda: reader.received() == b"".join(text.encode() + b"\x1b\r" for text in texts))
    assert await tmux.run("list-buffers") == ""


@pytest.mark.parametrize(
    "wrong", [TypedText(""), TypedText("a\nb"), TypedText("\x1b[A"), NamedKey("F1"), NamedKey("-l"), NamedKey("C-z")]
)
async def test_what_is_no_text_and_no_key_is_not_typed(open_reader: OpenReader, wrong: TypedText | NamedKey) -> None:
    reader = await open_reader("agent").ready()
    with pytest.raises(ValueError, match=r"text|key"):
        await reader.pane.type_keys([TypedText("good"), wrong])
    assert reader.received() == b""


async def test_nothing_of_ours_is_typed_after_a_person_s_key_that_no_look_has_seen(open_reader: OpenReader) -> None:
    reader = await open_reader("agent").ready()
    _, before = await reader.pane.look()
    await reader.pane.type_keys([TypedText("q")])
    assert not await reader.pane.press("Enter", before)
    assert await reader.pane.paste("a message", after=before) is None
    _, since = await reader.pane.look()
    assert since.drawn_in_s(time.time()) > 0
    assert await reader.pane.press("Enter", since)
    await until(lambda: reader.received() == b"q\r")


async def test_a_person_s_key_for_a_program_that_has_ended_is_refused_and_the_server_lives(
    run: Run, server: TmuxServer
) -> None:
    pane = run("exit 3")
    await ended(pane)
    for each in (TypedText("ls"), NamedKey("Enter")):
        with pytest.raises(PaneGoneError):
            await pane.type_keys([each])
    assert server.pid() is not None


async def test_a_view_shows_screen_cursor_and_title_without_any_command(run: Run) -> None:
    pane = run(
        r"printf '\033]2;a: title \033\\\033[1;31mred\nstill\033[0m \033(0lqk\033(B "
        r"\033]8;;http://x\033\\link\033]8;;\033\\ ready'; sleep 60"
    )
    await shown(pane, "ready")
    view, text = await pane.view()
    looked, _ = await pane.look()
    assert text.rpartition("\x1b[")[0] == looked.rpartition("\x1b[")[0]
    assert (len(view.lines), view.columns) == (view.rows, 200)
    assert view.lines[0].startswith("\x1b[")
    assert view.lines[0].endswith("red\x1b[0m")
    assert view.lines[1].startswith("\x1b[")
    assert "still\x1b[0m" in view.lines[1]
    assert "┌─┐" in view.lines[1]
    assert "\x1b]" not in view.lines[1]
    assert "link" in view.lines[1]
    assert (view.title, view.cursor is not None and view.cursor[1]) == ("a: title ", 1)


async def test_a_hidden_cursor_is_none(run: Run) -> None:
    pane = run(r"printf '\033[?25lready'; sleep 60")
    await shown(pane, "ready")
    view, _ = await pane.view()
    assert view.cursor is None


async def test_a_pane_that_is_gone_has_no_view(tmux: TmuxClient) -> None:
    with pytest.raises(PaneGoneError):
        await Pane(tmux, "%99").view()
