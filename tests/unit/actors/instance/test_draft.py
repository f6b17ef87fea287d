"""Which drafts are ours to enter: what we have pasted, whole and nothing else, however the program shows it."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.instance.evidence import DraftMatch, compare_draft, quoted
from actors.instance.inbox import compose, parts_of
from actors.messages import Message


def parts(*texts: str) -> tuple[str, ...]:
    batch = [
        Message(id=f"msg_0{n}", instance_id="i", sender="lead", text=text, immediate=False, accepted_at=0.0)
        for n, text in enumerate(texts)
    ]
    return parts_of(compose(batch))


HELLO = "[phalanx msg_00 from lead]\nhello there"
LONG = "one\ntwo\nthree\nfour"


@pytest.mark.parametrize(
    ("draft", "given_parts"),
    [
        (HELLO, parts("hello there")),
        ("[phalanx msg_00 from\nlead]\nhello\nthere", parts("hello there")),
        ("[Pasted text #1 +2 lines]", parts("hello there")),
        ("[Pasted text #12 +5 lines]", parts(LONG)),
        ("[Pasted text\n#12 +5 lines]", parts(LONG)),
        ("[Pasted text #3 +5 lines]", parts(f"{LONG} \U0001f680")),
        ("[phalanx msg_00 from lead]\n\U0001f680 a=b $(x) `y` +1", parts("\U0001f680 a=b $(x) `y` +1")),
        (f"[phalanx msg_00 from lead]\n{LONG}", parts(LONG)),
        ("[phalanx msg_00 from lead]\n    é tab", parts("\te\u0301\u200b tab\ufeff")),
        ("[phalanx msg_00 from lead]\n[Pasted text #3 +9 lines]", parts("[Pasted text #3 +9 lines]")),
    ],
)
def test_our_paste_is_known_however_it_is_shown(draft: str, given_parts: tuple[str, ...]) -> None:
    assert compare_draft(draft, given_parts) is DraftMatch.WHOLE


@pytest.mark.parametrize(
    "draft",
    [
        "",
        "q)",
        f"{HELLO}q)",
        f"q)\n{HELLO}",
        HELLO[:-1],
        "[phalanx msg_00 from lead]\nhello, there",
        "[Pasted text #1 +2 lines]q)",
        "/exit[Pasted text #1 +2 lines]",
        "[Pasted text #1 +3 lines]",
        "[Pasted text #1 +2 lines][Pasted text #2 +2 lines]",
        f"{HELLO}\n{HELLO}",
        "[Image #1]",
        "there",
    ],
)
def test_anything_more_less_or_other_is_not_ours(draft: str) -> None:
    assert compare_draft(draft, parts("hello there")) is not DraftMatch.WHOLE


def test_parts_that_are_pasted_one_after_the_other_may_each_be_shown_in_its_own_way() -> None:
    cut = parts("look at /a/b/shot.png /c and\nthen\nthis\nand\nthat")
    assert len(cut) > 1
    last = "[Pasted text #2 +4 lines]"
    assert compare_draft("".join(cut), cut) is DraftMatch.WHOLE
    assert (
        compare_draft("".join(cut[:-1]) + f"[Pasted text #2 +{cut[-1].count(chr(10))} lines]", cut) is DraftMatch.WHOLE
    )
    assert compare_draft(last, cut) is not DraftMatch.WHOLE


def test_of_a_draft_that_is_taller_than_the_box_its_end_is_compared() -> None:
    cut = parts("The quick brown fox jumps over the lazy dog, " * 15 + "end.")
    rows = textwrap.wrap(cut[0], 38)
    for shown in range(1, len(rows)):
        end = "\n".join(rows[-shown:])
        assert compare_draft(end, cut, scrolled=True) is DraftMatch.WHOLE
        assert compare_draft(end, cut) is not DraftMatch.WHOLE
        assert compare_draft(f"{end}q", cut, scrolled=True) is DraftMatch.WITH_MORE
    assert compare_draft("q)", cut, scrolled=True) is DraftMatch.OTHER
    assert compare_draft(f"{cut[0][-1]} is how a person may begin, too", cut, scrolled=True) is DraftMatch.OTHER


def test_a_draft_is_quoted_shortly() -> None:
    assert quoted("q)") == "'q)'"
    assert quoted(" \n ") == "a blank draft"
    assert quoted(f"begin {'x' * 500} end") == f"'begin {'x' * 24} … {'x' * 26} end'"


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), st.sampled_from(["q", "/exit", "[x]", "日"])
)
def test_what_a_person_adds_before_or_behind_is_always_seen(text: str, typed: str) -> None:
    cut = parts(text)
    whole = "".join(cut)
    assert compare_draft(whole, cut) is DraftMatch.WHOLE
    assert compare_draft(typed + whole, cut) is not DraftMatch.WHOLE
    assert compare_draft(whole + typed, cut) is DraftMatch.WITH_MORE
