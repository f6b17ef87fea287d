"""What a client in control mode prints, as tmux 3.3a does, and what is read out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.terminal.control_text import Answer, Reader, question

MARK = "phalanx-0123"
ATTACHED = "%begin 1795 277 0\n%end 1795 277 0\n%session-changed $0 agent\n"
SCREENS = st.lists(
    st.sampled_from(["", "text", "%begin 1 2 1", "%end 1 2 1", "%error 1 2 1", "%exit", "%end 7 41 1", "phalanx-"])
)


def block(number: int, text: str, end: str = "%end") -> str:
    return f"%begin 7 {number} 1\n{text}{end} 7 {number} 1\n"


def read(*printed: str) -> Answer | None:
    reader = Reader()
    for each in printed:
        reader.feed(each.encode())
    return reader.take(MARK)


@given(SCREENS, SCREENS)
def test_an_answer_is_what_the_commands_printed_whatever_it_looks_like(first: list[str], second: list[str]) -> None:
    screens = ["".join(f"{line}\n" for line in lines) for lines in (first, second)]
    printed = ATTACHED + block(40, screens[0]) + "%window-renamed @0 x\n" + block(41, screens[1])
    assert read(printed + block(42, f"{MARK}\n")) == Answer(text="".join(screens), error="")


def test_the_error_of_a_chain_is_told_apart_from_what_was_printed_before() -> None:
    printed = block(40, "text\n") + block(41, "can't find pane: %99\n", "%error") + block(42, f"{MARK}\n")
    assert read(printed) == Answer(text="text\n", error="can't find pane: %99")


def test_what_tmux_prints_between_the_blocks_is_no_answer() -> None:
    printed = "/x: No such file\n" + block(40, "") + "%exit\n" + block(42, f"{MARK}\n")
    assert read(printed) == Answer(text="", error="")


@given(st.integers(min_value=1, max_value=60))
def test_an_answer_is_only_taken_when_it_is_complete(size: int) -> None:
    printed = block(40, "text\n") + block(42, f"{MARK}\n")
    reader = Reader()
    for at in range(0, len(printed), size):
        assert reader.take(MARK) is None
        reader.feed(printed[at : at + size].encode())
    assert reader.take(MARK) == Answer(text="text\n", error="")


def test_each_question_gets_its_own_answer() -> None:
    reader = Reader()
    for number, text in enumerate(("first", "second")):
        reader.feed((block(40 + 2 * number, f"{text}\n") + block(41 + 2 * number, f"{MARK}\n")).encode())
        assert reader.take(MARK) == Answer(text=f"{text}\n", error="")


@pytest.mark.parametrize(
    ("printed", "expected"),
    [(ATTACHED, True), ("%begin 1 2 0\nx\n%error 1 2 0\n", False), ("%exit\n", False), ("%begin 1 2 0\n", None)],
)
def test_whether_a_client_has_attached_is_read_from_the_first_end(printed: str, expected: bool | None) -> None:
    reader = Reader()
    reader.feed(printed.encode())
    assert reader.attached() is expected


def test_words_are_said_so_that_tmux_takes_them_as_they_stand() -> None:
    assert question(["if-shell", "#{pane_dead}", "a ; b", ";", "%1"], MARK) == (
        b"'if-shell' '#{pane_dead}' 'a ; b' ; '%1'\ndisplay-message -p 'phalanx-0123'\n"
    )


@pytest.mark.parametrize("word", ["it's", "two\nlines", "\x00"])
def test_what_cannot_be_said_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="cannot stand"):
        question(["display-message", word], MARK)
