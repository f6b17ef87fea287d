"""What ``StateStore`` promises, for every store in ``conftest.BACKENDS``, whatever keeps the records."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.errors import FencedError, StateHeldError, StoreError
from supervisor.store.base import StateStore
from tests.integration.store.conftest import ON_DISK, StoreMaker, is_refused, refuse
from tests.integration.store.saver import returned_saves, saver

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


@pytest.mark.parametrize("unclosed_maker", ON_DISK, indirect=True)
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


@pytest.mark.parametrize("unclosed_maker", ON_DISK, indirect=True)
async def test_a_supervisor_that_was_replaced_can_write_nothing_more(
    store: StateStore, store_maker: StoreMaker, short_tmp: Path
) -> None:
    await store.save({"a": b"1"})
    for lock in short_tmp.glob("*.lock"):  # as on a file system whose locks do not work
        lock.unlink()
    successor = store_maker()
    epoch = await successor.open()

    with pytest.raises(FencedError, match=rf"(?i)taken.* over.*\(epoch {epoch}.*Nothing"):
        await store.save({"a": b"stray", "b": b"stray"}, ["a"])

    assert store.health.warning
    assert await successor.load("") == {"a": b"1"}


@pytest.mark.parametrize("unclosed_maker", ON_DISK, indirect=True)
async def test_whether_a_state_may_begin_is_asked_until_something_was_saved(store_maker: StoreMaker) -> None:
    for _ in range(2):
        assert await is_refused(store_maker(may_begin=refuse))
    store = store_maker()
    await store.open()
    await store.close()
    assert await is_refused(store_maker(may_begin=refuse))
    await store.open()
    await store.save({"a": b"1"})
    await store.save({}, ["a"])
    await store.close()

    assert not await is_refused(store_maker(may_begin=refuse))


@pytest.mark.parametrize("unclosed_maker", ON_DISK, indirect=True)
async def test_a_save_that_cannot_be_written_takes_no_other_with_it(store: StateStore) -> None:
    good = [asyncio.create_task(store.save({f"{number:02}": b"x"})) for number in range(20)]
    bad = asyncio.create_task(store.save({"half": b"x", "no text: \ud800": b"x"}))
    good += [asyncio.create_task(store.save({f"{number:02}": b"x"})) for number in range(20, 40)]

    with pytest.raises((StoreError, UnicodeError)):
        await bad
    await asyncio.gather(*good)
    assert list(await store.load("")) == [f"{number:02}" for number in range(40)]


@pytest.mark.parametrize("at_least", [4, 401, 1200])
@pytest.mark.parametrize("unclosed_maker", ON_DISK, indirect=True)
async def test_every_save_that_returned_survives_a_kill_and_none_is_torn(
    unclosed_maker: StoreMaker, at_least: int
) -> None:
    with saver(unclosed_maker) as process:
        returned = returned_saves(process, at_least=at_least)
    store = unclosed_maker()
    await store.open()

    for worker, last in returned.items():
        pair = await store.load(f"pair/{worker}/")
        log = [int(key.rpartition("/")[2]) for key in await store.load(f"log/{worker}/")]
        assert pair[f"pair/{worker}/a"] == pair[f"pair/{worker}/b"] == str(log[-1]).encode() * 50
        assert log[-1] in {last, last + 1}
        assert log == list(range(max(0, log[-1] - 99), log[-1] + 1))
    await store.close()
