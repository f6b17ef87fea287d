"""Judges a snapshot of the team: which findings lower its score, and which setting would help; pure.

``MetricsService`` and ``AlertLoop`` call ``judge``. Each rule yields a finding for what is wrong and nothing when all
is well; an idle team on a machine with room breaks none.
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

LARGEST_CACHE = 100_000
_ENOUGH_GIT_TO_TELL = 20

BUSY = 0.95
CROWDED = 4.0
OVERRUN = 10.0
"""So many processes a core want to run, on average over a minute."""
_GB = 1e9
_LITTLE_MEMORY = (0.10, 1.0 * _GB)
_HARDLY_ANY_MEMORY = (0.05, 0.5 * _GB)
_LITTLE_DISK = 2.0 * _GB
_HARDLY_ANY_DISK = 1.0 * _GB

LONG_QUEUE = 10
"""As the guide has it."""
HIGHEST_CAP = 100
_MANY = 10
_LARGE_TEAM = 50

_ENOUGH_SAMPLES_TO_TELL = 20
_SLOW_WRITE_S = 0.1
_SLOW_CALL_S = 0.25

_MOST_NAMED = 3
_LONGEST_WHY = 120
_MINUTE_S = 60
_HOUR_S = 3600

LONG_ASKING_S = 600.0

OLD_S = 300.0
VERY_OLD_S = 900.0
_PILE_EACH = 10
"""So many go to an instance in one turn, as it is set at first."""
_ENOUGH_MESSAGES_TO_TELL = 5
_MANY_PASTES = 50
_MANY_EACH = 5
_SMALL_BATCH = 3
"""As the guide has it."""
_LONGER_DELAY_MS = 200


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


Rule = Callable[[TeamSnapshot], Iterator[HealthFinding]]


def judge(snapshot: TeamSnapshot) -> list[HealthFinding]:
    """All findings of a snapshot, the costliest first."""
    found = [finding for rule in _RULES for finding in rule(snapshot)]
    return sorted(found, key=lambda finding: -finding.points)


def score(findings: Sequence[HealthFinding]) -> int:
    return max(0, BEST - sum(finding.points for finding in findings))


def is_short_of_memory(host: HostSnapshot) -> bool:
    return _has_less_than(host, _LITTLE_MEMORY)


def _has_less_than(host: HostSnapshot, bounds: tuple[float, float]) -> bool:
    part, least = bounds
    return host.load.memory_available_bytes < max(part * host.load.memory_total_bytes, least)


def _unanswered(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    for reason in snapshot.unanswered:
        yield HealthFinding(
            code="host-silent",
            category="machine",
            severity="error",
            points=30,
            message=f"A host cannot be asked how it is: {reason}",
        )


def _memory(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    for host in filter(is_short_of_memory, snapshot.hosts):
        free, total = host.load.memory_available_bytes / _GB, host.load.memory_total_bytes / _GB
        hardly_any = _has_less_than(host, _HARDLY_ANY_MEMORY)
        yield HealthFinding(
            code="memory",
            category="machine",
            severity="error" if hardly_any else "warning",
            points=30 if hardly_any else 15,
            message=f"{host.load.host} has {free:.1f} GB of {total:.1f} GB of memory left.",
            advice=_less_memory(snapshot),
        )


def _less_memory(snapshot: TeamSnapshot) -> Advice:
    impact = "Below a reserve no further agent is started; without any memory the system ends programs."
    if snapshot.tuning.prewarm_instances:
        return Advice(
            suggestion="Set prewarmInstances to 0: spare agents hold memory.",
            impact=impact,
            priority="high",
            setting="prewarmInstances",
            value=0,
        )
    return Advice(suggestion="Terminate instances whose work is done.", impact=impact, priority="high")


def _cores(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    for host in snapshot.hosts:
        each = host.load.load_1m / host.load.cpus
        if each <= CROWDED:
            continue
        overrun = each > OVERRUN
        yield HealthFinding(
            code="cores",
            category="machine",
            severity="error" if overrun else "warning",
            points=20 if overrun else 5,
            message=f"{host.load.load_1m:.0f} processes want the {host.load.cpus} cores of {host.load.host} (over the "
            f"last minute, {each:.0f} a core).",
            advice=_less_work(snapshot),
        )


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


def _disk(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    for host in snapshot.hosts:
        free = host.load.disk_available_bytes
        if free >= _LITTLE_DISK:
            continue
        hardly_any = free < _HARDLY_ANY_DISK
        yield HealthFinding(
            code="disk",
            category="machine",
            severity="error" if hardly_any else "warning",
            points=20 if hardly_any else 10,
            message=f"{free / _GB:.1f} GB are free on the home's disk of {host.load.host}.",
            advice=Advice(
                suggestion="Free disk space; `phalanx gc` clears away what terminated instances left.",
                impact="Worktrees and the team's state need room.",
                priority="high",
            ),
        )


def _store(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.store.warning:
        return
    yield HealthFinding(
        code="store",
        category="state",
        severity="warning",
        points=10,
        message=snapshot.store.warning,
        advice=Advice(
            suggestion="See to what it says; `phalanx doctor` looks at the Redis.",
            impact="Until then the team's state has one copy less.",
            priority="high",
        ),
    )


def _unreadable(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if snapshot.unreadable:
        yield HealthFinding(code="records", category="state", severity="warning", points=5, message=snapshot.unreadable)


def _slow_writes(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    writes = snapshot.window.timed(Timing.STORE)
    slow_s = writes.percentile_s(0.95)
    if writes.count >= _ENOUGH_SAMPLES_TO_TELL and slow_s > _SLOW_WRITE_S:
        yield HealthFinding(
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


def _slow_calls(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    calls = snapshot.window.timed(Timing.CALL)
    slow_s = calls.percentile_s(0.95)
    if calls.count >= _ENOUGH_SAMPLES_TO_TELL and slow_s > _SLOW_CALL_S:
        yield HealthFinding(
            code="slow-calls",
            category="state",
            severity="warning",
            points=5,
            message=f"One in twenty calls that wait for nobody takes longer than {slow_s * 1000:.0f} ms.",
        )


def duration(seconds: float) -> str:
    """In its largest unit that shows at least two of them."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.0f} h"


def who(waiting: Sequence[StalledItem]) -> str:
    """At most ``_MOST_NAMED`` of the instances, the longest wait first, each once and with its reason."""
    reasons: dict[str, str] = {}
    for one in sorted(waiting, key=lambda one: -one.for_s):
        reasons.setdefault(one.instance_id, " ".join(one.why.split())[:_LONGEST_WHY].rstrip(". "))
    named = [f"{name} ({why})" if why else name for name, why in list(reasons.items())[:_MOST_NAMED]]
    more = [f"and {len(reasons) - _MOST_NAMED} more"] if len(reasons) > _MOST_NAMED else []
    return ", ".join([*named, *more])


def _failed(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    failed = snapshot.statuses.get(Status.FAILED, 0)
    if not failed:
        return
    yield HealthFinding(
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


def _silent(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.silent:
        return
    yield HealthFinding(
        code="instances-silent",
        category="instances",
        severity="warning",
        points=min(20, 10 * snapshot.silent),
        message=f"The actors of {snapshot.silent} instances do not answer; they are being looked for.",
    )


def _asking(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.asking:
        return
    longest_s = max(one.for_s for one in snapshot.asking)
    nobody_works = len(snapshot.asking) == snapshot.alive
    yield HealthFinding(
        code="decisions",
        category="instances",
        severity="error" if nobody_works or longest_s > LONG_ASKING_S else "warning",
        points=30 if nobody_works else min(20, 5 * len(snapshot.asking)),
        message=f"{len(snapshot.asking)} of {snapshot.alive} living instances wait for a decision, the longest for "
        f"{duration(longest_s)}: {who(snapshot.asking)}.",
        advice=Advice(
            suggestion="Look at each request with list and answer it with respond.",
            impact="They stand still until then.",
            priority="high",
        ),
    )


def _limited(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.limited:
        return
    all_of_them = len(snapshot.limited) == snapshot.alive
    yield HealthFinding(
        code="rate-limits",
        category="instances",
        severity="error" if all_of_them else "warning",
        points=30 if all_of_them else min(20, 5 * len(snapshot.limited)),
        message=(
            f"A rate limit holds up {len(snapshot.limited)} of {snapshot.alive} living instances: "
            f"{who(snapshot.limited)}."
        ),
        advice=Advice(
            suggestion="Let fewer work at the same time, and send them on when the limit has passed.",
            impact="Their last turn did not come to its end, and no turn begins by itself.",
            priority="high",
        ),
    )


def _troubled(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.troubled:
        return
    yield HealthFinding(
        code="instances-in-trouble",
        category="instances",
        severity="warning",
        points=min(20, 5 * len(snapshot.troubled)),
        message=(
            f"{len(snapshot.troubled)} of {snapshot.alive} living instances cannot go on: {who(snapshot.troubled)}."
        ),
        advice=Advice(
            suggestion="Read them (list says why), see to the cause, then send them on.",
            impact="Their work is not done.",
            priority="high",
        ),
    )


_LONGEST_REASON = 300


def _spawn_failures(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    failed = snapshot.window.counted(Count.SPAWNS_FAILED)
    if not failed:
        return
    started = snapshot.window.timed(Timing.SPAWN).count
    part = failed / (failed + started)
    yield HealthFinding(
        code="spawns-fail",
        category="spawning",
        severity="error" if part > 0.5 else "warning",
        points=min(30, 10 + round(40 * part)),
        message=f"{failed} of {failed + started} spawns failed.{_why(snapshot.spawn_failure)}",
        advice=Advice(
            suggestion="Read the errors of the failed spawns; `phalanx doctor` says what is missing.",
            impact="Instances that do not start do no work.",
            priority="high",
        ),
    )


def _why(failure: str) -> str:
    words = " ".join(failure.split())
    return f" The last one: {words[:_LONGEST_REASON]}" if words else ""


def _spawn_queue(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    queue = snapshot.spawns
    if queue.waiting <= LONG_QUEUE:
        return
    room = not any(map(is_short_of_memory, snapshot.hosts)) and any(host.busy < BUSY for host in snapshot.hosts)
    yield HealthFinding(
        code="spawns-queue",
        category="spawning",
        severity="warning",
        points=5 if queue.waiting <= 2 * queue.limit + LONG_QUEUE else 10,
        message=f"{queue.waiting} spawns wait while {queue.running} run (cap {queue.limit}).",
        advice=_more_spawns(snapshot) if room and not snapshot.tuning.auto else None,
    )


def _more_spawns(snapshot: TeamSnapshot) -> Advice | None:
    cap = min(HIGHEST_CAP, 2 * snapshot.spawns.limit)
    if cap == snapshot.spawns.limit:
        return None
    return Advice(
        suggestion=f"Raise maxConcurrentSpawns to {cap}: cores and memory are free.",
        impact="More instances start at the same time.",
        priority="high",
        setting="maxConcurrentSpawns",
        value=cap,
    )


def _no_spares(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    started = snapshot.window.timed(Timing.SPAWN).count
    from_pool = snapshot.window.counted(Count.SPAWNS_FROM_POOL)
    if started < _MANY or from_pool or snapshot.pools.instances.wanted or any(map(is_short_of_memory, snapshot.hosts)):
        return
    spares = 20 if snapshot.alive >= _LARGE_TEAM else 5
    yield HealthFinding(
        code="no-spares",
        category="spawning",
        severity="info",
        points=0,
        message=f"{started} instances were started and none of them came from the pool.",
        advice=Advice(
            suggestion=f"Set prewarmInstances to {spares}, if more of them are going to be started.",
            impact="Agents that wait at their prompt are taken at once.",
            priority="low",
            setting="prewarmInstances",
            value=spares,
        ),
    )


def _no_memory(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.no_memory:
        return
    yield HealthFinding(
        code="starts-wait-for-memory",
        category="spawning",
        severity="error",
        points=20,
        message=snapshot.no_memory,
        advice=Advice(
            suggestion="Terminate instances whose work is done.",
            impact="A start that finds no memory for long fails.",
            priority="high",
        ),
    )


def _losses(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    failed = snapshot.window.counted(Count.MESSAGES_FAILED)
    unconfirmed = snapshot.window.counted(Count.MESSAGES_UNCONFIRMED)
    lost = failed + unconfirmed
    if not lost:
        return
    ended = lost + snapshot.window.timed(Timing.MESSAGE).count
    yield HealthFinding(
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


def _held(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    if not snapshot.held:
        return
    instances = len({one.instance_id for one in snapshot.held})
    longest_s = max(one.for_s for one in snapshot.held)
    yield HealthFinding(
        code="messages-held",
        category="messages",
        severity="error" if longest_s > OLD_S else "warning",
        points=min(20, 5 + 2 * instances),
        message=f"{len(snapshot.held)} {_messages(len(snapshot.held))} for {instances} "
        f"{'instance' if instances == 1 else 'instances'} {_are(len(snapshot.held))} held back, the longest for "
        f"{duration(longest_s)}: {who(snapshot.held)}.",
        advice=Advice(
            suggestion="Answer what is in the way: a request with respond, anything else at its terminal "
            "(`phalanx attach ID`).",
            impact="They are typed by themselves as soon as that is safe.",
            priority="high",
        ),
    )


def _old(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    old = [one for one in snapshot.queued if one.for_s > OLD_S]
    if not old:
        return
    longest_s = max(one.for_s for one in old)
    yield HealthFinding(
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


def _pile(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    waiting = len(snapshot.queued) + len(snapshot.held)
    if waiting <= _PILE_EACH * max(1, snapshot.alive):
        return
    yield HealthFinding(
        code="messages-pile-up",
        category="messages",
        severity="warning",
        points=5,
        message=f"{waiting} messages wait for {snapshot.alive} living instances.",
        advice=Advice(
            suggestion="Send less until they have caught up, or give the work to more instances.",
            impact="Each takes what has gathered at the end of its turn.",
        ),
    )


def _slow(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    times = snapshot.window.timed(Timing.MESSAGE)
    half_s, most_s = times.percentile_s(0.5), times.percentile_s(0.95)
    if times.count < _ENOUGH_MESSAGES_TO_TELL or most_s <= OLD_S:
        return
    yield HealthFinding(
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


def _fragments(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    pastes, pasted = snapshot.window.counted(Count.PASTES), snapshot.window.counted(Count.MESSAGES_PASTED)
    busy = pastes >= _MANY_PASTES and pasted >= _MANY_EACH * max(1, snapshot.alive)
    if not busy or pasted / pastes >= _SMALL_BATCH or snapshot.tuning.message_batch_delay >= _LONGER_DELAY_MS:
        return
    yield HealthFinding(
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


def _git_failures(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    failed, answered = snapshot.window.counted(Count.GIT_FAILED), snapshot.window.counted(Count.GIT_ANSWERED)
    if answered < _ENOUGH_GIT_TO_TELL or failed <= answered / 4:
        return
    yield HealthFinding(
        code="git-fails",
        category="git",
        severity="warning",
        points=10,
        message=f"{failed} of {answered} git operations failed.",
        advice=Advice(suggestion="Read their errors in the answers of git_batch.", impact="They did nothing."),
    )


def _git_queue(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    queue = snapshot.git.queue
    if queue.waiting <= LONG_QUEUE:
        return
    cap = min(HIGHEST_CAP, max(5, 2 * queue.limit))
    yield HealthFinding(
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


def _cache(snapshot: TeamSnapshot) -> Iterator[HealthFinding]:
    hits, misses = snapshot.window.counted(Count.CACHE_HITS), snapshot.window.counted(Count.CACHE_MISSES)
    evicted, size = snapshot.window.counted(Count.CACHE_EVICTIONS), snapshot.tuning.cache_size
    if not evicted or hits + misses < _ENOUGH_GIT_TO_TELL or hits >= misses or size >= LARGEST_CACHE:
        return
    larger = min(LARGEST_CACHE, max(1000, 2 * size))
    yield HealthFinding(
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


_RULES: tuple[Rule, ...] = (
    _unanswered,
    _memory,
    _cores,
    _disk,
    _store,
    _unreadable,
    _slow_writes,
    _slow_calls,
    _failed,
    _silent,
    _asking,
    _limited,
    _troubled,
    _spawn_failures,
    _spawn_queue,
    _no_memory,
    _no_spares,
    _losses,
    _held,
    _old,
    _pile,
    _slow,
    _fragments,
    _git_failures,
    _git_queue,
    _cache,
)
