"""Whether git operations wait for each other, fail, or are done again and again."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.performance.facts import Facts
from supervisor.performance.findings import Advice, Finding, Rule
from supervisor.performance.names import Count

LONG_QUEUE = 10
HIGHEST_CAP = 100
LARGEST_CACHE = 100_000
_ENOUGH_TO_TELL = 20


def _failures(facts: Facts) -> Iterator[Finding]:
    failed, answered = facts.window.counted(Count.GIT_FAILED), facts.window.counted(Count.GIT_ANSWERED)
    if answered < _ENOUGH_TO_TELL or failed <= answered / 4:
        return
    yield Finding(
        code="git-fails",
        category="git",
        severity="warning",
        points=10,
        message=f"{failed} of {answered} git operations failed.",
        advice=Advice(suggestion="Read their errors in the answers of git_batch.", impact="They did nothing."),
    )


def _queue(facts: Facts) -> Iterator[Finding]:
    queue = facts.git.queue
    if queue.waiting <= LONG_QUEUE:
        return
    cap = min(HIGHEST_CAP, max(5, 2 * queue.limit))
    yield Finding(
        code="git-queue",
        category="git",
        severity="warning",
        points=5,
        message=f"{queue.waiting} git operations wait while {queue.running} run (cap {queue.limit}).",
        advice=Advice(
            suggestion=f"Raise maxConcurrentGitOps to {cap}, if they are for several repositories.",
            impact="Repositories do not wait for each other; in one, only one writes at a time.",
            setting="maxConcurrentGitOps",
            value=cap,
        ),
    )


def _cache(facts: Facts) -> Iterator[Finding]:
    hits, misses = facts.window.counted(Count.CACHE_HITS), facts.window.counted(Count.CACHE_MISSES)
    evicted, size = facts.window.counted(Count.CACHE_EVICTIONS), facts.tuning.cache_size
    if not evicted or hits + misses < _ENOUGH_TO_TELL or hits >= misses or size >= LARGEST_CACHE:
        return
    larger = min(LARGEST_CACHE, max(1000, 2 * size))
    yield Finding(
        code="small-cache",
        category="git",
        severity="info",
        points=2,
        message=f"The cache was full: {evicted} answers had to go, and {hits} of {hits + misses} were found in it.",
        advice=Advice(
            suggestion=f"Raise cacheSize to {larger}.",
            impact="Answers of git that are still right need not be made again.",
            priority="low",
            setting="cacheSize",
            value=larger,
        ),
    )


git_rules: tuple[Rule, ...] = (_failures, _queue, _cache)
