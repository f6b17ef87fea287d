"""A lost state file is brought back from Redis, whole or not at all, and who wrote there before can write no more."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.errors import FencedError, StoreError
from actors.home import Home
from supervisor.store import restore as program
from supervisor.store.keys import RedisKeys
from supervisor.store.mirror import MirroredStore
from supervisor.store.redis_client import RedisServer
from supervisor.store.sqlite import SqliteStore
from tests.integration.store.mirrors import in_redis, make_mirrored, until
from tests.integration.store.redis_server import RedisProcess, server

RECORDS = {
    **{f"instance/{n}": b"instance" for n in range(3)},
    **{f"message/{n}": bytes([n]) * 300 for n in range(50)},
    "request/r1": b"what came of it",
}


@pytest.fixture
def home(short_tmp: Path) -> Home:
    made = Home(short_tmp / "home")
    made.create()
    return made


def mirrored(home: Home, url: str) -> MirroredStore:
    return make_mirrored(home.state_file, url, str(home.root), home.identity)


@pytest_asyncio.fixture
async def lost(home: Home, running: RedisProcess) -> AsyncIterator[Home]:
    """A home whose file is gone; Redis has everything."""
    store = mirrored(home, running.url)
    await store.open()
    await store.save(RECORDS)
    await store.close()
    remove_state(home)
    yield home


def remove_state(home: Home) -> None:
    for file in home.root.glob("state.db*"):
        file.unlink()


def command(home: Home, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "supervisor.store.restore", str(home.root), *arguments]


def restore(home: Home, url: str, *arguments: str) -> dict[str, Any]:
    ended = subprocess.run(
        command(home, *arguments),
        env={**os.environ, "REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not ended.stderr
    answer: dict[str, Any] = json.loads(ended.stdout)
    assert answer["ok"] is (ended.returncode == 0)
    return answer


async def held(home: Home) -> dict[str, bytes]:
    store = SqliteStore(home.state_file)
    await store.open()
    found = await store.load("")
    await store.close()
    found.pop("team/restored", None)
    return found


async def test_what_would_be_restored_is_told_and_nothing_is_changed(lost: Home, running: RedisProcess) -> None:
    keys = RedisKeys.of(lost.identity)
    before = running.client.hgetall(keys.meta)

    told = restore(lost, running.url)

    assert (told["instances"], told["messages"], told["host"], told["home"]) == (3, 50, "host", str(lost.root))
    assert 0 < time.time() - told["currentAt"] < 60
    assert running.client.hgetall(keys.meta) == before
    assert not lost.state_file.exists()


async def test_a_lost_file_comes_back_and_the_team_says_how_old_it_is(lost: Home, running: RedisProcess) -> None:
    assert restore(lost, running.url, "--apply")["ok"]

    assert lost.state_file.stat().st_mode & 0o777 == 0o600
    assert await held(lost) == RECORDS
    store = mirrored(lost, running.url)
    await store.open()
    assert f"restored at {time.strftime('%Y')}" in store.health.description
    assert f"from the mirror of host:{lost.root} as it was at" in store.health.description
    await store.save({"after": b"1"})
    keys = RedisKeys.of(lost.identity)
    await until(lambda: "after" in in_redis(running.client, keys))
    assert not store.health.warning
    await store.close()


async def test_a_second_home_that_was_restored_elsewhere_fences_the_first_for_good(
    home: Home, running: RedisProcess, short_tmp: Path
) -> None:
    first = mirrored(home, running.url)
    await first.open()
    await first.save({"instance/1": b"1"})
    keys = RedisKeys.of(home.identity)
    await until(lambda: "instance/1" in in_redis(running.client, keys))
    second_home = Home(short_tmp / "second")
    second_home.create()
    (second_home.root / "phalanx-home").write_bytes((home.root / "phalanx-home").read_bytes())
    assert restore(second_home, running.url, "--apply")["ok"]

    await until(lambda: str(second_home.root) in first.health.warning)

    with pytest.raises(FencedError):
        await first.save({"instance/2": b"2"})
    await first.close()
    second = mirrored(second_home, running.url)
    await second.open()
    await second.save({"instance/3": b"3"})
    for _ in range(3):  # however often it is started
        with pytest.raises(FencedError, match=str(second_home.root)):
            await first.open()
    await until(lambda: "instance/3" in in_redis(running.client, keys))
    assert not second.health.warning
    await second.close()


async def test_a_home_that_has_a_state_or_a_supervisor_is_left_alone(home: Home, running: RedisProcess) -> None:
    store = mirrored(home, running.url)
    await store.open()
    await store.save({"a": b"1"})
    assert restore(home, running.url, "--apply")["error"]["code"] == "state_held"
    await store.close()
    refused = restore(home, running.url, "--apply")

    assert "has a state already" in refused["error"]["message"]
    assert await held(home) == {"a": b"1"}


async def test_a_damaged_file_is_refused_until_it_is_moved_away(lost: Home, running: RedisProcess) -> None:
    lost.state_file.write_bytes(b"no database")
    assert "is damaged" in restore(lost, running.url, "--apply")["error"]["message"]
    store = mirrored(lost, running.url)
    with pytest.raises(Exception, match=r"is damaged.*`phalanx restore --from-redis`"):
        await store.open()
    lost.state_file.rename(lost.root / "damaged.db")

    assert restore(lost, running.url, "--apply")["ok"]
    assert await held(lost) == RECORDS


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        ("value", "the record message/1 does not match its checksum"),
        ("missing", "a part of it is missing"),
        ("cut off", "a write was cut off"),
        ("position", "its description cannot be read"),
        ("layout", "another version of Phalanx"),
        ("emptied", "holds no state of this home.*phalanx-home"),
        ("away", "refuses connections"),
    ],
)
async def test_a_mirror_that_cannot_be_used_is_told_and_changes_nothing(
    lost: Home, running: RedisProcess, harm: str, words: str
) -> None:
    keys, client = RedisKeys.of(lost.identity), running.client
    match harm:
        case "value":
            client.hset(keys.records, "message/1", client.hget(keys.records, "message/1")[:-1] + b"7")
        case "missing":
            client.hdel(keys.records, "message/1")
        case "cut off":
            client.hset(keys.meta, "busy", "1")
        case "position":
            client.hset(keys.meta, "sequence", "many")
        case "layout":
            client.hset(keys.meta, "layout", "7")
        case "emptied":
            client.flushall()
        case "away":
            running.kill()

    refused = restore(lost, running.url, "--apply")

    assert re.search(words, refused["error"]["message"]), refused
    assert not lost.state_file.exists()


async def test_a_disk_that_fails_is_not_taken_for_redis(
    lost: Home, running: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"no space left.*state\.db"):
        await program.restore(lost, RedisServer.at(running.url), apply=True)

    assert [file.name for file in lost.root.glob("state.db*")] == ["state.db.lock"]
    assert restore(lost, running.url, "--apply")["ok"]


async def test_a_password_stands_neither_in_arguments_nor_in_answers(home: Home, short_tmp: Path) -> None:
    with server(short_tmp / "locked", password="s3cret") as redis:
        right = restore(home, redis.url)
        wrong = restore(home, redis.url.replace("s3cret", "s3cret2"))

    assert "holds no state of this home" in right["error"]["message"]
    assert "refuses the user or the password" in wrong["error"]["message"]
    assert "s3cret" not in json.dumps([right, wrong])


async def test_a_restore_that_is_killed_leaves_the_whole_file_or_none_and_can_be_repeated(
    lost: Home, running: RedisProcess
) -> None:
    begun = time.monotonic()
    assert restore(lost, running.url, "--apply")["ok"]
    whole_s = time.monotonic() - begun
    for number in range(12):
        remove_state(lost)
        process = await asyncio.create_subprocess_exec(
            *command(lost, "--apply"),
            env={**os.environ, "REDIS_URL": running.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await asyncio.sleep(whole_s * (0.6 + 0.04 * number))  # the time at which it is killed
        if process.returncode is None:
            process.kill()
        await process.wait()
        if lost.state_file.exists():
            assert await held(lost) == RECORDS
        else:
            assert restore(lost, running.url, "--apply")["ok"]
            assert await held(lost) == RECORDS
