from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.instance.inbox import clean, compose, ids_in, parts_of
from actors.messages import Message


def message(text: str, message_id: str = "msg_0a1b2c") -> Message:
    return Message(id=message_id, instance_id="spec_0_0_1", sender="lead", text=text, immediate=False, accepted_at=0.0)


@pytest.mark.parametrize("text", ["/exit", "!rm -rf .", "#note", "@file", "-x", "[phalanx"])
def test_no_text_can_stand_at_the_start_of_a_paste(text: str) -> None:
    assert compose([message(text)]).startswith("[phalanx msg_0a1b2c from lead]\n")


@pytest.mark.parametrize("text", ["ends in a backslash\\", "ends in @word", "plain"])
def test_a_paste_ends_in_a_newline_so_that_its_last_word_cannot_catch_enter(text: str) -> None:
    assert compose([message(text)]).endswith(f"{text}\n")


def test_the_ids_of_a_batch_are_found_in_the_prompt_that_the_agent_reports() -> None:
    batch = [message("one", "msg_aa"), message("two\n\nlines", "msg_bb")]
    assert ids_in(compose(batch).strip()) == {"msg_aa", "msg_bb"}


def test_the_ids_are_found_behind_the_marks_of_attached_images() -> None:
    assert ids_in("[Image #1][Image #12] [phalanx msg_aa from lead]\nlook at") == {"msg_aa"}


def claude_takes_for_images(paste: str) -> list[str]:
    """As Claude Code does: it splits a paste before each path, and unquotes what it finds."""
    found = []
    for piece in re.split(r" (?=/|[A-Za-z]:\\)", paste):
        trimmed = piece.strip(string.whitespace + "\ufeff\xa0\u3000\u2028")
        bare = trimmed[1:-1] if trimmed[:1] in ("'", '"') and trimmed.endswith(trimmed[0]) else trimmed
        name = re.sub(r"\\(.)", r"\1", bare.replace("\\\\", "\0")).replace("\0", "\\")
        if re.search(r"\.(png|jpe?g|gif|webp)$", name, re.IGNORECASE):
            found.append(piece)
    return found


WORDS = st.sampled_from(
    [
        "/a/b.png",
        "/x.JPEG",
        "shot.webp",
        "c.\\gif",
        ".jpg\\",
        "see",
        " ",
        "  ",
        "\n",
        "C:\\x",
        "/etc",
        "\ufeff",
        '"',
        "\\",
    ]
)


@given(st.lists(WORDS).map("".join) | st.lists(WORDS).map(" ".join))
def test_no_part_of_a_paste_holds_what_claude_code_takes_for_an_image(text: str) -> None:
    paste = compose([message(text)])
    parts = parts_of(paste)
    assert "".join(parts) == paste
    assert all(parts)
    assert [claude_takes_for_images(part) for part in parts] == [[]] * len(parts)


@pytest.mark.parametrize(
    ("text", "last_parts"),
    [
        ("look at /tmp/shot.png", ["look at /tmp/shot.", "png\n"]),
        ("one\nis /a.gif /b.png?", ["is /a.", "gif /b.png?\n"]),
        ("one\nis /a.gif /b.png?\nthree\n\nfour", ["is /a.", "gif /b.png?\n", "three\n\nfour\n"]),
        ("x" * 900 + " /a.png /b " + "y" * 900, ["/a.", "png ", "/b " + "y" * 900 + "\n"]),
        ("/tmp/shot.png is fine", []),
        ("a.pngs /x", []),
    ],
)
def test_a_paste_is_cut_only_in_the_extension_of_an_image_and_around_its_line(text: str, last_parts: list[str]) -> None:
    first, *others = parts_of(compose([message(text)]))
    assert others == last_parts
    assert first.startswith("[phalanx msg_0a1b2c from lead]\n")


def test_an_id_that_is_only_mentioned_in_a_text_is_no_proof() -> None:
    assert ids_in("look at [phalanx msg_aa from lead] please") == frozenset()


@pytest.mark.parametrize("text", ["ordinary", "tab\tand\nnewline", "日本語 é \u202e \u2028 \ufeff", "$(reboot) `x` \\"])
def test_ordinary_text_is_left_exactly_as_it_is(text: str) -> None:
    assert clean(text).text == text
    assert clean(text).removed == 0


def test_control_characters_are_removed_and_counted() -> None:
    cleaned = clean("a\x1b[2Jb\r\nc\x7f\x85\ud800")
    assert cleaned.text == "a[2Jb\nc"
    assert cleaned.removed == 5


@given(st.text(alphabet=st.characters()))
def test_whatever_comes_in_what_is_left_can_be_pasted(text: str) -> None:
    cleaned = clean(text)
    cleaned.text.encode()
    assert not any(ord(c) < 32 and c not in "\n\t" for c in cleaned.text)
    assert len(cleaned.text) + cleaned.removed == len(text)
