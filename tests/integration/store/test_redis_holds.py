"""Who may use a copy in Redis: one supervisor at a time, and who comes after one that is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from actors.errors import FencedError, StateHeldError
from tests.integration.store.copies import KEYS, PACE, copies_agree, crash, make_replicated, until
from tests.integration.store.redis_server import RedisProcess

SELDOM = replace(PACE, renew_s=60.0)
"""So that who is cut off does not take its hold again before another one has it."""


async def test_a_new_machine_gets_the_whole_state_from_redis(running: RedisProcess, short_tmp: Path) -> None:
    first = make_replicated(short_tmp / "state.db", running.url)
    await first.open()
    await first.save({f"message/{n}": str(n).encode() * 100 for n in range(3000)})
    await first.save({}, ["message/7"])
    held = await first.load("")
    await first.close()
    (short_tmp / "new").mkdir()

    second = make_replicated(short_tmp / "new/state.db", running.url, name="new")
    epoch = await second.open()

    assert await second.load("") == held
    assert epoch > 1
    await second.save({"after": b"1"})
    await copies_agree(second, running.client)
    await second.close()


async def test_another_home_is_refused_while_the_first_supervisor_lives(running: RedisProcess, short_tmp: Path) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here")
    await first.open()
    (short_tmp / "other").mkdir()
    second = make_replicated(short_tmp / "other/state.db", running.url, name="there")

    with pytest.raises(StateHeldError, match="here"):
        await second.open()

    await first.save({"first": b"goes on"})
    await first.close()
    await second.open()
    assert await second.load("") == {"first": b"goes on"}
    await second.close()


async def test_a_hold_is_renewed_for_as_long_as_its_supervisor_lives(running: RedisProcess, short_tmp: Path) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here", lease_s=0.6)
    await first.open()
    lowest = 600
    for _ in range(100):
        lowest = min(lowest, running.client.pttl(KEYS.holder))
        await asyncio.sleep(0.01)

    assert lowest > 0
    assert running.client.get(KEYS.holder) == b"here"
    await first.close()
    assert running.client.get(KEYS.holder) is None


async def test_a_supervisor_that_crashed_is_replaced_at_once_on_its_own_home(
    running: RedisProcess, short_tmp: Path
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url)
    await first.open()
    await first.save({"a": b"1"})
    await crash(first)

    second = make_replicated(short_tmp / "state.db", running.url)
    assert await second.open() == 2
    assert await second.load("") == {"a": b"1"}
    await second.close()


async def test_a_supervisor_that_crashed_is_replaced_elsewhere_when_its_hold_ends(
    running: RedisProcess, short_tmp: Path
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here", lease_s=0.5)
    await first.open()
    await first.save({"a": b"1"})
    await crash(first)
    (short_tmp / "other").mkdir()
    second = make_replicated(short_tmp / "other/state.db", running.url, name="there")
    with pytest.raises(StateHeldError):
        await second.open()

    await until(lambda: running.client.get(KEYS.holder) is None)

    await second.open()
    assert await second.load("") == {"a": b"1"}
    await second.close()


async def test_a_supervisor_that_was_replaced_while_it_was_cut_off_writes_no_more(
    running: RedisProcess, short_tmp: Path
) -> None:
    first = make_replicated(short_tmp / "state.db", running.url, name="here", pace=SELDOM)
    await first.open()
    await first.save({"a": b"1"})
    running.client.delete(KEYS.holder)
    (short_tmp / "other").mkdir()
    second = make_replicated(short_tmp / "other/state.db", running.url, name="there")
    await second.open()

    with pytest.raises(FencedError, match="epoch 2"):
        await first.save({"a": b"from the first one"})
    with pytest.raises(FencedError):
        await first.save({"b": b"and again"})

    assert "epoch 2" in first.health.warning
    await second.save({"b": b"2"})
    assert await copies_agree(second, running.client) == {"a": b"1", "b": b"2"}
    await first.close()
    assert running.client.get(KEYS.holder) == b"there"
    await second.close()
