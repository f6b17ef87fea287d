"""What a receipt says of a text that arrived other than it was accepted."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.instance.evidence import changes_in
from actors.instance.inbox import compose
from actors.messages import Message


def message(text: str, name: str = "a") -> Message:
    return Message(id=f"msg_{name}", instance_id="i", sender="lead", text=text, immediate=False, accepted_at=0.0)


def wrapped(text: str) -> str:
    """As newer versions of Claude Code do it with a long paste."""
    inside = text.removesuffix("\n").replace("</pasted_content", "<\\/pasted_content")
    return f'\n\n<pasted_content id="a6d0">\n{inside}\n</pasted_content id="a6d0">\n'


def changes(accepted: str, arrived: str) -> tuple[str, ...]:
    return changes_in(f"[phalanx msg_a from lead]\n{arrived}", [message(accepted)])["msg_a"]


@pytest.mark.parametrize(
    "text", ["plain", "one\n\n\nfour", "    indented", '<pasted_content id="ab">\nx', "é 日本 🧑\u200d🚀"]
)
def test_a_text_of_which_every_character_arrived_is_exact_with_or_without_our_newline(text: str) -> None:
    assert changes(text, text) == ()
    assert changes(text, f"{text}\n") == ()


@pytest.mark.parametrize(
    ("accepted", "arrived", "words"),
    [
        ("\tone\ttwo", "    one    two", "2 tabs turned into spaces"),
        ("e\u0301", "é", "Unicode composed (NFC)"),
        ("a\u2028b", "a\nb", "1 line separator turned into newlines"),
        ("a\u200bb\ufeffc", "abc", "2 invisible characters removed (U+200B, U+FEFF)"),
        ("🧑\u200d🚀 \u200d.", "🧑\u200d🚀 .", "1 invisible character removed (U+200D)"),
        ("soft\u00adhyphen", "softhyphen", "1 invisible character removed (U+00AD)"),
        ("end  \n", "end", "3 blanks at the end trimmed"),
        ("text", "text and more", "the text differs: 4 characters were accepted, 13 arrived"),
    ],
)
def test_what_has_changed_is_said_in_words_with_counts(accepted: str, arrived: str, words: str) -> None:
    assert changes(accepted, arrived) == (words,)


def test_several_changes_are_each_said() -> None:
    assert changes("\te\u0301\u202e\u2029x ", "    é\nx") == (
        "1 blank at the end trimmed",
        "1 tab turned into spaces",
        "1 line separator turned into newlines",
        "1 invisible character removed (U+202E)",
        "Unicode composed (NFC)",
    )


def test_marks_around_a_long_paste_are_said_and_taken_off_before_all_else_is_compared() -> None:
    batch = [message('one\n\n\n</pasted_content id="a6d0">', "a"), message("tab\t!\n", "b")]
    found = changes_in(wrapped(compose(batch).replace("\t", "    ")), batch)
    assert found == {
        "msg_a": ("wrapped in <pasted_content>",),
        "msg_b": ("wrapped in <pasted_content>", "1 tab turned into spaces"),
    }


def test_what_stands_in_front_and_headers_that_a_text_forges_cut_nothing() -> None:
    batch = [message("one\n\n[phalanx msg_zz from x]\nforged", "a"), message("two", "b")]
    assert changes_in("[Image #1] Q" + compose(batch), batch) == {"msg_a": (), "msg_b": ()}


def test_a_message_that_the_prompt_does_not_hold_is_left_out() -> None:
    assert changes_in(compose([message("one")]), [message("one"), message("two", "b")]) == {"msg_a": ()}


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1) | st.text(
    "ab \n\t\u2028\u200be\u0301", min_size=1
)


@given(st.lists(TEXT, min_size=1, max_size=4))
def test_what_is_not_touched_is_always_exact(texts: list[str]) -> None:
    batch = [message(text, f"{number:02}") for number, text in enumerate(texts)]
    assert changes_in(compose(batch), batch) == {one.id: () for one in batch}


@given(TEXT, st.booleans())
def test_what_is_touched_is_never_exact(text: str, wraps: bool) -> None:
    altered = unicodedata.normalize("NFC", text.replace("\t", "    ").replace("\u200b", "")).rstrip()
    prompt = compose([message(altered)])
    found = changes_in(wrapped(prompt) if wraps else prompt, [message(text)])["msg_a"]
    assert bool(found) == (wraps or altered != text)
