"""What came back from Redis is believed only when it is what Redis said."""

from __future__ import annotations

from hashlib import sha1
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from supervisor.store.lineage import Position
from supervisor.store.redis import CopyDamagedError, CopyFencedError, CopyHeldError, RedisCopy, Writer


class Answering:
    """A client whose every script ends with ``answer``."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def evalsha(self, *args: object) -> Any:
        return self.answer


def copy_that_answers(answer: object) -> RedisCopy:
    return RedisCopy(cast("Redis", Answering(answer)), "team", Writer(name="home", lease_s=1))


def signed(*fields: bytes) -> list[bytes]:
    return [*fields, sha1(b"\n".join(fields), usedforsecurity=False).hexdigest().encode()]


@given(field=st.integers(0, 5), place=st.integers(0, 10**6), bit=st.integers(0, 7))
async def test_an_answer_with_one_bit_turned_is_not_believed(field: int, place: int, bit: int) -> None:
    answer = signed(b"ok", b"", b"7:token", b"whole", b"")
    if not answer[field]:
        return
    garbled = bytearray(answer[field])
    garbled[place % len(garbled)] ^= 1 << bit
    answer[field] = bytes(garbled)

    with pytest.raises(CopyDamagedError):
        await copy_that_answers(answer).claim(1)


@pytest.mark.parametrize("answer", [None, 1, b"ok", [], [1, 2], [b"ok"], signed(b"something else")], ids=repr)
async def test_an_answer_of_another_kind_is_not_believed(answer: object) -> None:
    with pytest.raises(CopyDamagedError):
        await copy_that_answers(answer).claim(1)


async def test_whoever_holds_the_copy_and_whoever_fences_us_is_named() -> None:
    with pytest.raises(CopyHeldError, match="host:/home"):
        await copy_that_answers(signed(b"held", b"host:/home")).claim(1)
    with pytest.raises(CopyFencedError, match="epoch 9"):
        await copy_that_answers(signed(b"fenced", b"9:token")).crown("8:ours", 1)


async def test_an_answer_to_another_command_is_not_taken_for_ours() -> None:
    start = Position(lineage="l", epoch=1, sequence=1)
    end = Position(lineage="l", epoch=1, sequence=2)

    with pytest.raises(CopyDamagedError, match="another command"):
        await copy_that_answers(signed(b"ok", b"l:1:1:00000000")).apply("1:x", start, end, {}, 1)
