from __future__ import annotations

import pytest

from supervisor.api.requests import (
    BatchMessage,
    InterruptRequest,
    ListRequest,
    Request,
    Role,
    SendBatchRequest,
    SendRequest,
    SpawnBatchRequest,
    SpawnRequest,
    WaitRequest,
)
from supervisor.api.verbs import VERBS
from supervisor.rpc.connection import completed, limit_s

ONE = SpawnRequest(role=Role.SPECIALIST, work_dir="/w", context="c")


@pytest.mark.parametrize(
    ("verb", "request_", "least_s", "most_s"),
    [
        ("list", ListRequest(), 10, 60),
        ("interrupt", InterruptRequest(instance_id="spec_1"), 30, 120),
        ("wait", WaitRequest(instance_ids=["spec_1"], timeout_seconds=600), 610, 660),
        ("send", SendRequest(instance_id="spec_1", message="x", timeout_seconds=600), 10, 60),
        ("send", SendRequest(instance_id="spec_1", message="x", timeout_seconds=600, wait=True), 610, 660),
        (
            "send_batch",
            SendBatchRequest(messages=[BatchMessage(instance_id="spec_1", message="x")], timeout_seconds=5, wait=True),
            15,
            60,
        ),
        ("spawn", ONE, 300, 1800),
        ("spawn_batch", SpawnBatchRequest(instances=[ONE] * 50), 50 * 90, 50 * 300),
    ],
)
def test_a_call_waits_longer_than_the_supervisor_may_take_but_not_for_ever(
    verb: str, request_: Request, least_s: float, most_s: float
) -> None:
    arguments = request_.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    assert least_s <= limit_s(VERBS[verb], completed(VERBS[verb], arguments)) <= most_s


@pytest.mark.parametrize("members", ['[{"role": "manager"}]', [{}], "nonsense", None, 7])
@pytest.mark.parametrize("timeout", ["soon", None, -1, 10**400, "5", float("nan")])
def test_arguments_that_no_request_takes_bound_a_call_all_the_same(members: object, timeout: object) -> None:
    for name in ("spawn_batch", "send", "wait", "drain"):
        arguments = {"instances": members, "timeoutSeconds": timeout, "wait": "yes"}
        assert 30 <= limit_s(VERBS[name], completed(VERBS[name], arguments)) <= 6000
