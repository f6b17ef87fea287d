"""What every store does, whatever keeps the records."""

from __future__ import annotations

import asyncio

import pytest

from actors.errors import StateHeldError
from supervisor.store.base import StateStore
from tests.integration.store.conftest import SHARED, Reopen, StoreMaker

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


async def test_records_come_back_under_their_prefix_in_the_order_of_their_keys(store: StateStore) -> None:
    await store.save({"message/2": b"two", "instance/1": b"i", "message/10": b"ten"})

    loaded = await store.load("message/")

    assert list(loaded.items()) == [("message/10", b"ten"), ("message/2", b"two")]


async def test_an_empty_prefix_is_all_there_is(store: StateStore) -> None:
    await store.save({"a": b"1", "b": b"2"})

    assert await store.load("") == {"a": b"1", "b": b"2"}


async def test_a_record_that_is_saved_again_has_its_last_value(store: StateStore) -> None:
    await store.save({"key": b"first"})
    await store.save({"key": b"second"})

    assert await store.load("key") == {"key": b"second"}


async def test_what_is_deleted_is_gone_and_the_rest_stays(store: StateStore) -> None:
    await store.save({"a": b"1", "b": b"2"})
    await store.save({"c": b"3"}, ["a", "was never there"])

    assert await store.load("") == {"b": b"2", "c": b"3"}


async def test_a_deleted_record_can_be_saved_again(store: StateStore) -> None:
    await store.save({"a": b"1"})
    await store.save({}, ["a"])
    await store.save({"a": b"2"})

    assert await store.load("") == {"a": b"2"}


async def test_a_key_that_is_saved_and_deleted_at_once_is_deleted(store: StateStore) -> None:
    await store.save({"a": b"1"}, ["a"])

    assert await store.load("") == {}


@pytest.mark.parametrize("prefix", [*AWKWARD_KEYS, "", "a\U0010ffff\U0010ffff", "zz"], ids=ascii)
async def test_a_prefix_is_plain_text(store: StateStore, prefix: str) -> None:
    await store.save(dict.fromkeys(AWKWARD_KEYS, b"x"))

    assert list(await store.load(prefix)) == sorted(key for key in AWKWARD_KEYS if key.startswith(prefix))


@pytest.mark.parametrize("value", [b"", b"\x00", b"\xff\x00unknown version", bytes(range(256)) * 4096], ids=len)
async def test_a_value_comes_back_byte_for_byte_whatever_it_holds(
    store: StateStore, reopen: Reopen, value: bytes
) -> None:
    await store.save({"key": value})
    await store.save({"another": b"\x01"})

    assert (await store.load("key"))["key"] == value
    assert (await (await reopen(store)).load("key"))["key"] == value


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


async def test_each_opening_has_a_higher_epoch_and_all_the_records(store: StateStore, reopen: Reopen) -> None:
    await store.save({"kept": b"1", "deleted": b"2"})
    await store.save({}, ["deleted"])
    first = await reopen(store)
    await first.close()

    epochs = [await first.open()]
    second = await reopen(first)
    await second.close()
    epochs.append(await second.open())

    assert epochs == sorted(set(epochs))
    assert await second.load("") == {"kept": b"1"}


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
    store: StateStore, store_maker: StoreMaker, opened: list[StateStore]
) -> None:
    second = store_maker()
    opened.append(second)

    with pytest.raises(StateHeldError):
        await second.open()

    await store.save({"first": b"goes on"})
    await store.close()
    await second.open()
    assert await second.load("") == {"first": b"goes on"}
