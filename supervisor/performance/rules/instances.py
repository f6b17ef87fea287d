"""Whether the instances are there, answer, and can go on."""

from __future__ import annotations

from collections.abc import Iterator

from actors.status import Status
from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule
from supervisor.performance.rules.words import duration, who

LONG_ASKING_S = 600.0


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


def _asking(facts: Facts) -> Iterator[Finding]:
    if not facts.asking:
        return
    longest_s = max(one.for_s for one in facts.asking)
    nobody_works = len(facts.asking) == facts.alive
    yield Finding(
        code="decisions",
        category="instances",
        severity="error" if nobody_works or longest_s > LONG_ASKING_S else "warning",
        points=30 if nobody_works else min(20, 5 * len(facts.asking)),
        message=f"{len(facts.asking)} of {facts.alive} living instances wait for a decision, the longest for "
        f"{duration(longest_s)}: {who(facts.asking)}.",
        advice=Advice(
            suggestion="Look at each request with list and answer it with respond.",
            impact="They stand still until then.",
            priority="high",
        ),
    )


def _limited(facts: Facts) -> Iterator[Finding]:
    if not facts.limited:
        return
    all_of_them = len(facts.limited) == facts.alive
    yield Finding(
        code="rate-limits",
        category="instances",
        severity="error" if all_of_them else "warning",
        points=30 if all_of_them else min(20, 5 * len(facts.limited)),
        message=f"A rate limit holds up {len(facts.limited)} of {facts.alive} living instances: {who(facts.limited)}.",
        advice=Advice(
            suggestion="Let fewer work at the same time, and send them on when the limit has passed.",
            impact="Their last turn did not come to its end, and no turn begins by itself.",
            priority="high",
        ),
    )


def _troubled(facts: Facts) -> Iterator[Finding]:
    if not facts.troubled:
        return
    yield Finding(
        code="instances-in-trouble",
        category="instances",
        severity="warning",
        points=min(20, 5 * len(facts.troubled)),
        message=f"{len(facts.troubled)} of {facts.alive} living instances cannot go on: {who(facts.troubled)}.",
        advice=Advice(
            suggestion="Read them (list says why), see to the cause, then send them on.",
            impact="Their work is not done.",
            priority="high",
        ),
    )


instance_rules: tuple[Rule, ...] = (_failed, _silent, _asking, _limited, _troubled)
