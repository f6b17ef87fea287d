"""Calls that start many instances: results come in the order asked, and a failing member fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from supervisor.api import requests, results
from supervisor.api.failures import error_info
from supervisor.api.results import ErrorInfo
from supervisor.api.verbs import Caller, ProgressCallback
from supervisor.permits import Permits
from supervisor.team import views
from supervisor.team.registry import Member

Spawn = Callable[[requests.SpawnRequest, Caller], Awaitable[results.SpawnResult]]
Resume = Callable[[Member], Awaitable[results.RestartResult | None]]
"""None: it was not to be resumed any more when it was its turn."""


async def spawn_all(request: requests.SpawnBatchRequest, caller: Caller, spawn: Spawn) -> list[results.SpawnOutcome]:
    """Starts the members of a batch; each that is done is told as progress."""
    members = _identified(request)
    done = 0

    def waits(_done: int, _total: int, what: str) -> None:
        caller.progress(done, len(members), what)

    each = replace(caller, progress=waits)

    async def one(member: requests.SpawnRequest | requests.Malformed) -> results.SpawnOutcome:
        nonlocal done
        spawned = await _spawned(member, each, spawn)
        done += 1
        what = spawned.instance_id if isinstance(spawned, results.SpawnResult) else "failed"
        caller.progress(done, len(members), what)
        return views.spawn_outcome(spawned)

    return await asyncio.gather(*map(one, members))


async def _spawned(
    member: requests.SpawnRequest | requests.Malformed, caller: Caller, spawn: Spawn
) -> results.SpawnResult | ErrorInfo:
    if isinstance(member, requests.Malformed):
        return error_info(member.error, "This spawn")
    try:
        return await spawn(member, caller)
    except Exception as error:  # noqa: BLE001 - told and logged
        return error_info(error, "This spawn")


def _identified(request: requests.SpawnBatchRequest) -> Sequence[requests.SpawnRequest | requests.Malformed]:
    """Each member with a request id of its own that follows from the batch's, so that a repeat finds each again."""
    if request.request_id is None:
        return request.instances
    ids = (f"{request.request_id}/{number}" for number in range(len(request.instances)))
    return [
        member.model_copy(update={"request_id": member.request_id or request_id})
        if isinstance(member, requests.SpawnRequest)
        else member
        for member, request_id in zip(request.instances, ids, strict=True)
    ]


async def resume_all(
    members: Sequence[Member], permits: Permits, resume: Resume, progress: ProgressCallback
) -> list[results.ResumedInstance]:
    """Starts members again that have ended, as many at a time as there are permits; each that is done is told."""
    done = 0
    progress(done, len(members), "starting them")

    async def one(member: Member) -> results.ResumedInstance:
        nonlocal done
        outcome = await alone(member)
        done += 1
        progress(done, len(members), outcome.instance_id if outcome.error is None else f"{outcome.instance_id} failed")
        return outcome

    async def alone(member: Member) -> results.ResumedInstance:
        instance_id = member.record.instance_id
        try:
            async with permits.hold():
                restarted = await resume(member)
        except Exception as error:  # noqa: BLE001 - told and logged
            refused = error_info(error, f"Resuming {instance_id}")
            status = member.status
            return results.ResumedInstance(instance_id=instance_id, status=status, resumed=False, error=refused)
        status, resumed = (restarted.status, restarted.resumed) if restarted else (member.status, False)
        return results.ResumedInstance(instance_id=instance_id, status=status, resumed=resumed)

    return await asyncio.gather(*map(one, members))
