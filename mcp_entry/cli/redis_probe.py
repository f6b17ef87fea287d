"""A program that checks whether a team could use the Redis at ``REDIS_URL``.

``phalanx doctor`` runs it by its path, so that no other command pays for loading redis-py. It prints one sentence
without user or password, and exits with 0 when the Redis can be used, otherwise with 1. The address comes in the
environment, which other users cannot read. The probe ends within ``LIMIT_S``.
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
    """Raises ``ValueError`` with the reason when the server answers but cannot be used."""
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
