"""Which copy a team starts with: the one that has everything, and none when that cannot be known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from actors.errors import StoreError
from supervisor.store.replicated import Replicated
from tests.integration.store.copies import KEYS, copies_agree, crash, in_redis, make_replicated, until
from tests.integration.store.proxy import proxy
from tests.integration.store.redis_server import RedisProcess


@pytest.fixture
def path(short_tmp: Path) -> Path:
    (short_tmp / "home").mkdir()
    return short_tmp / "home/state.db"


async def opened(path: Path, url: str) -> Replicated:
    store = make_replicated(path, url)
    await store.open()
    return store


def restore(path: Path, backup: Path) -> None:
    shutil.rmtree(path.parent)
    shutil.copytree(backup, path.parent)


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(content)


async def test_a_backup_of_the_file_is_replaced_by_what_redis_has_and_kept(
    running: RedisProcess, path: Path, short_tmp: Path
) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"old", "gone": b"1"})
    await store.close()
    shutil.copytree(path.parent, short_tmp / "backup")
    store = await opened(path, running.url)
    await store.save({"a": b"new"}, ["gone"])
    await store.close()
    restore(path, short_tmp / "backup")

    store = await opened(path, running.url)

    assert await copies_agree(store, running.client) == {"a": b"new"}
    assert [kept.name for kept in path.parent.glob("*superseded*")]
    await store.close()


async def test_a_damaged_file_is_moved_aside_and_made_anew_from_redis(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await store.save({f"message/{number}": b"x" * 100 for number in range(100)})
    held = await store.load("")
    await store.close()
    spoil(path)

    store = await opened(path, running.url)

    assert await copies_agree(store, running.client) == held
    assert path.with_name("state.db.damaged-1").exists()
    await store.close()


async def test_a_damaged_file_without_redis_is_a_refusal_that_says_what_to_do(
    running: RedisProcess, path: Path
) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    await store.close()
    spoil(path)
    running.kill()

    with pytest.raises(StoreError, match=r"refuses connections.*Mend Redis first"):
        await opened(path, running.url)

    running.start()
    store = await opened(path, running.url)
    assert await store.load("") == {"a": b"1"}
    await store.close()


@pytest.mark.parametrize("loss", ["damaged", "lost"])
async def test_redis_does_not_stand_in_for_a_file_that_had_more(running: RedisProcess, path: Path, loss: str) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    running.kill()
    await store.save({"b": b"only in the file"})
    await crash(store)
    if loss == "lost":
        for part in path.parent.glob("state.db*"):
            if "ahead-of-redis" not in part.name:
                part.unlink()
    else:
        spoil(path)
    running.start()

    with pytest.raises(StoreError, match="lacks what was written last"):
        await opened(path, running.url)

    assert in_redis(running.client) == {"a": b"1"}
    path.with_name("state.db-ahead-of-redis").unlink()
    store = await opened(path, running.url)
    assert await copies_agree(store, running.client) == {"a": b"1"}
    await store.close()


async def test_the_note_that_redis_lags_goes_when_redis_has_caught_up(running: RedisProcess, path: Path) -> None:
    note = path.with_name("state.db-ahead-of-redis")
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    assert not note.exists()
    running.kill()
    await store.save({"b": b"2"})
    assert note.exists()
    assert note.stat().st_mode & 0o777 == 0o600
    running.start()
    await copies_agree(store, running.client)

    await until(lambda: not note.exists())
    await store.close()


async def parted(running: RedisProcess, path: Path, short_tmp: Path) -> None:
    """A supervisor went on with an old backup while Redis, which has more, was away."""
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    await store.close()
    shutil.copytree(path.parent, short_tmp / "backup")
    store = await opened(path, running.url)
    await store.save({"b": b"only in redis"})
    await store.close()
    restore(path, short_tmp / "backup")
    running.kill()
    store = await opened(path, running.url)
    for number in range(10):
        await store.save({f"c/{number}": b"only in the file"})
    running.start()
    await until(lambda: "has parted" in store.health.warning)
    await store.save({"d": b"the team goes on"})
    assert "c/0" not in in_redis(running.client)
    await store.close()


async def test_copies_that_have_parted_are_both_left_alone_until_somebody_chooses_the_file(
    running: RedisProcess, path: Path, short_tmp: Path
) -> None:
    await parted(running, path, short_tmp)

    with pytest.raises(StoreError, match="has parted") as refusal:
        await opened(path, running.url)

    assert in_redis(running.client)["b"] == b"only in redis"
    assert f"redis-cli DEL '{KEYS.meta}'" in str(refusal.value)
    running.client.delete(KEYS.meta)
    store = await opened(path, running.url)
    held = await copies_agree(store, running.client)
    assert "b" not in held
    assert held["d"] == b"the team goes on"
    await store.close()


async def test_copies_that_have_parted_are_both_left_alone_until_somebody_chooses_redis(
    running: RedisProcess, path: Path, short_tmp: Path
) -> None:
    await parted(running, path, short_tmp)
    with pytest.raises(StoreError, match=r"move the home's state.db and every state.db-\* beside it away"):
        await opened(path, running.url)

    for part in [path, *path.parent.glob("state.db-*")]:
        part.rename(short_tmp / part.name)

    store = await opened(path, running.url)
    assert await copies_agree(store, running.client) == {"a": b"1", "b": b"only in redis"}
    await store.close()


async def test_a_file_of_another_team_is_not_mixed_with_the_copy(
    running: RedisProcess, path: Path, short_tmp: Path
) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    await store.close()
    running.kill()
    other = short_tmp / "other/state.db"
    other.parent.mkdir()
    store = await opened(other, running.url)
    await store.save({"z": b"1"})
    await store.close()
    running.start()

    with pytest.raises(StoreError, match="has parted"):
        await opened(other, running.url)


async def test_a_copy_that_is_garbled_on_its_way_is_read_again_or_refused_whole(
    running: RedisProcess, path: Path, short_tmp: Path
) -> None:
    store = await opened(path, running.url)
    await store.save({f"message/{number}": bytes([number % 256]) * 300 for number in range(2000)})
    held = await store.load("")
    await store.close()
    refused = 0
    async with proxy(running.port) as way:
        way.faults.garbled_to_client = 0.15
        for attempt in range(60):
            if attempt >= 12 and refused < attempt:
                break
            home = short_tmp / f"machine{attempt}"
            home.mkdir()
            store = make_replicated(home / "state.db", way.url)
            try:
                await store.open()
            except StoreError:
                refused += 1
                continue
            # Where not even the first look arrived the team begins without Redis, and says so.
            assert await store.load("") == (held if not store.health.warning or await store.load("") else {})
            await crash(store)

        assert way.garbled
    assert in_redis(running.client) == held
    assert refused < 60


async def test_a_file_that_was_alone_for_a_while_is_the_one_that_has_all(running: RedisProcess, path: Path) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1", "b": b"1"})
    await store.close()
    alone = store._file.__class__(path)
    await alone.open()
    await alone.save({"a": b"2"}, ["b"])
    await alone.close()

    store = await opened(path, running.url)

    assert await copies_agree(store, running.client) == {"a": b"2"}
    await store.close()


async def test_a_supervisor_that_died_after_it_was_let_in_does_not_make_an_old_copy_the_newer_one(
    running: RedisProcess, path: Path
) -> None:
    store = await opened(path, running.url)
    await store.save({"a": b"1"})
    running.kill()
    await store.save({"a": b"2"})
    await crash(store)
    running.start()
    running.client.hset(KEYS.meta, "fence", "41:elsewhere")

    store = make_replicated(path, running.url)

    assert await store.open() == 42
    assert await copies_agree(store, running.client) == {"a": b"2"}
    await store.close()
