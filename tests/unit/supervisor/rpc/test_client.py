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
from supervisor.rpc.client import timeout_s

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
    assert least_s <= timeout_s(verb, request_) <= most_s
