"""A program of its own: asks the Redis at ``REDIS_URL`` whether a team could use it.

``phalanx doctor`` runs it, by its path, and so need not load redis-py, which every other command would pay for. It says
one sentence on stdout, never with a user or password in it, and exits with 0 if all is well, else with 1. The address
comes in the environment, which others cannot read. It ends within ``LIMIT_S``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from redis.exceptions import NoPermissionError

from actors.errors import SettingsError
from supervisor.store.redis_client import REDIS_ERRORS, RedisServer, connect, explain

LIMIT_S = 10


def main() -> int:
    server = RedisServer.at(os.environ["REDIS_URL"])
    try:
        print(asyncio.run(_examine(server)))
    except REDIS_ERRORS as error:
        print(f"it {explain(error, server)}")
        return 1
    except (SettingsError, ValueError) as error:
        print(error)
        return 1
    return 0


async def _examine(server: RedisServer) -> str:
    """Raises ``ValueError`` in words when it answers but could not be used."""
    client: Any = connect(server)
    try:
        async with asyncio.timeout(LIMIT_S):
            await client.ping()
            try:
                facts = await (client.info(target_nodes="random") if server.cluster else client.info())
            except NoPermissionError:
                return "answers"
    finally:
        await client.aclose()
    if not server.cluster and facts.get("cluster_enabled"):
        raise ValueError("it is a node of a Redis Cluster: write redis+cluster:// in REDIS_URL")
    if facts.get("role") == "slave":
        raise ValueError("it is a replica, which cannot be written: name its master")
    return f"Redis {facts.get('redis_version', '')} answers{' as a cluster' if server.cluster else ''}"


if __name__ == "__main__":
    sys.exit(main())
