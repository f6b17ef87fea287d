"""Reads both copies of a team's state, the file and Redis, past the code that writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgpack

from actors.home import Home
from supervisor.store import keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Records by key."""

    file: Mapping[str, bytes]
    redis: Mapping[str, bytes]


async def read(home: Home, environment: Mapping[str, str]) -> Copies | None:
    """None while a team keeps no state that outlives it."""
    return None


def statuses(records: Mapping[str, bytes]) -> dict[str, str]:
    """The status in each stored receipt, by message id."""
    prefix = keys.RECEIPT_PREFIX
    return {
        key.removeprefix(prefix): str(msgpack.unpackb(record[1:])["status"])
        for key, record in records.items()
        if key.startswith(prefix)
    }
