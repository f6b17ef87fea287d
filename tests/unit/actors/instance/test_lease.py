"""Who is cut off from the supervisor stops typing before anybody else begins."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from actors.instance.deliverer import Lease, TypingGate
from supervisor.cluster.scheduler import FENCE_S
from supervisor.team.adoption import LEASE_S
from supervisor.team.links import POLL_S


def test_a_lease_ends_unless_it_is_renewed() -> None:
    now = [100.0]
    lease = Lease(40.0, lambda: now[0])
    now[0] += 39.0
    assert lease.held

    lease.renew()
    now[0] += 39.0
    assert lease.held
    now[0] += 1.0
    assert not lease.held


def test_it_runs_out_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    suspended_s = [0.0]
    ask = time.clock_gettime
    monkeypatch.setattr(
        time, "clock_gettime", lambda clock: ask(clock) + (suspended_s[0] if clock == time.CLOCK_BOOTTIME else 0.0)
    )
    lease = Lease(40.0)
    assert lease.held

    suspended_s[0] = 3600.0
    assert not lease.held
    lease.renew()
    assert lease.held


def test_on_one_machine_it_lasts_for_ever() -> None:
    now = [100.0]
    lease = Lease(0, lambda: now[0])
    now[0] += 1e9
    assert lease.held


def test_it_outlasts_the_supervisor_s_pauses_and_is_outlasted_by_the_wait_before_a_second_copy() -> None:
    assert POLL_S < LEASE_S < FENCE_S


async def test_the_gate_stays_shut_without_even_a_look_while_the_lease_is_not_held() -> None:
    now = [0.0]
    gate = TypingGate(cast("Any", None), Lease(1.0, lambda: now[0]))  # who looked would fail
    now[0] = 2.0

    verdict = await gate.look("attach")

    assert not verdict.open
    assert "cut off" in verdict.reason
