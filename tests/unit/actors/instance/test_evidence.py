"""What records and input box of an agent prove of messages, and what of a text arrived other than it was accepted."""

from __future__ import annotations

import textwrap
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.instance.evidence import DeliveryEvidence, DraftMatch, RecentMap, changes_in, compare_draft, quoted
from actors.instance.inbox import compose, parts_of
from tests.fakes.messages import message

A, B = message(name="a"), message(name="b")
IDS_A, IDS_AB = frozenset({A.id}), frozenset({A.id, B.id})


def test_only_the_latest_ids_are_remembered() -> None:
    recent = RecentMap[str, None](limit=3)
    for one in "abcad":
        recent[one] = None
    assert list(recent) == ["c", "a", "d"]


def test_what_a_hook_reported_proves_nothing_and_what_the_transcript_shows_proves_in_every_life() -> None:
    evidence = DeliveryEvidence()
    evidence.report(compose([A, B]))
    evidence.write(compose([A]))
    assert (evidence.is_reported(IDS_AB), evidence.is_reported(IDS_A)) == (True, False)
    evidence.begin_life()
    assert not evidence.is_reported(IDS_AB)
    assert evidence.has_all([A.id])
    assert not evidence.has_all([A.id, B.id])


def test_all_is_written_when_the_transcript_shows_it_or_never_will() -> None:
    evidence = DeliveryEvidence()
    evidence.report(compose([A, B]))
    evidence.write(compose([A]))
    assert not evidence.all_written
    evidence.refuse(compose([B]), "no")
    assert evidence.all_written
    evidence.report(compose([B]))
    assert not evidence.all_written
    evidence.await_no_more()
    assert evidence.all_written


def test_a_refusal_is_of_one_paste_and_is_over_when_the_same_is_pasted_again() -> None:
    evidence = DeliveryEvidence()
    evidence.refuse(compose([A, B]), "no")
    evidence.report(compose([A, B]))
    assert (evidence.refusal(IDS_AB), evidence.refusal(IDS_A)) == ("no", "")
    evidence.begin([A, B])
    assert evidence.refusal(IDS_AB) == ""
    assert not evidence.is_reported(IDS_AB)


def test_only_what_was_expected_is_compared() -> None:
    evidence = DeliveryEvidence()
    evidence.expect([message("one\ttwo", "a")])
    evidence.write(compose([message("one    two", "a")]))
    evidence.write(compose([B]))
    assert evidence.changes(A.id) == ("1 tab turned into spaces",)
    assert evidence.changes(B.id) is None


def parts(*texts: str) -> tuple[str, ...]:
    return parts_of(compose([message(text, f"0{number}") for number, text in enumerate(texts)]))


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
