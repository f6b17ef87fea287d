"""Whether messages arrive, how soon, and in batches where that saves turns."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule
from supervisor.performance.names import Count, Timing
from supervisor.performance.rules.words import duration, who

OLD_S = 300.0
VERY_OLD_S = 900.0
_PILE_EACH = 10
"""So many go to an instance in one turn, as it is set at first."""
_ENOUGH_TO_TELL = 5
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
        message=f"Of {ended} messages {failed} failed and {unconfirmed} {_are(unconfirmed)} unconfirmed.",
        advice=Advice(
            suggestion="Look at the reasons in the receipts, and read those instances before anything is sent again.",
            impact="Work that nobody was told of is not done.",
            priority="high",
        ),
    )


def _held(facts: Facts) -> Iterator[Finding]:
    if not facts.held:
        return
    instances = len({one.instance_id for one in facts.held})
    longest_s = max(one.for_s for one in facts.held)
    yield Finding(
        code="messages-held",
        category="messages",
        severity="error" if longest_s > OLD_S else "warning",
        points=min(20, 5 + 2 * instances),
        message=f"{len(facts.held)} {_messages(len(facts.held))} for {instances} "
        f"{'instance' if instances == 1 else 'instances'} {_are(len(facts.held))} held back, the longest for "
        f"{duration(longest_s)}: {who(facts.held)}.",
        advice=Advice(
            suggestion="Answer what is in the way: a request with respond, anything else at its terminal "
            "(`phalanx attach ID`).",
            impact="They are typed by themselves as soon as that is safe.",
            priority="high",
        ),
    )


def _old(facts: Facts) -> Iterator[Finding]:
    old = [one for one in facts.queued if one.for_s > OLD_S]
    if not old:
        return
    longest_s = max(one.for_s for one in old)
    yield Finding(
        code="messages-old",
        category="messages",
        severity="warning",
        points=10 if longest_s > VERY_OLD_S else 5,
        message=f"{len(old)} {_messages(len(old))} {_are(len(old))} on the way for more than {duration(OLD_S)}, the "
        f"longest for {duration(longest_s)}: {who(old)}.",
        advice=Advice(
            suggestion="Read those instances: they take messages when their turn ends; interrupt a turn that should "
            "not go on.",
            impact="What they were told meanwhile is not begun.",
        ),
    )


def _pile(facts: Facts) -> Iterator[Finding]:
    waiting = len(facts.queued) + len(facts.held)
    if waiting <= _PILE_EACH * max(1, facts.alive):
        return
    yield Finding(
        code="messages-pile-up",
        category="messages",
        severity="warning",
        points=5,
        message=f"{waiting} messages wait for {facts.alive} living instances.",
        advice=Advice(
            suggestion="Send less until they have caught up, or give the work to more instances.",
            impact="Each takes what has gathered at the end of its turn.",
        ),
    )


def _slow(facts: Facts) -> Iterator[Finding]:
    times = facts.window.timed(Timing.MESSAGE)
    half_s, most_s = times.percentile_s(0.5), times.percentile_s(0.95)
    if times.count < _ENOUGH_TO_TELL or most_s <= OLD_S:
        return
    yield Finding(
        code="slow-messages",
        category="messages",
        severity="warning",
        points=10 if half_s > OLD_S else 5,
        message=f"Of {times.count} messages half were in the conversation within {duration(half_s)} and 95 % within "
        f"{duration(most_s)}.",
        advice=Advice(
            suggestion="Give shorter tasks, or more instances: a message waits for the end of the turn before it.",
            impact="What is sent is begun sooner.",
        ),
    )


def _messages(number: int) -> str:
    return "message" if number == 1 else "messages"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


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


message_rules: tuple[Rule, ...] = (_losses, _held, _old, _pile, _slow, _fragments)
