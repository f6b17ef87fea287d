"""What every store does, whatever keeps the records."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import StateHeldError
from supervisor.store.base import StateStore
from tests.integration.store.conftest import SHARED, StoreMaker

AWKWARD_KEYS = [
    "a",
    "a%",
    "a_",
    "a*",
    "a?[b]",
    "A",
    "aé",
    "a\U0010ffff",
    "a\U0010ffffz",
    "a\ud7ff",
    "a\ue000",
    "b",
    "a:b c\n",
]


async def test_the_last_save_or_deletion_of_a_key_counts(store: StateStore) -> None:
    await store.save({"a": b"1", "b": b"1"})
    await store.save({"a": b"2"})
    assert await store.load("") == {"a": b"2", "b": b"1"}
    await store.save({"c": b"3"}, ["a", "was never there"])
    assert await store.load("") == {"b": b"1", "c": b"3"}
    await store.save({"a": b"4", "d": b"4"}, ["d"])
    assert await store.load("") == {"a": b"4", "b": b"1", "c": b"3"}


async def test_a_prefix_is_plain_text_and_keys_come_back_in_order(store: StateStore) -> None:
    await store.save(dict.fromkeys(reversed(AWKWARD_KEYS), b"x"))

    for prefix in (*AWKWARD_KEYS, "", "a\U0010ffff\U0010ffff", "zz"):
        assert list(await store.load(prefix)) == sorted(key for key in AWKWARD_KEYS if key.startswith(prefix)), prefix


async def test_a_value_comes_back_byte_for_byte_whatever_it_holds(store: StateStore, store_maker: StoreMaker) -> None:
    values = {"empty": b"", "zero": b"\x00", "unknown": b"\xff\x00unknown version", "big": bytes(range(256)) * 4096}
    await store.save(values)

    assert await store.load("") == values
    await store.close()
    again = store_maker()
    await again.open()
    assert await again.load("") == values


async def test_saves_at_the_same_time_are_all_there_and_the_last_call_wins(store: StateStore) -> None:
    saves = [store.save({f"own/{number}": b"x", "shared": str(number).encode()}) for number in range(50)]

    await asyncio.gather(*saves)

    assert len(await store.load("own/")) == 50
    assert await store.load("shared") == {"shared": b"49"}


async def test_a_save_that_was_not_waited_for_is_whole_or_not_there(store: StateStore) -> None:
    saves = [asyncio.create_task(store.save({f"{n}/a": b"x", f"{n}/b": b"x"})) for n in range(20)]
    await asyncio.sleep(0)
    for save in saves[::2]:
        save.cancel()
    await asyncio.gather(*saves, return_exceptions=True)

    for number, save in enumerate(saves):
        assert len(await store.load(f"{number}/")) in ({0, 2} if save.cancelled() else {2})


async def test_each_opening_has_a_higher_epoch_and_all_the_records(store_maker: StoreMaker) -> None:
    store = store_maker()
    epochs = [await store.open()]
    await store.save({"kept": b"1", "deleted": b"2"})
    await store.save({}, ["deleted"])
    await store.close()
    epochs.append(await store.open())
    await store.close()
    later = store_maker()
    epochs.append(await later.open())

    assert epochs == sorted(set(epochs))
    assert await later.load("") == {"kept": b"1"}


async def test_closing_what_is_not_open_changes_nothing(store_maker: StoreMaker) -> None:
    store = store_maker()
    await store.close()
    await store.open()
    await store.close()
    await store.close()


async def test_a_store_that_is_well_warns_of_nothing(store: StateStore) -> None:
    await store.save({"a": b"1"})

    assert store.health.description
    assert store.health.warning == ""


@pytest.mark.parametrize("store_maker", SHARED, indirect=True)
async def test_a_second_supervisor_is_refused_while_the_first_one_lives(
    store: StateStore, store_maker: StoreMaker
) -> None:
    second = store_maker()

    with pytest.raises(StateHeldError):
        await second.open()

    await store.save({"first": b"goes on"})
    await store.close()
    await second.open()
    assert await second.load("") == {"first": b"goes on"}
