from __future__ import annotations

import errno
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import TerminalError
from actors.tmux.protocol import (
    ClientProtocol,
    Frame,
    FrameKind,
    FrameReader,
    OtherProtocolError,
    TmuxFrameError,
    TmuxReply,
    command_frame,
)

KINDS = st.sampled_from([kind for kind in FrameKind if kind is not FrameKind.VERSION])
ANY_FRAMES = st.lists(st.builds(Frame, KINDS, st.binary(max_size=100)))


def packed(kind: int, data: bytes = b"", *, version: int = 8, length: int | None = None) -> bytes:
    """A frame as the server sends it."""
    return struct.pack("=IIII", kind, 16 + len(data) if length is None else length, version, 4711) + data


def ints(*values: int) -> bytes:
    return struct.pack(f"={len(values)}i", *values)


def frames_in(data: bytes) -> list[Frame]:
    return list(FrameReader().feed(data))


PRINTS_XY = (
    packed(FrameKind.WRITE_OPEN, ints(1, 1, 0)),
    packed(FrameKind.WRITE, ints(1) + b"x"),
    packed(FrameKind.WRITE, ints(1) + b"y"),
    packed(FrameKind.EXIT, ints(0)),
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
    protocol = ClientProtocol(b"content")
    try:
        for piece in pieces:
            protocol.hear(piece)
    except (TmuxFrameError, OtherProtocolError, TerminalError):
        return
    assert protocol.answer is None or protocol.answer.status is not None


@given(st.lists(st.tuples(KINDS, st.binary(max_size=24))))
def test_frames_in_any_order_are_either_understood_or_refused(frames: list[tuple[FrameKind, bytes]]) -> None:
    protocol = ClientProtocol(b"content")
    said = b""
    try:
        for kind, data in frames:
            said += protocol.hear(packed(kind, data))
    except (TmuxFrameError, TerminalError):
        pass
    replies = frames_in(said)
    assert {reply.kind for reply in replies} <= {FrameKind.READ, FrameKind.READ_DONE, FrameKind.WRITE_READY}
    assert sum(reply.kind is FrameKind.READ for reply in replies) <= 1, "the content is given once"


@pytest.mark.parametrize(
    "frame",
    [
        packed(FrameKind.WRITE, length=15),
        packed(FrameKind.WRITE, length=16385),
        packed(FrameKind.WRITE, length=0),
        packed(FrameKind.WRITE, length=0x10010),
        packed(FrameKind.WRITE, ints(1) + b"x"),
        packed(FrameKind.WRITE, b"x", version=9),
        packed(FrameKind.WRITE_OPEN, ints(1)),
        packed(FrameKind.EXIT, b"x"),
        packed(FrameKind.COMMAND),
        packed(207),
        packed(99),
    ],
)
def test_what_no_server_says_is_refused(frame: bytes) -> None:
    with pytest.raises(TmuxFrameError):
        ClientProtocol(b"").hear(frame)


def test_a_server_of_another_version_has_surely_done_nothing_unless_it_had_begun_to_answer() -> None:
    with pytest.raises(OtherProtocolError, match="version 9"):
        ClientProtocol(b"").hear(packed(FrameKind.VERSION, version=9))
    with pytest.raises(TmuxFrameError):
        ClientProtocol(b"").hear(PRINTS_XY[0] + packed(FrameKind.VERSION, version=9))


def test_a_server_that_ends_is_told() -> None:
    with pytest.raises(TerminalError, match="has ended"):
        ClientProtocol(b"").hear(packed(FrameKind.SHUTDOWN))


def test_what_is_printed_is_gathered_until_the_end() -> None:
    protocol = ClientProtocol(b"")
    assert frames_in(protocol.hear(PRINTS_XY[0])) == [Frame(FrameKind.WRITE_READY, ints(1, 0))]
    for frame in PRINTS_XY[1:]:
        assert protocol.answer is None
        assert protocol.hear(frame) == b""
    assert protocol.answer == TmuxReply(status=0, output=b"xy", errors=b"")


def test_a_command_that_fails_gives_its_status_and_what_it_said() -> None:
    protocol = ClientProtocol(b"")
    said = packed(FrameKind.WRITE_OPEN, ints(2, 2, 0)) + packed(FrameKind.WRITE, ints(2) + b"no\n")
    protocol.hear(said + packed(FrameKind.EXIT, ints(1) + b"bye\0"))
    assert protocol.answer == TmuxReply(status=1, output=b"", errors=b"no\n")


def test_what_comes_after_the_end_changes_nothing() -> None:
    protocol = ClientProtocol(b"")
    assert protocol.hear(b"".join(PRINTS_XY) + packed(FrameKind.READ_OPEN, ints(3, 0) + b"-\0"))
    assert protocol.answer == TmuxReply(status=0, output=b"xy", errors=b"")


@pytest.mark.parametrize("size", [0, 1, 16364, 16365, 1_000_000])
def test_standard_input_is_given_whole_and_once(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    protocol = ClientProtocol(content)
    *pieces, end = frames_in(protocol.hear(packed(FrameKind.READ_OPEN, ints(3, 0) + b"-\0")))
    assert b"".join(piece.rest(1) for piece in pieces) == content
    assert {(piece.kind, piece.integer(0)) for piece in pieces} <= {(FrameKind.READ, 3)}
    assert end == Frame(FrameKind.READ_DONE, ints(3, 0))
    again = protocol.hear(packed(FrameKind.READ_OPEN, ints(4, 0) + b"-\0"))
    assert frames_in(again) == [Frame(FrameKind.READ_DONE, ints(4, errno.EBADF))]


def test_no_file_is_opened_for_the_server() -> None:
    protocol = ClientProtocol(b"content")
    assert frames_in(protocol.hear(packed(FrameKind.READ_OPEN, ints(3, -1) + b"/etc/passwd\0"))) == [
        Frame(FrameKind.READ_DONE, ints(3, errno.EBADF))
    ]
    assert frames_in(protocol.hear(packed(FrameKind.WRITE_OPEN, ints(4, -1, 0) + b"/tmp/x\0"))) == [
        Frame(FrameKind.WRITE_READY, ints(4, errno.EBADF))
    ]


def test_a_command_goes_as_the_words_that_it_is() -> None:
    (command,) = frames_in(command_frame(("display-message", "", "a b;", "ä\n")))
    assert command == Frame(FrameKind.COMMAND, ints(4) + b"display-message\0\0a b;\0" + "ä\n\0".encode())


def test_a_command_that_tmux_cannot_get_is_refused() -> None:
    with pytest.raises(TerminalError, match="too long"):
        command_frame(("display-message", "x" * 17_000))
    with pytest.raises(ValueError, match="null"):
        command_frame(("display-message", "x\0kill-server"))
