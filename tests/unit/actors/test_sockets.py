from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import sockets
from actors.sockets import FrameError, pack, read_frame

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def read_from(data: bytes) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        found = []
        while (frame := await read_frame(reader)) is not None:
            found.append(frame)
        return found

    return asyncio.run(read())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(st.text(), VALUES), max_size=3))
def test_what_is_packed_is_read_again(given: list[dict[str, Any]]) -> None:
    assert read_from(b"".join(pack(frame) for frame in given)) == given


@given(st.binary(max_size=200))
def test_what_is_no_frame_is_refused_and_never_anything_else(data: bytes) -> None:
    with suppress(FrameError):
        read_from(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        struct.pack(">I", 10) + b"short",
        struct.pack(">I", 2) + b"\xa1x",
        struct.pack(">I", 2) + b"\x81\xa1",
        struct.pack(">I", 3) + b"\x81\x01\x02",
        struct.pack(">I", 5) + b"\x81\xa1x\xa1\xff",
        struct.pack(">I", sockets.MAX_FRAME_BYTES + 1),
    ],
)
def test_a_bad_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        read_from(data)


@pytest.mark.parametrize("frame", [{"x": "\ud800"}, {"x": 2**64}, {"x": object()}])
def test_what_msgpack_cannot_carry_is_refused(frame: dict[str, Any]) -> None:
    with pytest.raises(FrameError, match="cannot be sent"):
        pack(frame)


def test_a_frame_over_the_limit_is_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 1_000_000)

    with pytest.raises(FrameError, match="3 MB, at most 1 MB"):
        pack({"x": "y" * 3_000_000})
