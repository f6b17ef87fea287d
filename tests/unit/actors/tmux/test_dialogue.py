from __future__ import annotations

import errno
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import TerminalError
from actors.tmux.protocol import (
    Answer,
    Dialogue,
    Frame,
    FrameError,
    FrameReader,
    Kind,
    OtherProtocolError,
    command_frame,
)

KINDS = st.sampled_from([kind for kind in Kind if kind is not Kind.VERSION])
ANY_FRAMES = st.lists(st.builds(Frame, KINDS, st.binary(max_size=100)))


def packed(kind: int, data: bytes = b"", *, version: int = 8, length: int | None = None) -> bytes:
    """A frame as the server sends it."""
    return struct.pack("=IIII", kind, 16 + len(data) if length is None else length, version, 4711) + data


def ints(*values: int) -> bytes:
    return struct.pack(f"={len(values)}i", *values)


def frames_in(data: bytes) -> list[Frame]:
    return list(FrameReader().feed(data))


PRINTS_XY = (
    packed(Kind.WRITE_OPEN, ints(1, 1, 0)),
    packed(Kind.WRITE, ints(1) + b"x"),
    packed(Kind.WRITE, ints(1) + b"y"),
    packed(Kind.EXIT, ints(0)),
)


@given(ANY_FRAMES, st.lists(st.integers(min_value=1, max_value=40), min_size=1))
def test_frames_are_the_same_however_they_were_torn(frames: list[Frame], sizes: list[int]) -> None:
    whole = b"".join(packed(frame.kind, frame.data) for frame in frames)
    reader, size = FrameReader(), itertools.cycle(sizes)
    found: list[Frame] = []
    while whole:
        piece, whole = whole[: (cut := next(size))], whole[cut:]
        found += reader.feed(piece)
    assert found == frames


@given(st.lists(st.binary(max_size=64)))
def test_whatever_comes_is_either_understood_or_refused(pieces: list[bytes]) -> None:
    dialogue = Dialogue(b"content")
    try:
        for piece in pieces:
            dialogue.hear(piece)
    except (FrameError, OtherProtocolError, TerminalError):
        return
    assert dialogue.answer is None or dialogue.answer.status is not None


@given(st.lists(st.tuples(KINDS, st.binary(max_size=24))))
def test_frames_in_any_order_are_either_understood_or_refused(frames: list[tuple[Kind, bytes]]) -> None:
    dialogue = Dialogue(b"content")
    said = b""
    try:
        for kind, data in frames:
            said += dialogue.hear(packed(kind, data))
    except (FrameError, TerminalError):
        pass
    replies = frames_in(said)
    assert {reply.kind for reply in replies} <= {Kind.READ, Kind.READ_DONE, Kind.WRITE_READY}
    assert sum(reply.kind is Kind.READ for reply in replies) <= 1, "the content is given once"


@pytest.mark.parametrize(
    "frame",
    [
        packed(Kind.WRITE, length=15),
        packed(Kind.WRITE, length=16385),
        packed(Kind.WRITE, length=0),
        packed(Kind.WRITE, length=0x10010),
        packed(Kind.WRITE, ints(1) + b"x"),
        packed(Kind.WRITE, b"x", version=9),
        packed(Kind.WRITE_OPEN, ints(1)),
        packed(Kind.EXIT, b"x"),
        packed(Kind.COMMAND),
        packed(207),
        packed(99),
    ],
)
def test_what_no_server_says_is_refused(frame: bytes) -> None:
    with pytest.raises(FrameError):
        Dialogue(b"").hear(frame)


def test_a_server_of_another_version_has_surely_done_nothing_unless_it_had_begun_to_answer() -> None:
    with pytest.raises(OtherProtocolError, match="version 9"):
        Dialogue(b"").hear(packed(Kind.VERSION, version=9))
    with pytest.raises(FrameError):
        Dialogue(b"").hear(PRINTS_XY[0] + packed(Kind.VERSION, version=9))


def test_a_server_that_ends_is_told() -> None:
    with pytest.raises(TerminalError, match="has ended"):
        Dialogue(b"").hear(packed(Kind.SHUTDOWN))


def test_what_is_printed_is_gathered_until_the_end() -> None:
    dialogue = Dialogue(b"")
    assert frames_in(dialogue.hear(PRINTS_XY[0])) == [Frame(Kind.WRITE_READY, ints(1, 0))]
    for frame in PRINTS_XY[1:]:
        assert dialogue.answer is None
        assert dialogue.hear(frame) == b""
    assert dialogue.answer == Answer(status=0, output=b"xy", errors=b"")


def test_a_command_that_fails_gives_its_status_and_what_it_said() -> None:
    dialogue = Dialogue(b"")
    said = packed(Kind.WRITE_OPEN, ints(2, 2, 0)) + packed(Kind.WRITE, ints(2) + b"no\n")
    dialogue.hear(said + packed(Kind.EXIT, ints(1) + b"bye\0"))
    assert dialogue.answer == Answer(status=1, output=b"", errors=b"no\n")


def test_what_comes_after_the_end_changes_nothing() -> None:
    dialogue = Dialogue(b"")
    assert dialogue.hear(b"".join(PRINTS_XY) + packed(Kind.READ_OPEN, ints(3, 0) + b"-\0"))
    assert dialogue.answer == Answer(status=0, output=b"xy", errors=b"")


@pytest.mark.parametrize("size", [0, 1, 16364, 16365, 1_000_000])
def test_standard_input_is_given_whole_and_once(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    dialogue = Dialogue(content)
    *pieces, end = frames_in(dialogue.hear(packed(Kind.READ_OPEN, ints(3, 0) + b"-\0")))
    assert b"".join(piece.rest(1) for piece in pieces) == content
    assert {(piece.kind, piece.integer(0)) for piece in pieces} <= {(Kind.READ, 3)}
    assert end == Frame(Kind.READ_DONE, ints(3, 0))
    again = dialogue.hear(packed(Kind.READ_OPEN, ints(4, 0) + b"-\0"))
    assert frames_in(again) == [Frame(Kind.READ_DONE, ints(4, errno.EBADF))]


def test_no_file_is_opened_for_the_server() -> None:
    dialogue = Dialogue(b"content")
    assert frames_in(dialogue.hear(packed(Kind.READ_OPEN, ints(3, -1) + b"/etc/passwd\0"))) == [
        Frame(Kind.READ_DONE, ints(3, errno.EBADF))
    ]
    assert frames_in(dialogue.hear(packed(Kind.WRITE_OPEN, ints(4, -1, 0) + b"/tmp/x\0"))) == [
        Frame(Kind.WRITE_READY, ints(4, errno.EBADF))
    ]


def test_a_command_goes_as_the_words_that_it_is() -> None:
    (command,) = frames_in(command_frame(("display-message", "", "a b;", "ä\n")))
    assert command == Frame(Kind.COMMAND, ints(4) + b"display-message\0\0a b;\0" + "ä\n\0".encode())


def test_a_command_that_tmux_cannot_get_is_refused() -> None:
    with pytest.raises(TerminalError, match="too long"):
        command_frame(("display-message", "x" * 17_000))
    with pytest.raises(ValueError, match="null"):
        command_frame(("display-message", "x\0kill-server"))
