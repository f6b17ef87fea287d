"""Judges a snapshot of the team: which findings lower its score, and which setting would help; pure.

``MetricsService`` and ``AlertLoop`` call ``judge``. ``_CHECKS`` has one check for each line of docs/score.md. A check
yields what is wrong and nothing when all is well; an idle team on a machine with room breaks none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from actors.status import Status
from supervisor.metrics.metrics import Count, Timing
from supervisor.metrics.snapshot import HostSnapshot, StalledItem, TeamSnapshot

Severity = Literal["info", "warning", "error"]
Category = Literal["spawning", "messages", "git", "instances", "machine", "state"]
Priority = Literal["high", "medium", "low"]

BEST = 100

_GB = 1e9
_LITTLE_MEMORY = (0.10, 1.0 * _GB)
"""The larger of a part of all memory and a least amount."""
_HARDLY_ANY_MEMORY = (0.05, 0.5 * _GB)
_LITTLE_DISK = 2.0 * _GB
_HARDLY_ANY_DISK = 1.0 * _GB
_BUSY = 0.95
_CROWDED = 4.0
_OVERRUN = 10.0
"""So many processes a core want to run, on average over a minute."""

_LONG_QUEUE = 10
_HIGHEST_CAP = 100
_LARGEST_CACHE = 100_000
_LARGE_TEAM = 50
_MANY_STARTS = 10
_ENOUGH_SAMPLES = 20
_ENOUGH_MESSAGES = 5
_SLOW_WRITE_S = 0.1
_SLOW_CALL_S = 0.25

_LONG_DECISION_S = 600.0
_OLD_S = 300.0
_VERY_OLD_S = 900.0
_PILE_EACH = 10
"""So many go to an instance in one turn, as it is set at first."""
_MANY_PASTES = 50
_MANY_EACH = 5
_SMALL_BATCH = 3
_LONGER_DELAY_MS = 200

_MOST_NAMED = 3
_LONGEST_WHY = 120
_LONGEST_FAILURE = 300
_MINUTE_S = 60
_HOUR_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A remedy for a finding."""

    suggestion: str
    impact: str
    priority: Priority = "medium"
    setting: str | None = None
    """As ``optimize_settings`` calls it."""
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFinding:
    """One thing that is wrong, with the points that it costs and, where there is one, a remedy."""

    code: str
    """The same for the same trouble, whatever its figures."""
    category: Category
    severity: Severity
    points: int
    """What the score loses."""
    message: str
    advice: Advice | None = None


@dataclass(frozen=True, slots=True)
class _Loss:
    """What a check yields: a finding that does not know its code."""

    points: int
    message: str
    advice: Advice | None = None
    severity: Severity = "warning"


def judge(snapshot: TeamSnapshot) -> list[HealthFinding]:
    """All findings of a snapshot, the costliest first."""
    found = [
        HealthFinding(
            code=code,
            category=category,
            severity=loss.severity,
            points=loss.points,
            message=loss.message,
            advice=loss.advice,
        )
        for code, category, check in _CHECKS
        for loss in check(snapshot)
    ]
    return sorted(found, key=lambda finding: -finding.points)


def score(findings: Sequence[HealthFinding]) -> int:
    return max(0, BEST - sum(finding.points for finding in findings))


def duration(seconds: float) -> str:
    """In its largest unit that shows at least two of them."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.0f} h"


def who(waiting: Sequence[StalledItem]) -> str:
    """At most ``_MOST_NAMED`` of the instances, the longest wait first, each once and with its reason."""
    reasons: dict[str, str] = {}
    for one in sorted(waiting, key=lambda one: -one.for_s):
        reasons.setdefault(one.instance_id, _head(one.why, _LONGEST_WHY).rstrip(". "))
    named = [f"{name} ({why})" if why else name for name, why in list(reasons.items())[:_MOST_NAMED]]
    more = [f"and {len(reasons) - _MOST_NAMED} more"] if len(reasons) > _MOST_NAMED else []
    return ", ".join([*named, *more])


def _head(text: str, longest: int) -> str:
    """In one line."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def _longest(waiting: Sequence[StalledItem]) -> float:
    return max(one.for_s for one in waiting)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _grave(is_grave: bool) -> Severity:
    return "error" if is_grave else "warning"


def _has_less_than(host: HostSnapshot, bounds: tuple[float, float]) -> bool:
    part, least = bounds
    return host.load.memory_available_bytes < max(part * host.load.memory_total_bytes, least)


def _is_short_of_memory(host: HostSnapshot) -> bool:
    return _has_less_than(host, _LITTLE_MEMORY)


def _unanswered(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    for reason in snapshot.unanswered:
        yield _Loss(30, f"A host cannot be asked how it is: {reason}", severity="error")


def _memory(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    impact = "Below a reserve no further agent is started; without any memory the system ends programs."
    if snapshot.tuning.prewarm_instances > 1:  # a single one holds little
        suggestion = "Set prewarmInstances to 0: spare agents hold memory."
        advice = Advice(suggestion=suggestion, impact=impact, priority="high", setting="prewarmInstances", value=0)
    else:
        advice = Advice(suggestion="Terminate instances whose work is done.", impact=impact, priority="high")
    for host in filter(_is_short_of_memory, snapshot.hosts):
        free, total = host.load.memory_available_bytes / _GB, host.load.memory_total_bytes / _GB
        hardly_any = _has_less_than(host, _HARDLY_ANY_MEMORY)
        message = f"{host.load.host} has {free:.1f} GB of {total:.1f} GB of memory left."
        yield _Loss(30 if hardly_any else 15, message, advice, _grave(hardly_any))


def _cores(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    for load in (host.load for host in snapshot.hosts):
        each = load.load_1m / load.cpus
        if each > _CROWDED:
            overrun = each > _OVERRUN
            message = (
                f"{load.load_1m:.0f} processes want the {load.cpus} cores of {load.host} (over the last minute, "
                f"{each:.0f} a core)."
            )
            yield _Loss(20 if overrun else 5, message, _less_work(snapshot), _grave(overrun))


def _less_work(snapshot: TeamSnapshot) -> Advice:
    starts = snapshot.spawns.running or snapshot.spawns.waiting
    cap = max(1, snapshot.spawns.limit // 2)
    if starts and cap < snapshot.spawns.limit and not snapshot.tuning.auto:
        return Advice(
            suggestion=f"Lower maxConcurrentSpawns to {cap}.",
            impact="Each start is done sooner, and those who work are not held up.",
            setting="maxConcurrentSpawns",
            value=cap,
        )
    return Advice(
        suggestion="Let fewer instances work at the same time, or see what else runs there.",
        impact="All that runs there takes as many times as long.",
    )


def _disk(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    advice = Advice(
        suggestion="Free disk space; `phalanx gc` clears away what terminated instances left.",
        impact="Worktrees and the team's state need room.",
        priority="high",
    )
    for load in (host.load for host in snapshot.hosts):
        free = load.disk_available_bytes
        if free < _LITTLE_DISK:
            hardly_any = free < _HARDLY_ANY_DISK
            message = f"{free / _GB:.1f} GB are free on the home's disk of {load.host}."
            yield _Loss(20 if hardly_any else 10, message, advice, _grave(hardly_any))


def _store(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    if snapshot.store.warning:
        advice = Advice(
            suggestion="See to what it says; `phalanx doctor` looks at the Redis.",
            impact="Until then the team's state has one copy less.",
            priority="high",
        )
        yield _Loss(10, snapshot.store.warning, advice)


def _unreadable(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    if snapshot.unreadable:
        yield _Loss(5, snapshot.unreadable)


def _slow_writes(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    writes = snapshot.window.timed(Timing.STORE)
    slow_s = writes.percentile_s(0.95)
    if writes.count >= _ENOUGH_SAMPLES and slow_s > _SLOW_WRITE_S:
        advice = Advice(
            suggestion="Put PHALANX_HOME on a faster disk.", impact="Every message is written before it is accepted."
        )
        yield _Loss(5, f"One in twenty writes of the state takes longer than {slow_s * 1000:.0f} ms.", advice)


def _slow_calls(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    calls = snapshot.window.timed(Timing.CALL)
    slow_s = calls.percentile_s(0.95)
    if calls.count >= _ENOUGH_SAMPLES and slow_s > _SLOW_CALL_S:
        yield _Loss(5, f"One in twenty calls that wait for nobody takes longer than {slow_s * 1000:.0f} ms.")


def _failed(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    failed = snapshot.statuses.get(Status.FAILED, 0)
    if failed:
        advice = Advice(
            suggestion="Restart or terminate them; list says why each has failed.",
            impact="Their work stands still.",
            priority="high",
        )
        yield _Loss(min(20, 5 * failed), f"{_count(failed, 'instance')} {_have(failed)} failed.", advice)


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _silent(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    if snapshot.silent:
        message = f"The actors of {snapshot.silent} instances do not answer; they are being looked for."
        yield _Loss(min(20, 10 * snapshot.silent), message)


def _decisions(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    asking = snapshot.asking
    if asking:
        nobody_works = len(asking) == snapshot.alive
        message = (
            f"{len(asking)} of {snapshot.alive} living instances wait for a decision, the longest for "
            f"{duration(_longest(asking))}: {who(asking)}."
        )
        advice = Advice(
            suggestion="Look at each request with list and answer it with respond.",
            impact="They stand still until then.",
            priority="high",
        )
        points = 30 if nobody_works else min(20, 5 * len(asking))
        yield _Loss(points, message, advice, _grave(nobody_works or _longest(asking) > _LONG_DECISION_S))


def _rate_limits(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    limited = snapshot.limited
    if limited:
        all_of_them = len(limited) == snapshot.alive
        message = f"A rate limit holds up {len(limited)} of {snapshot.alive} living instances: {who(limited)}."
        advice = Advice(
            suggestion="Let fewer work at the same time, and send them on when the limit has passed.",
            impact="Their last turn did not come to its end. Where Claude Code told the limit's end, they go on then.",
            priority="high",
        )
        yield _Loss(30 if all_of_them else min(20, 5 * len(limited)), message, advice, _grave(all_of_them))


def _in_trouble(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    troubled = snapshot.troubled
    if troubled:
        message = f"{len(troubled)} of {snapshot.alive} living instances cannot go on: {who(troubled)}."
        advice = Advice(
            suggestion="Read them (list says why), see to the cause, then send them on.",
            impact="Their work is not done.",
            priority="high",
        )
        yield _Loss(min(20, 5 * len(troubled)), message, advice)


def _spawns_fail(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    failed = snapshot.window.counted(Count.SPAWNS_FAILED)
    if failed:
        ended = failed + snapshot.window.timed(Timing.SPAWN).count
        part = failed / ended
        why = _head(snapshot.spawn_failure, _LONGEST_FAILURE)
        message = f"{failed} of {ended} spawns failed.{f' The last one: {why}' if why else ''}"
        advice = Advice(
            suggestion="Read the errors of the failed spawns; `phalanx doctor` says what is missing.",
            impact="Instances that do not start do no work.",
            priority="high",
        )
        yield _Loss(min(30, 10 + round(40 * part)), message, advice, _grave(part > 0.5))


def _spawns_queue(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    queue = snapshot.spawns
    if queue.waiting > _LONG_QUEUE:
        points = 5 if queue.waiting <= 2 * queue.limit + _LONG_QUEUE else 10
        message = f"{queue.waiting} spawns wait while {queue.running} run (cap {queue.limit})."
        yield _Loss(points, message, _more_spawns(snapshot))


def _more_spawns(snapshot: TeamSnapshot) -> Advice | None:
    hosts, cap = snapshot.hosts, min(_HIGHEST_CAP, 2 * snapshot.spawns.limit)
    room = not any(map(_is_short_of_memory, hosts)) and any(host.busy < _BUSY for host in hosts)
    if not room or snapshot.tuning.auto or cap == snapshot.spawns.limit:
        return None
    return Advice(
        suggestion=f"Raise maxConcurrentSpawns to {cap}: cores and memory are free.",
        impact="More instances start at the same time.",
        priority="high",
        setting="maxConcurrentSpawns",
        value=cap,
    )


def _no_spares(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    started = snapshot.window.timed(Timing.SPAWN).count
    from_pool = snapshot.window.counted(Count.SPAWNS_FROM_POOL)
    spares = 20 if snapshot.alive >= _LARGE_TEAM else 5
    enough = 2 * from_pool >= started or snapshot.pools.instances.wanted >= spares
    if started < _MANY_STARTS or enough or any(map(_is_short_of_memory, snapshot.hosts)):
        return
    advice = Advice(
        suggestion=f"Raise prewarmInstances to {spares}, if more of them are going to be started.",
        impact="Agents that wait at their prompt are taken at once.",
        priority="low",
        setting="prewarmInstances",
        value=spares,
    )
    yield _Loss(0, f"{started} instances were started and {from_pool} of them came from the pool.", advice, "info")


def _no_memory(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    if snapshot.no_memory:
        advice = Advice(
            suggestion="Terminate instances whose work is done.",
            impact="A start that finds no memory for long fails.",
            priority="high",
        )
        yield _Loss(20, snapshot.no_memory, advice, "error")


def _messages_lost(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    failed = snapshot.window.counted(Count.MESSAGES_FAILED)
    unconfirmed = snapshot.window.counted(Count.MESSAGES_UNCONFIRMED)
    lost = failed + unconfirmed
    if lost:
        ended = lost + snapshot.window.timed(Timing.MESSAGE).count
        message = f"Of {ended} messages {failed} failed and {unconfirmed} {_are(unconfirmed)} unconfirmed."
        advice = Advice(
            suggestion="Look at the reasons in the receipts, and read those instances before anything is sent again.",
            impact="Work that nobody was told of is not done.",
            priority="high",
        )
        yield _Loss(min(20, 5 + round(30 * lost / ended)), message, advice, _grave(failed > ended / 2))


def _messages_held(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    held = snapshot.held
    if held:
        instances = len({one.instance_id for one in held})
        message = (
            f"{_count(len(held), 'message')} for {_count(instances, 'instance')} {_are(len(held))} held back, the "
            f"longest for {duration(_longest(held))}: {who(held)}."
        )
        advice = Advice(
            suggestion="Answer what is in the way: a request with respond, anything else at its terminal "
            "(`phalanx attach ID`).",
            impact="They are typed by themselves as soon as that is safe.",
            priority="high",
        )
        yield _Loss(min(20, 5 + 2 * instances), message, advice, _grave(_longest(held) > _OLD_S))


def _messages_old(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    old = [one for one in snapshot.queued if one.for_s > _OLD_S]
    if old:
        message = (
            f"{_count(len(old), 'message')} {_are(len(old))} on the way for more than {duration(_OLD_S)}, the longest "
            f"for {duration(_longest(old))}: {who(old)}."
        )
        advice = Advice(
            suggestion="Read those instances: they take messages when their turn ends; interrupt a turn that should "
            "not go on.",
            impact="What they were told meanwhile is not begun.",
        )
        yield _Loss(10 if _longest(old) > _VERY_OLD_S else 5, message, advice)


def _messages_pile_up(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    waiting = len(snapshot.queued) + len(snapshot.held)
    if waiting > _PILE_EACH * max(1, snapshot.alive):
        advice = Advice(
            suggestion="Send less until they have caught up, or give the work to more instances.",
            impact="Each takes what has gathered at the end of its turn.",
        )
        yield _Loss(5, f"{waiting} messages wait for {snapshot.alive} living instances.", advice)


def _slow_messages(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    times = snapshot.window.timed(Timing.MESSAGE)
    half_s, most_s = times.percentile_s(0.5), times.percentile_s(0.95)
    if times.count >= _ENOUGH_MESSAGES and most_s > _OLD_S:
        message = (
            f"Of {times.count} messages half were in the conversation within {duration(half_s)} and 95 % within "
            f"{duration(most_s)}."
        )
        advice = Advice(
            suggestion="Give shorter tasks, or more instances: a message waits for the end of the turn before it.",
            impact="What is sent is begun sooner.",
        )
        yield _Loss(10 if half_s > _OLD_S else 5, message, advice)


def _small_batches(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    pastes, pasted = snapshot.window.counted(Count.PASTES), snapshot.window.counted(Count.MESSAGES_PASTED)
    busy = pastes >= _MANY_PASTES and pasted >= _MANY_EACH * max(1, snapshot.alive)
    if busy and pasted / pastes < _SMALL_BATCH and snapshot.tuning.message_batch_delay < _LONGER_DELAY_MS:
        advice = Advice(
            suggestion=f"Set messageBatchDelay to {_LONGER_DELAY_MS}, or send together what belongs together.",
            impact="Fewer turns for the same messages.",
            priority="low",
            setting="messageBatchDelay",
            value=_LONGER_DELAY_MS,
        )
        yield _Loss(0, f"{pasted} messages took {pastes} turns: {pasted / pastes:.1f} a turn.", advice, "info")


def _git_fails(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    failed, answered = snapshot.window.counted(Count.GIT_FAILED), snapshot.window.counted(Count.GIT_ANSWERED)
    if answered >= _ENOUGH_SAMPLES and failed > answered / 4:
        advice = Advice(suggestion="Read their errors in the answers of git_batch.", impact="They did nothing.")
        yield _Loss(10, f"{failed} of {answered} git operations failed.", advice)


def _git_queue(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    queue = snapshot.git.queue
    if queue.waiting > _LONG_QUEUE:
        cap = min(_HIGHEST_CAP, max(5, 2 * queue.limit))
        advice = Advice(
            suggestion=f"Raise maxConcurrentGitOps to {cap}, if they are for several repositories.",
            impact="Repositories do not wait for each other; in one, only one writes at a time.",
            setting="maxConcurrentGitOps",
            value=cap,
        )
        yield _Loss(5, f"{queue.waiting} git operations wait while {queue.running} run (cap {queue.limit}).", advice)


def _small_cache(snapshot: TeamSnapshot) -> Iterator[_Loss]:
    hits, misses = snapshot.window.counted(Count.CACHE_HITS), snapshot.window.counted(Count.CACHE_MISSES)
    evicted, size = snapshot.window.counted(Count.CACHE_EVICTIONS), snapshot.tuning.cache_size
    if evicted and hits + misses >= _ENOUGH_SAMPLES and hits < misses and size < _LARGEST_CACHE:
        larger = min(_LARGEST_CACHE, max(1000, 2 * size))
        message = f"The cache was full: {evicted} answers had to go, and {hits} of {hits + misses} were found in it."
        advice = Advice(
            suggestion=f"Raise cacheSize to {larger}.",
            impact="Answers of git that are still right need not be made again.",
            priority="low",
            setting="cacheSize",
            value=larger,
        )
        yield _Loss(2, message, advice, "info")


_CHECKS: tuple[tuple[str, Category, Callable[[TeamSnapshot], Iterator[_Loss]]], ...] = (
    ("host-silent", "machine", _unanswered),
    ("memory", "machine", _memory),
    ("cores", "machine", _cores),
    ("disk", "machine", _disk),
    ("store", "state", _store),
    ("records", "state", _unreadable),
    ("slow-writes", "state", _slow_writes),
    ("slow-calls", "state", _slow_calls),
    ("instances-failed", "instances", _failed),
    ("instances-silent", "instances", _silent),
    ("decisions", "instances", _decisions),
    ("rate-limits", "instances", _rate_limits),
    ("instances-in-trouble", "instances", _in_trouble),
    ("spawns-fail", "spawning", _spawns_fail),
    ("spawns-queue", "spawning", _spawns_queue),
    ("starts-wait-for-memory", "spawning", _no_memory),
    ("no-spares", "spawning", _no_spares),
    ("messages-lost", "messages", _messages_lost),
    ("messages-held", "messages", _messages_held),
    ("messages-old", "messages", _messages_old),
    ("messages-pile-up", "messages", _messages_pile_up),
    ("slow-messages", "messages", _slow_messages),
    ("small-batches", "messages", _small_batches),
    ("git-fails", "git", _git_fails),
    ("git-queue", "git", _git_queue),
    ("small-cache", "git", _small_cache),
)
