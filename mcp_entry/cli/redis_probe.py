"""A program of its own: asks the Redis at ``REDIS_URL`` whether a team could use it.

``phalanx doctor`` runs it, by its path, and so need not load redis-py, which every other command would pay for. It says
one sentence on stdout, never with a user or password in it, and exits with 0 if all is well, else with 1. The address
comes in the environment, which others cannot read. It ends within ``LIMIT_S``: by itself, or by the alarm's signal.
"""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.connection import SSLConnection, parse_url
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    NoPermissionError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from supervisor.store.redis_url import SentinelMaster, is_cluster, single, watched

LIMIT_S = 10
_ANSWER_S = 3.0


def main() -> int:
    signal.alarm(LIMIT_S)
    try:
        print(_examine(os.environ["REDIS_URL"]))
    except (RedisError, RedisClusterException, OSError) as error:
        print(_in_words(error))
        return 1
    except (TypeError, ValueError) as error:
        print(f"redis-py does not take what stands after ? in its address: {error}")
        return 1
    return 0


def _examine(url: str) -> str:
    """Raises ``ResponseError`` in words when it answers but could not be used."""
    clustered = is_cluster(url)
    with _connected(url, clustered) as client:
        client.ping()
        try:
            facts: dict[str, Any] = client.info(target_nodes=RedisCluster.RANDOM) if clustered else client.info()
        except NoPermissionError:
            return "answers"
    if not clustered and facts.get("cluster_enabled"):
        raise ResponseError("it is a node of a Redis Cluster: write redis+cluster:// in REDIS_URL")
    if not clustered and facts.get("role") == "slave":
        raise ResponseError("it is a replica, which cannot be written: name its master")
    return f"Redis {facts.get('redis_version', '')} answers{' as a cluster' if clustered else ''}"


def _connected(url: str, clustered: bool) -> Any:
    bounds: dict[str, Any] = {"socket_timeout": _ANSWER_S, "socket_connect_timeout": _ANSWER_S}
    never_again = Retry(NoBackoff(), 0)
    if clustered:
        return RedisCluster.from_url(single(url), retry=never_again, **bounds)
    if sentinels := watched(url):
        return _master(sentinels, {"retry": never_again, **bounds})
    return Redis.from_url(url, retry=never_again, **bounds)


def _master(sentinels: SentinelMaster, bounds: Mapping[str, Any]) -> Any:
    """The same client as the store's (``supervisor.store.redis_client``), but one that blocks."""
    options: dict[str, Any] = {**parse_url(sentinels.url), **bounds}  # type: ignore[no-untyped-call]
    for place in ("host", "port"):
        options.pop(place, None)
    encrypted = {"ssl": True} if options.pop("connection_class", None) is SSLConnection else {}
    keys = {name: value for name, value in options.items() if name.startswith("ssl_")}
    manager: Any = Sentinel(  # type: ignore[no-untyped-call]
        sentinels.sentinels, sentinel_kwargs={**encrypted, **keys, **sentinels.options, **bounds}
    )
    return manager.master_for(sentinels.master, **encrypted, **options)


_WORDS: Mapping[str, type[BaseException] | tuple[type[BaseException], ...]] = {
    "none of its sentinels names a master of that name, or none lets this user in": MasterNotFoundError,
    "its certificate is not trusted; the option ssl_ca_certs names whom to trust": ssl.SSLCertVerificationError,
    "it speaks no TLS, or another kind of it; redis:// is without TLS": ssl.SSLError,
    "its host name is not known": socket.gaierror,
    "nothing listens there": (ConnectionRefusedError, FileNotFoundError),
    "it refuses the user or password, or wants one that is not given": AuthenticationError,
    "its user may not do what a team needs": NoPermissionError,
    f"it does not answer within {_ANSWER_S:.0f} s; or one of the two speaks TLS (rediss://) and the other does not": (
        RedisTimeoutError,
        TimeoutError,
    ),
    "it ends the connection at once; perhaps it takes TLS only (rediss://)": ConnectionResetError,
    "what answers there is no Redis": InvalidResponse,
}
"""Looked through in this order: what is more special comes first."""


def _in_words(error: Exception) -> str:
    causes = list(_causes(error))
    for words, kind in _WORDS.items():
        if any(isinstance(cause, kind) for cause in causes):
            return words
    if any("cluster support disabled" in str(cause) for cause in causes):
        return "it is no Redis Cluster: write redis:// or rediss:// in REDIS_URL"
    return " ".join(str(error).split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


if __name__ == "__main__":
    sys.exit(main())
