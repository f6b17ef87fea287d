"""Starts a batch of instances for a measurement. The run fails unless all of them start."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``took_s``: from the call to the proof of the last first message."""

    took_s: float
    ids: list[str]
    from_pool: int


async def start(client: SupervisorClient, members: Sequence[requests.SpawnRequest]) -> Batch:
    request = requests.SpawnBatchRequest(instances=list(members))
    begun = time.perf_counter()
    spawned = await client.spawn_batch(request)
    took_s = time.perf_counter() - begun
    if not spawned.success:
        why = [one.error for one in spawned.instances if one.error]
        raise RuntimeError(f"{len(why)} of {len(members)} did not start: {why[:3]}")
    ids = [one.instance_id or "" for one in spawned.instances]
    return Batch(took_s=took_s, ids=ids, from_pool=spawned.performance.from_pool)
