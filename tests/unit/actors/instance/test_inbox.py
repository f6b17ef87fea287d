"""How messages gather to batches, how a batch looks in the conversation, and what of a text cannot be typed."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.instance.inbox import BatchLimits, Inbox, clean, compose, ids_in, parts_of
from actors.messages import Message
from tests.fakes.messages import message

LIMITS = BatchLimits(size=3, delay_s=0.1)


def numbered(number: int, *, immediate: bool = False, text: str = "x") -> Message:
    return message(text, str(number), immediate=immediate)


def ids(batch: tuple[Message, ...]) -> list[str]:
    return [m.id for m in batch]


@pytest.mark.parametrize(
    ("offers", "now", "taken"),
    [
        pytest.param([(10.0, 1)], 10.0, [1], id="alone after a quiet time: at once"),
        pytest.param([(10.0, 2)], 10.0, [2], id="one call: at once and together"),
        pytest.param([(10.0, 1), (10.05, 1)], 10.09, [], id="soon after another: waits for companions"),
        pytest.param([(10.0, 1), (10.05, 1)], 10.1, [2], id="not longer than the delay"),
        pytest.param([(10.0, 1), (15.0, 1)], 15.0, [2], id="nothing waits for a late companion"),
        pytest.param([(10.0, 1), (10.0, 1), (10.0, 2)], 10.0, [3, 0], id="a full batch: at once"),
    ],
)
def test_a_batch_waits_only_where_more_messages_are_likely(
    offers: list[tuple[float, int]], now: float, taken: list[int]
) -> None:
    inbox = Inbox(LIMITS)
    for at, count in offers:
        inbox.offer([numbered(number) for number in range(count)], at)
    assert [len(inbox.take(now)) for _ in taken] == taken


def test_an_immediate_message_takes_what_is_queued_before_it_along_in_order() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([numbered(1)], now=10.0)
    inbox.offer([numbered(2, immediate=True)], now=10.01)
    assert ids(inbox.take(10.01)) == ["msg_1", "msg_2"]


def test_texts_that_together_are_too_long_go_in_several_pastes() -> None:
    inbox = Inbox(BatchLimits(size=10, delay_s=0.0, bytes=10))
    inbox.offer([numbered(number, text="é" * 4) for number in range(3)], now=0.0)
    assert [ids(inbox.take(0.0)) for _ in range(3)] == [["msg_0"], ["msg_1"], ["msg_2"]]


STEP = st.one_of(
    st.tuples(st.just("offer"), st.integers(0, 30), st.booleans()),
    st.tuples(st.just("take"), st.integers(0, 0), st.booleans()),
    st.tuples(st.just("drain"), st.integers(0, 0), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 20), st.booleans()),
)
"""What is done; its number is the bytes of an offer or the hundredths of a second of a pause; the flag says
``immediate`` of an offer and whether what was taken is put back."""


@given(st.lists(STEP), st.integers(1, 4), st.integers(1, 60))
def test_whatever_happens_nothing_is_lost_doubled_overtaken_or_too_large(
    steps: list[tuple[str, int, bool]], size: int, limit_bytes: int
) -> None:
    limits = BatchLimits(size=size, delay_s=0.1, bytes=limit_bytes)
    inbox, now = Inbox(limits), 0.0
    offered: list[str] = []
    left: list[str] = []
    for what, number, flag in steps:
        if what == "offer":
            offered.append(f"msg_{len(offered)}")
            inbox.offer([numbered(len(offered) - 1, immediate=flag, text="x" * number)], now)
        elif what == "wait":
            now += number / 100
        else:
            taken = inbox.take(now) if what == "take" else inbox.drain()
            if what == "take":
                assert taken or (inbox.due_at() or now + 1.0) > now
                assert len(taken) <= size
                assert len(taken) <= 1 or sum(len(m.text) for m in taken) <= limit_bytes
            if flag and taken:
                inbox.put_back(taken)
                due_at = inbox.due_at()
                assert due_at is not None
                assert due_at <= now
            else:
                left += ids(taken)
        assert left + ids(tuple(inbox)) == offered
        assert len(inbox) == len(offered) - len(left)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), min_size=1))
def test_nobody_waits_longer_than_the_delay_and_only_who_came_soon_after_another_waits(
    calls: list[tuple[int, int]],
) -> None:
    delay_s = 0.125  # as all times here a sum of powers of two, so that no comparison depends on rounding
    inbox, now, oldest = Inbox(BatchLimits(size=100, delay_s=delay_s)), 0.0, 0.0
    for number, (count, pause) in enumerate(calls):
        now += pause / 64
        oldest = oldest if len(inbox) else now
        inbox.offer([numbered(number)] * count, now)
        soon = number > 0 and pause / 64 < delay_s
        assert inbox.due_at() == (oldest + delay_s if soon else oldest)
        inbox.take(now)


def test_what_is_withdrawn_goes_and_the_rest_keeps_its_order() -> None:
    inbox = Inbox(LIMITS)
    inbox.offer([numbered(1), numbered(2), numbered(3)], now=10.0)
    assert ids(inbox.remove({"msg_2", "msg_9"})) == ["msg_2"]
    assert ids(inbox.drain()) == ["msg_1", "msg_3"]


@pytest.mark.parametrize("text", ["/exit", "!rm", "#note", "@file", "-x", "[phalanx", "a backslash\\", "an @word"])
def test_no_text_begins_a_paste_and_its_last_word_cannot_catch_enter(text: str) -> None:
    assert compose([message(text)]) == f"[phalanx msg_a from lead]\n{text}\n"


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        (compose([message("one", "aa"), message("two\n\nlines", "bb")]).strip(), {"msg_aa", "msg_bb"}),
        ("[Image #1][Image #12] [phalanx msg_aa from lead]\nlook at", {"msg_aa"}),
        ("look at [phalanx msg_aa from lead] please", set()),
    ],
    ids=["a batch", "behind marks of images", "only mentioned"],
)
def test_ids_are_those_of_header_lines(prompt: str, ids: set[str]) -> None:
    assert ids_in(prompt) == ids


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
    assert first.startswith("[phalanx msg_a from lead]\n")


@pytest.mark.parametrize(
    ("text", "left", "removed"),
    [
        ("tab\tand\nnewline 日本語 é \u202e \u2028 \ufeff $(reboot) `x` \\", None, 0),
        ("a\x1b[2Jb\r\nc\x7f\x85\ud800", "a[2Jb\nc", 5),
    ],
)
def test_only_control_characters_are_removed_and_counted(text: str, left: str | None, removed: int) -> None:
    cleaned = clean(text)
    assert (cleaned.text, cleaned.removed) == (left or text, removed)


@given(st.text(alphabet=st.characters()))
def test_whatever_comes_in_what_is_left_can_be_pasted(text: str) -> None:
    cleaned = clean(text)
    cleaned.text.encode()
    assert not any(ord(c) < 32 and c not in "\n\t" for c in cleaned.text)
    assert len(cleaned.text) + cleaned.removed == len(text)
