"""Whether the state is kept well, and whether the supervisor itself is quick."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule
from supervisor.performance.names import Timing

_ENOUGH_TO_TELL = 20
_SLOW_WRITE_S = 0.1
_SLOW_CALL_S = 0.25


def _store(facts: Facts) -> Iterator[Finding]:
    if not facts.store.warning:
        return
    yield Finding(
        code="store",
        category="state",
        severity="warning",
        points=10,
        message=facts.store.warning,
        advice=Advice(
            suggestion="See to what it says; `phalanx doctor` looks at the Redis.",
            impact="Until then the team's state has one copy less.",
            priority="high",
        ),
    )


def _unreadable(facts: Facts) -> Iterator[Finding]:
    if facts.unreadable:
        yield Finding(code="records", category="state", severity="warning", points=5, message=facts.unreadable)


def _slow_writes(facts: Facts) -> Iterator[Finding]:
    writes = facts.window.timed(Timing.STORE)
    slow_s = writes.percentile_s(0.95)
    if writes.count >= _ENOUGH_TO_TELL and slow_s > _SLOW_WRITE_S:
        yield Finding(
            code="slow-writes",
            category="state",
            severity="warning",
            points=5,
            message=f"One in twenty writes of the state takes longer than {slow_s * 1000:.0f} ms.",
            advice=Advice(
                suggestion="Put PHALANX_HOME on a faster disk.",
                impact="Every message is written before it is accepted.",
            ),
        )


def _slow_calls(facts: Facts) -> Iterator[Finding]:
    calls = facts.window.timed(Timing.CALL)
    slow_s = calls.percentile_s(0.95)
    if calls.count >= _ENOUGH_TO_TELL and slow_s > _SLOW_CALL_S:
        yield Finding(
            code="slow-calls",
            category="state",
            severity="warning",
            points=5,
            message=f"One in twenty calls that wait for nobody takes longer than {slow_s * 1000:.0f} ms.",
        )


state_rules: tuple[Rule, ...] = (_store, _unreadable, _slow_writes, _slow_calls)
