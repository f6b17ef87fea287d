"""Whether messages arrive, and in batches where that saves turns."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule
from supervisor.performance.names import Count, Timing

_MANY_PASTES = 50
_MANY_EACH = 5
_SMALL_BATCH = 3
"""As the guide has it."""
_LONGER_DELAY_MS = 200


def _losses(facts: Facts) -> Iterator[Finding]:
    failed = facts.window.counted(Count.MESSAGES_FAILED)
    unconfirmed = facts.window.counted(Count.MESSAGES_UNCONFIRMED)
    lost = failed + unconfirmed
    if not lost:
        return
    ended = lost + facts.window.timed(Timing.MESSAGE).count
    yield Finding(
        code="messages-lost",
        category="messages",
        severity="error" if failed > ended / 2 else "warning",
        points=min(20, 5 + round(30 * lost / ended)),
        message=f"Of {ended} messages {failed} failed and {unconfirmed} are unconfirmed.",
        advice=Advice(
            suggestion="Look at the reasons in the receipts, and read those instances before anything is sent again.",
            impact="Work that nobody was told of is not done.",
            priority="high",
        ),
    )


def _fragments(facts: Facts) -> Iterator[Finding]:
    pastes, pasted = facts.window.counted(Count.PASTES), facts.window.counted(Count.MESSAGES_PASTED)
    busy = pastes >= _MANY_PASTES and pasted >= _MANY_EACH * max(1, facts.alive)
    if not busy or pasted / pastes >= _SMALL_BATCH or facts.tuning.message_batch_delay >= _LONGER_DELAY_MS:
        return
    yield Finding(
        code="small-batches",
        category="messages",
        severity="info",
        points=0,
        message=f"{pasted} messages took {pastes} turns: {pasted / pastes:.1f} a turn.",
        advice=Advice(
            suggestion=f"Set messageBatchDelay to {_LONGER_DELAY_MS}, or send together what belongs together.",
            impact="Fewer turns for the same messages.",
            priority="low",
            setting="messageBatchDelay",
            value=_LONGER_DELAY_MS,
        ),
    )


message_rules: tuple[Rule, ...] = (_losses, _fragments)
