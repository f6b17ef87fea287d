"""Ending and restarting several: each fails alone, each is told once, in the order asked."""

from __future__ import annotations

import pytest

from actors.errors import UnknownInstanceError
from actors.status import Status
from supervisor.api import requests, results
from supervisor.team.lifecycle import restart_all, terminate_all


def ended(instance_id: str) -> results.TerminatedInstance:
    return results.TerminatedInstance(instance_id=instance_id, status=Status.STOPPED, workspace_removed=True)


async def terminate(instance_id: str) -> results.TerminateResult:
    """``mgr_0_1`` leads ``spec_0_1_2``, which goes on without it; ``spec_9`` is unknown, ``spec_8`` a fault of ours."""
    if instance_id == "spec_9":
        raise UnknownInstanceError("There is no instance spec_9.")
    if instance_id == "spec_8":
        raise KeyError("secret")
    below = ["spec_0_1_2", "spec_0_1_3"] if instance_id == "mgr_0_1" else []
    return results.TerminateResult(success=True, terminated=[ended(instance_id)], still_running=below)


async def test_several_are_ended_and_those_that_cannot_be_fail_alone() -> None:
    request = requests.TerminateRequest(instance_ids=["mgr_0_1", "spec_9", "spec_8", "spec_0_1_2", "mgr_0_1"])
    done = await terminate_all(request, terminate)
    assert not done.success
    assert [each.instance_id for each in done.terminated] == ["mgr_0_1", "spec_9", "spec_8", "spec_0_1_2"]
    assert [each.error.code if each.error else "" for each in done.terminated] == [
        "",
        "unknown_instance",
        "internal",
        "",
    ]
    assert "secret" not in str(done)
    assert done.still_running == ["spec_0_1_3"]


async def test_what_a_cascade_has_ended_already_is_told_once() -> None:
    async def cascade(instance_id: str) -> results.TerminateResult:
        below = [ended("spec_0_1_2")] if instance_id == "mgr_0_1" else []
        return results.TerminateResult(success=True, terminated=[*below, ended(instance_id)])

    request = requests.TerminateRequest(instance_ids=["mgr_0_1", "spec_0_1_2"], cascade=True)
    done = await terminate_all(request, cascade)
    assert [each.instance_id for each in done.terminated] == ["spec_0_1_2", "mgr_0_1"]


async def test_one_that_is_named_alone_is_refused_as_a_call_of_its_own() -> None:
    with pytest.raises(UnknownInstanceError):
        await terminate_all(requests.TerminateRequest(instance_id="spec_9"), terminate)
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
