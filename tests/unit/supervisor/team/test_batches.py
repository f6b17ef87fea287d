"""Restarting several: each fails alone, each is told once, in the order asked."""

from __future__ import annotations

import pytest

from actors.errors import UnknownInstanceError
from actors.status import Status
from supervisor.api import requests, results
from supervisor.team.lifecycle import restart_all


async def test_one_that_is_named_alone_is_refused_as_a_call_of_its_own() -> None:
    with pytest.raises(UnknownInstanceError):
        await restart_all(requests.RestartRequest(instance_id="spec_9"), restart)


async def restart(instance_id: str) -> results.RestartResult:
    if instance_id == "spec_9":
        raise UnknownInstanceError("There is no instance spec_9.")
    return results.RestartResult(instance_id=instance_id, status=Status.READY, resumed=True)


async def test_several_are_restarted_and_those_that_cannot_be_fail_alone() -> None:
    done = await restart_all(requests.RestartRequest(instance_ids=["spec_1", "spec_9", "spec_2", "spec_1"]), restart)
    assert done.restarted is not None
    assert [(each.instance_id, each.success, each.status) for each in done.restarted] == [
        ("spec_1", True, Status.READY),
        ("spec_9", False, None),
        ("spec_2", True, Status.READY),
    ]
    assert not done.success
    one = await restart_all(requests.RestartRequest(instance_id="spec_1"), restart)
    assert (one.success, one.status, one.resumed, one.restarted) == (True, Status.READY, True, None)
