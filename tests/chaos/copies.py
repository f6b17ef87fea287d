"""Reads a team's state, in the file and in its mirror in Redis, past the code that writes them: how they are laid out
is spelled out here once more.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgpack
from redis.asyncio import Redis

from actors.home import Home

_CHECKSUM_BYTES = 4
_RECEIPT = "receipt/"
_INSTANCE = "instance/"
_EVENT = "event/"
_DUE = "due-event/"
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Records by key."""

    file: Mapping[str, bytes]
    redis: Mapping[str, bytes]


async def read(home: Home, redis_url: str) -> Copies | None:
    """None while the team keeps no state that outlives it. The Redis holds nobody else's."""
    if not home.state_file.exists():
        return None
    return Copies(file=await asyncio.to_thread(in_file, home), redis=await _in_redis(redis_url))


def statuses(records: Mapping[str, bytes]) -> dict[str, str]:
    """The status in each stored receipt, by message id."""
    return {
        key.removeprefix(_RECEIPT): str(msgpack.unpackb(record[1:])["status"])
        for key, record in records.items()
        if key.startswith(_RECEIPT)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event of the team."""

    number: int
    kind: str
    message_id: str = ""
    status: str = ""
    """Of the message."""
    instance_id: str = ""
    parent_id: str = ""


def events(records: Mapping[str, bytes]) -> list[Told]:
    """In the order of their numbers."""
    found = [
        (int(key.removeprefix(_EVENT)), msgpack.unpackb(record[1:]))
        for key, record in records.items()
        if key.startswith(_EVENT)
    ]
    return [
        Told(
            number=number,
            kind=told["kind"],
            **{name: told.get(name, "") for name in ("message_id", "status", "instance_id", "parent_id")},
        )
        for number, told in sorted(found, key=lambda each: each[0])
    ]


def due_events(records: Mapping[str, bytes]) -> int:
    """How many have happened and have no number yet."""
    return sum(key.startswith(_DUE) for key in records)


def places(records: Mapping[str, bytes]) -> dict[str, str]:
    """Instance by the name of its private directory, which is another one when it was a spare agent before."""
    return {str(each["spare"] or each["instance_id"]): str(each["instance_id"]) for each in _instances(records)}


def names(records: Mapping[str, bytes]) -> list[str]:
    """Of instances that have one, also of those that have ended."""
    return [str(each["name"]) for each in _instances(records) if each.get("name")]


def _instances(records: Mapping[str, bytes]) -> list[Mapping[str, Any]]:
    return [msgpack.unpackb(record[1:]) for key, record in records.items() if key.startswith(_INSTANCE)]


def in_file(home: Home) -> dict[str, bytes]:
    """Blocks."""
    database = sqlite3.connect(f"{home.state_file.as_uri()}?mode=ro", uri=True)
    try:
        return dict(database.execute("SELECT key, value FROM records").fetchall())
    finally:
        database.close()


async def _in_redis(url: str) -> dict[str, bytes]:
    async with asyncio.timeout(_ANSWER_S), Redis.from_url(url) as client:
        found: dict[bytes, bytes] = {}
        async for key in client.scan_iter(match="{phalanx:*}:records"):
            found.update(cast("dict[bytes, bytes]", await client.hgetall(key)))
    return {key.decode(): sealed[_CHECKSUM_BYTES:] for key, sealed in found.items()}
