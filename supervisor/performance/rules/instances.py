"""Whether the instances are there and answer."""

from __future__ import annotations

from collections.abc import Iterator

from actors.states import Status
from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule


def _failed(facts: Facts) -> Iterator[Finding]:
    failed = facts.statuses.get(Status.FAILED, 0)
    if not failed:
        return
    yield Finding(
        code="instances-failed",
        category="instances",
        severity="warning",
        points=min(20, 5 * failed),
        message=f"{failed} {'instance has' if failed == 1 else 'instances have'} failed.",
        advice=Advice(
            suggestion="Restart or terminate them; list says why each has failed.",
            impact="Their work stands still.",
            priority="high",
        ),
    )


def _silent(facts: Facts) -> Iterator[Finding]:
    if not facts.silent:
        return
    yield Finding(
        code="instances-silent",
        category="instances",
        severity="warning",
        points=min(20, 10 * facts.silent),
        message=f"The actors of {facts.silent} instances do not answer; they are being looked for.",
    )


instance_rules: tuple[Rule, ...] = (_failed, _silent)
