from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.claude_screen import read_screen, scrubbed
from actors.agents.styled import cells_of, read_rows

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "screens" / "claude"
CAPTURES = sorted(FIXTURES.glob("*/*.txt"))
RULE = "─" * 80
POINTER = "\u276f"


def words(capture: str) -> list[str]:
    return [row.text for row in read_rows(capture)]


def test_nothing_that_was_said_or_typed_stays() -> None:
    capture = f"\x1b[2m● The secret is 42 日本\n\n{RULE}\n{POINTER}\xa0my draft\n{RULE}\n  ? for shortcuts\x1b[4;11H"

    assert scrubbed(capture) == (
        f"\x1b[2m● xxx xxxxxx xx 00 ｘｘ\n\n{RULE}\n{POINTER}\xa0xx xxxxx\n{RULE}\n  ? for shortcuts\x1b[4;11H"
    )


def test_the_words_of_a_dialog_stay() -> None:
    dialog = [RULE, "  Something new", f"  {POINTER} Go", "    Stay", "  Enter to confirm"]
    assert words(scrubbed("\n".join(["● said 1", *dialog]))) == ["● xxxx 0", *dialog]


def test_of_a_screen_without_a_rule_only_the_keys_stay() -> None:
    assert words(scrubbed("secret one\nsecret two\n\nEsc to close\n\n")) == [
        "xxxxxx xxx",
        "xxxxxx xxx",
        "",
        "Esc to close",
        "",
        "",
    ]
    assert words(scrubbed("secret one\nsecret two")) == ["xxxxxx xxx", "xxxxxx xxx"]


def test_the_address_of_a_link_goes() -> None:
    assert "secret" not in scrubbed("\x1b]8;;http://secret\x1b\\link\x1b]8;;\x1b\\")


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_scrubbed_screen_reads_as_the_screen_did(path: Path) -> None:
    capture = path.read_bytes().decode()
    was, now = read_screen(capture), read_screen(scrubbed(capture))
    assert (now.composer, now.busy, bool(now.dialog)) == (was.composer, was.busy, bool(was.dialog))
    assert [sum(map(cells_of, row)) for row in words(scrubbed(capture))] == [
        sum(map(cells_of, row)) for row in words(capture)
    ]


@given(st.text(max_size=200))
def test_any_text_is_scrubbed_without_an_error(text: str) -> None:
    assert len(scrubbed(text).split("\n")) == len(text.split("\n"))
