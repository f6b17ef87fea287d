"""Brings a lost state file back from the mirror in Redis, or says what that would bring.

A program of its own, so that no other command loads redis-py; ``phalanx restore`` runs it. The address of the Redis
comes in ``REDIS_URL``, which other users cannot read, and is never shown with its secrets. It answers with one line of
JSON on stdout::

    {"ok": true, "instances": 3, "messages": 12, "currentAt": 1796000000.0, "host": "one", "home": "/home/me/.phalanx"}
    {"ok": false, "error": {"code": "store", "message": "..."}}

Promises: nothing is changed without ``--apply``. When it ends well, the whole file is in its place and durable, and the
mirror's earlier writer can write no more. When it is killed, only a file of another name is left, and it can be run
again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import socket
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from actors.errors import PhalanxError, StoreError, to_wire
from actors.home import Home
from supervisor.store import keys
from supervisor.store.base import origin_record
from supervisor.store.mirror import MirrorClient, MirrorContent, MirrorUnusableError
from supervisor.store.redis_client import REDIS_ERRORS, RedisServer, explain
from supervisor.store.sqlite import Position, StateLock, create, examine, in_words, put_in_place

_TRIES = 3
"""A running team may write between the read and the takeover."""


async def restore(home: Home, server: RedisServer, *, apply: bool) -> MirrorContent:
    """The mirror's content; with ``apply`` it is the home's state when this returns.

    Raises ``StoreError``: a supervisor has the state (``StateHeldError``), the home has one already, or Redis does not.
    """
    client = MirrorClient(server, home.identity, socket.gethostname(), str(home.root))
    lock = StateLock(home.state_file)
    try:
        with _disk_errors(home.state_file):
            lock.take()
            present = examine(home.state_file)
        if present.sequence:
            raise StoreError(
                f"This home has a state already: {home.state_file}, with {present.sequence} writes. Nothing was "
                "restored. The team goes on with it; to have what Redis has in its place, move it and every "
                f"{home.state_file.name}-* away first."
            )
        found = await _read(client, home)
        for _ in range(_TRIES if apply else 0):
            if await _taken_over(client, home.state_file, found):
                return found
            found = await _read(client, home)
        if apply:
            raise StoreError(
                f"Redis ({server.shown}) is just being written by {found.host}:{found.home}: that team is at work. "
                "Nothing was restored. End it there first (phalanx down), or go on with it."
            )
        return found
    finally:
        lock.release()
        await client.close()


@contextlib.contextmanager
def _disk_errors(state_file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise in_words(error, state_file) from error


@contextlib.contextmanager
def _redis_errors(server: RedisServer) -> Iterator[None]:
    try:
        yield
    except REDIS_ERRORS as error:
        raise StoreError(f"Redis ({server.shown}) {explain(error, server)}. Nothing was restored.") from error


async def _read(client: MirrorClient, home: Home) -> MirrorContent:
    try:
        with _redis_errors(client.server):
            found = await client.read()
    except MirrorUnusableError as error:
        raise StoreError(f"Redis ({client.server.shown}) {error}. Nothing was restored.") from error
    if found is None or not found.position.sequence:
        raise StoreError(
            f"Redis ({client.server.shown}) holds no state of this home. It is looked for by the identity in "
            f"{home.root}/phalanx-home ({home.identity}): a home on a new disk needs that file from the old one."
        )
    return found


async def _taken_over(client: MirrorClient, state_file: Path, found: MirrorContent) -> bool:
    """Whether the mirror was still as it was read."""
    lineage = secrets.token_hex(16)
    origin = origin_record(found.host, found.home, found.current_at)
    at = Position(lineage=lineage, epoch=found.position.epoch, sequence=found.position.sequence)
    restored = state_file.with_name(f"{state_file.name}.restored")
    with _disk_errors(state_file):
        create(restored, at, {**found.records, keys.RESTORED: origin})
    try:
        with _redis_errors(client.server):
            taken = await client.hand_over(found, lineage)
        if taken:
            with _disk_errors(state_file):
                put_in_place(restored, state_file)
    finally:
        restored.unlink(missing_ok=True)
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m supervisor.store.restore", description=__doc__.partition("\n")[0])
    parser.add_argument("home", type=Path)
    parser.add_argument("--apply", action="store_true", help="restore; without it only say what that would bring")
    given = parser.parse_args(arguments)
    try:
        server = RedisServer.at(os.environ["REDIS_URL"])
        found = asyncio.run(restore(Home(given.home), server, apply=given.apply))
    except PhalanxError as error:
        print(json.dumps({"ok": False, "error": to_wire(error)}))
        return 1
    answer = {
        "ok": True,
        "instances": sum(key.startswith(keys.INSTANCE_PREFIX) for key in found.records),
        "messages": sum(key.startswith(keys.MESSAGE_PREFIX) for key in found.records),
        "currentAt": found.current_at,
        "host": found.host,
        "home": found.home,
    }
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
