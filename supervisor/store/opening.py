"""Makes the store that a team's settings ask for."""

from __future__ import annotations

import socket

from actors.home import Home
from supervisor.settings import Settings
from supervisor.store.base import MayBegin, StateStore, always
from supervisor.store.redis import RedisCopy, Writer
from supervisor.store.redis_client import RedisServer, connect
from supervisor.store.replicated import RedisReplica, Replicated
from supervisor.store.replicator import RetrySchedule
from supervisor.store.sqlite import SqliteStore

LEASE_S = 15.0
"""How long a supervisor that crashed keeps others, on other homes or hosts, from its team's state in Redis."""


def make_store(home: Home, settings: Settings, may_begin: MayBegin = always) -> StateStore:
    """The file in the home, with a second copy in Redis when the settings name one; not opened yet.

    Raises ``SettingsError`` for options in the URL of Redis that cannot be used.
    """
    if settings.redis_address is None:
        return SqliteStore(home.state_file, may_begin=may_begin)
    server = RedisServer.at(settings.redis_address)
    writer = Writer(name=f"{socket.gethostname()}:{home.root}", lease_s=LEASE_S)
    copy = RedisCopy(connect(server), home.identity, writer)
    return Replicated(home.state_file, RedisReplica(copy=copy, server=server), RetrySchedule(), may_begin)


async def open_store(home: Home, settings: Settings) -> StateStore:
    """``make_store``, opened. Raises as ``StateStore.open`` does."""
    store = make_store(home, settings)
    await store.open()
    return store
