"""A client of the Redis that its sentinels name as the master just now. Used by ``redis_client`` alone.

Each new connection asks them again; a connection to a master that has become a replica ends with the first write.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool, SentinelManagedSSLConnection

from supervisor.redis_address import Watched

_SENTINEL_S = 1.0
"""Of several that are asked one after another, one may be away."""


class _MasterClient(Redis):
    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """With the sentinels' clients, which the library leaves open."""
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await asyncio.gather(*(sentinel.aclose() for sentinel in pool.sentinel_manager.sentinels))


def connect_to_master(watched: Watched, **bounds: Any) -> Redis:
    """Connects when it is used first. Raises ``TypeError`` or ``ValueError`` for options in the URL that are none."""
    options: dict[str, Any] = {**parse_url(watched.url), **bounds}
    for place in ("host", "port"):
        options.pop(place, None)
    of_sentinels: dict[str, Any] = {
        **{name: value for name, value in options.items() if name.startswith("ssl_")},
        **watched.options,
        **bounds,
        **{"socket_timeout": _SENTINEL_S, "socket_connect_timeout": _SENTINEL_S},
    }
    if options.pop("connection_class", None) is SSLConnection:
        options["connection_class"] = SentinelManagedSSLConnection
        of_sentinels["ssl"] = True
    manager: Any = Sentinel(watched.sentinels, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
    pool: Any = SentinelConnectionPool(watched.master, manager, **options)  # type: ignore[no-untyped-call]
    pool.make_connection()
    return _MasterClient.from_pool(pool)
