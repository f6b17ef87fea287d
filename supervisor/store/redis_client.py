"""A client for the Redis of the settings: one server, a cluster, or the master that sentinels name.

Used by the mirror, by ``restore`` and by the probe of ``phalanx doctor``. A URL may hold a password, so it leaves this
module only inside the client. Texts for people name the server by ``shown``; ``explain`` says what is wrong.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any

from redis import exceptions as faults
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from actors.errors import SettingsError
from supervisor.redis_url import SentinelMaster, is_cluster, password_of, single, watched, without_secrets

_SENTINEL_S = 1.0
"""They are asked one after another, and one may be away."""
CONNECT_S = 2.0
ANSWER_S = 5.0
"""The client's own limits; callers have narrower ones."""
CONNECTIONS = 4
REDIS_ERRORS = (faults.RedisError, faults.RedisClusterException, OSError)
"""Raised by a command because of the server or the connection; Python's own TimeoutError is an OSError."""
_TEXT_LIMIT_CHARACTERS = 200
_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (MasterNotFoundError, "has no master now that a sentinel names, or none of them lets this user in"),
    ((faults.TimeoutError, TimeoutError), "does not answer in time"),
    (faults.OutOfMemoryError, "is full (its maxmemory is reached)"),
    (faults.ReadOnlyError, "is a read-only replica"),
    (faults.BusyLoadingError, "is still loading its data"),
    (faults.NoPermissionError, "does not let this user do what is needed (NOPERM)"),
    (faults.MovedError, "is a node of a cluster: REDIS_URL must begin with redis+cluster://"),
    (faults.ClusterDownError, "is a cluster that is down"),
    (ssl.SSLError, "cannot be reached by TLS"),
    (faults.InvalidResponse, "is no Redis"),
)
_SIGNS = (
    ("WRONGPASS", "refuses the user or the password"),
    ("invalid username-password", "refuses the user or the password"),
    ("NOAUTH", "asks for a password"),
    ("Authentication required", "asks for a password"),
    ("unauthenticated", "asks for a password"),
    ("NOREPLICAS", "has too few replicas to write"),
    ("MISCONF", "cannot save its data and refuses to write"),
    ("OOM", "is full"),
    ("READONLY", "is a read-only replica"),
    ("SENTINEL", "is no sentinel: REDIS_URL must begin with redis://"),
    ("cluster support disabled", "is no cluster: REDIS_URL must begin with redis://"),
    ("Cluster mode is not enabled", "is no cluster: REDIS_URL must begin with redis://"),
    ("CERTIFICATE", "cannot be reached by TLS"),
    ("SSL", "cannot be reached by TLS"),
    ("refused", "refuses connections"),
    ("Connect call failed", "refuses connections"),
    ("Error 111", "refuses connections"),
    ("No such file", "is not there"),
    ("closed", "has closed the connection"),
    ("Connection lost", "has closed the connection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisServer:
    """Where the Redis is. ``shown`` is for people and holds no secret."""

    url: str = field(repr=False)
    shown: str
    cluster: bool = False
    sentinels: SentinelMaster | None = None
    passwords: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def at(cls, address: str) -> RedisServer:
        """``address`` was checked by the settings."""
        sentinels = watched(address)
        of_sentinels = sentinels.options.get("password", "") if sentinels else ""
        return cls(
            url=single(address),
            shown=without_secrets(address),
            cluster=is_cluster(address),
            sentinels=sentinels,
            passwords=tuple(filter(None, (password_of(address), of_sentinels))),
        )


def connect(server: RedisServer) -> Redis | RedisCluster:
    """A client that connects when it is first used. Raises ``SettingsError`` for unknown options in the URL."""
    bounds: dict[str, Any] = {"protocol": 2, "socket_timeout": ANSWER_S, "socket_connect_timeout": CONNECT_S}
    try:
        if server.cluster:
            # Nodes come and go, so every command may have to look again which node has the slot.
            retry = Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.2), 2)
            return RedisCluster.from_url(server.url, retry=retry, max_connections=CONNECTIONS, **bounds)
        bounds["retry"] = Retry(NoBackoff(), 0)
        if server.sentinels:
            return _connect_to_master(server.sentinels, bounds)
        pool = BlockingConnectionPool.from_url(server.url, max_connections=CONNECTIONS, timeout=ANSWER_S, **bounds)
        pool.make_connection()  # type: ignore[no-untyped-call]
        return Redis.from_pool(pool)
    except (TypeError, ValueError, *REDIS_ERRORS):
        raise SettingsError(
            "REDIS_URL has an option (after the '?') that Redis' client does not know, or a value that it cannot use."
        ) from None


def _connect_to_master(watched: SentinelMaster, bounds: dict[str, Any]) -> Redis:
    """Each new connection asks the sentinels again. A connection to a master that became a replica ends with the first
    write."""
    options: dict[str, Any] = {**parse_url(watched.url), **bounds}
    options = {name: value for name, value in options.items() if name not in {"host", "port"}}
    if options.pop("connection_class", None) is SSLConnection:
        options["ssl"] = True
    of_sentinels = {name: value for name, value in options.items() if name.startswith("ssl")} | watched.options | bounds
    of_sentinels |= {"socket_timeout": _SENTINEL_S, "socket_connect_timeout": _SENTINEL_S}
    manager: Any = Sentinel(watched.sentinels, sentinel_kwargs=of_sentinels)  # type: ignore[no-untyped-call]
    client: Redis = manager.master_for(watched.master, redis_class=_MasterClient, **options)
    client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return client


class _MasterClient(Redis):
    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Closes the sentinels' clients too, which the library leaves open."""
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await asyncio.gather(*(sentinel.aclose() for sentinel in pool.sentinel_manager.sentinels))


def explain(error: BaseException, server: RedisServer) -> str:
    """Says what is wrong, as the end of a sentence that begins with the name of the server."""
    text = _without_data(error, server)
    for kinds, words in _KINDS:
        if isinstance(error, kinds):
            return words
    for sign, words in _SIGNS:
        if sign in text:
            return f"{words} ({text})"
    return f"cannot be used ({text or type(error).__name__})"


def _without_data(error: BaseException, server: RedisServer) -> str:
    """The error's text. A server may quote what it was sent, which may be a record or a password."""
    text = str(error).partition(", with args")[0]
    for password in server.passwords:
        text = text.replace(password, "***")
    return " ".join(text.split())[:_TEXT_LIMIT_CHARACTERS]
