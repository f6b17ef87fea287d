"""Calls that end or restart several instances: results come in the order asked, and each fails alone.

One that is named alone is refused as a call of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from supervisor.api import requests, results
from supervisor.api.failures import error_info

Terminate = Callable[[str], Awaitable[results.TerminateResult]]
Restart = Callable[[str], Awaitable[results.RestartResult]]


async def terminate_all(request: requests.TerminateRequest, terminate: Terminate) -> results.TerminateResult:
    """Whoever is named twice, also by a cascade, is told once."""
    if request.instance_id is not None:
        return await terminate(request.instance_id)

    async def one(instance_id: str) -> results.TerminateResult:
        try:
            return await terminate(instance_id)
        except Exception as error:  # noqa: BLE001 - the others are ended all the same
            refused = results.TerminatedInstance(
                instance_id=instance_id, workspace_removed=False, error=error_info(error, f"Ending {instance_id}")
            )
            return results.TerminateResult(success=False, terminated=[refused])

    found = await asyncio.gather(*map(one, request.ids))
    ended: dict[str, results.TerminatedInstance] = {}
    for each in (each for result in found for each in result.terminated):
        ended.setdefault(each.instance_id, each)
    below = dict.fromkeys(instance_id for result in found for instance_id in result.still_running)
    return results.TerminateResult(
        success=all(each.error is None for each in ended.values()),
        terminated=list(ended.values()),
        still_running=[instance_id for instance_id in below if instance_id not in ended],
    )


async def restart_all(request: requests.RestartRequest, restart: Restart) -> results.RestartsResult:
    if request.instance_id is not None:
        done = await restart(request.instance_id)
        return results.RestartsResult(
            success=True, instance_id=done.instance_id, status=done.status, resumed=done.resumed
        )

    async def one(instance_id: str) -> results.RestartOutcome:
        try:
            done = await restart(instance_id)
        except Exception as error:  # noqa: BLE001 - the others are restarted all the same
            return results.RestartOutcome(
                instance_id=instance_id, success=False, error=error_info(error, f"Restarting {instance_id}")
            )
        return results.RestartOutcome(instance_id=instance_id, success=True, status=done.status, resumed=done.resumed)

    outcomes = await asyncio.gather(*map(one, request.ids))
    return results.RestartsResult(success=all(each.success for each in outcomes), restarted=outcomes)
