"""Which store a team has, by its settings. The supervisor's actor makes it here and passes it to ``build``."""

from __future__ import annotations

import socket

from actors.home import Home
from supervisor.settings import Settings
from supervisor.store.base import MayBegin, StateStore, always
from supervisor.store.mirror import MirrorClient, MirroredStore
from supervisor.store.redis_client import RedisServer
from supervisor.store.sqlite import SqliteStore


def make_store(home: Home, settings: Settings, may_begin: MayBegin = always) -> StateStore:
    """The file in the home, mirrored in the Redis of the settings, if there is one; not open yet.

    Raises ``SettingsError`` for options in the URL of Redis that cannot be used.
    """
    if settings.redis_address is None:
        return SqliteStore(home.state_file, may_begin=may_begin)
    server = RedisServer.at(settings.redis_address)
    client = MirrorClient(server, home.identity, socket.gethostname(), str(home.root))
    return MirroredStore(home.state_file, client, may_begin)
