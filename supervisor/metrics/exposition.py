"""The team's figures as Prometheus scrapes them: names, units and labels, and the text; pure.

``MetricsService`` calls ``exposition`` when somebody scrapes, so a team that nobody scrapes pays nothing. Sums come
from ``Totals``, what is now from a ``TeamSnapshot`` and its findings. Names follow the conventions of Prometheus: base
units, ``_total`` for what only grows. Hosts and roles are labels. Instances are none: each value of a label is a series
for ever. docs/metrics.md tells what each is; a test holds it, and docs/grafana.json, to what is shown here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api.requests import GitType, Role
from supervisor.metrics.health import HealthFinding, score
from supervisor.metrics.metrics import Count, Timing
from supervisor.metrics.snapshot import TeamSnapshot
from supervisor.metrics.totals import BOUNDS_S, Totals

_LabelsT = TypeVar("_LabelsT", bound=tuple[str, ...])
"""The values of the labels, in their order."""
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_FINAL = (MessageStatus.SUBMITTED, MessageStatus.FAILED, MessageStatus.UNCONFIRMED, "withdrawn")
_DURATIONS: Mapping[Timing, tuple[str, str]] = {
    Timing.SPAWN: ("spawn", "From the permit of a spawn to the proof of its first message, of those that succeeded."),
    Timing.SPAWN_WAIT: ("spawn_wait", "How long a spawn waited for its permit."),
    Timing.MESSAGE: ("message_proof", "From the acceptance of a message to its proof in the agent's transcript."),
    Timing.GIT: ("git_operation", "One git operation that was carried out."),
    Timing.GIT_WAIT: ("git_wait", "How long a git operation waited for its turn."),
    Timing.STORE: ("store_write", "One write of the team's state."),
    Timing.CALL: ("call", "One call of a verb that waits for no agent."),
}
_COUNTS: Mapping[Count, tuple[str, str]] = {
    Count.SPAWNS_FROM_POOL: ("spawns_from_pool", "Spawns that took a spare agent."),
    Count.AGENTS_FAILED: ("agent_failures", "Agents that ended without having been asked to."),
    Count.MESSAGES_ACCEPTED: ("messages_accepted", "Messages that were accepted."),
    Count.PASTES: ("pastes", "Pastes of messages into agents' terminals."),
    Count.MESSAGES_PASTED: ("messages_pasted", "Messages in these pastes."),
    Count.GIT_RETRIES: ("git_retries", "Git operations that met another one's lock and were tried again."),
    Count.CACHE_EVICTIONS: ("git_cache_evictions", "Answers of git that left the full cache."),
}


class SupervisorInfo(NamedTuple):
    version: str
    started_at: float
    """Seconds since the epoch."""


def exposition(
    supervisor: SupervisorInfo, totals: Totals, snapshot: TeamSnapshot, findings: Sequence[HealthFinding]
) -> str:
    """The text, in the format that ``CONTENT_TYPE`` names."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Families([*_about(supervisor), *_sums(totals), *_durations(totals), *_present(snapshot, findings)])
    )
    return generate_latest(registry).decode()


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _about(supervisor: SupervisorInfo) -> Iterator[Metric]:
    yield _gauge("build_info", "The version that the supervisor runs.", ["version"], {(supervisor.version,): 1})
    yield _gauge("supervisor_start_time_seconds", "When the supervisor began.", [], {(): supervisor.started_at})


def _sums(totals: Totals) -> Iterator[Metric]:
    counts = totals.counts
    for name, (metric, meaning) in _COUNTS.items():
        yield _counter(metric, meaning, [], {(): counts[name]})
    spawns = {("started",): totals.durations[Timing.SPAWN].cumulative[-1], ("failed",): counts[Count.SPAWNS_FAILED]}
    yield _counter("spawns", "Spawns that ended, by outcome.", ["outcome"], spawns)
    finals = {(str(status),): totals.messages[str(status)] for status in _FINAL}
    yield _counter("messages", "Messages that came to the end of their way, by final status.", ["status"], finals)
    known = {(str(kind), failed): 0 for kind in get_args(GitType) for failed in (False, True)} | totals.git
    operations = {(kind, "failed" if failed else "done"): number for (kind, failed), number in known.items()}
    meaning = "Git operations that were answered, by type and outcome."
    yield _counter("git_operations", meaning, ["type", "outcome"], operations)
    asked = {("hit",): counts[Count.CACHE_HITS], ("miss",): counts[Count.CACHE_MISSES]}
    yield _counter("git_cache_requests", "Reads of git that were looked up in the cache.", ["result"], asked)
    use = totals.tokens
    kinds = {
        ("input",): use.input_tokens,
        ("output",): use.output_tokens,
        ("cache_read",): use.cache_read_tokens,
        ("cache_creation",): use.cache_creation_tokens,
    }
    yield _counter("tokens", "Tokens that the instances used, by kind.", ["kind"], kinds)


def _durations(totals: Totals) -> Iterator[Metric]:
    ends = [*map(str, BOUNDS_S), "+Inf"]
    for timing, (metric, meaning) in _DURATIONS.items():
        durations = totals.durations[timing]
        family = HistogramMetricFamily(f"phalanx_{metric}_seconds", meaning)
        family.add_metric([], list(zip(ends, durations.cumulative, strict=True)), durations.total_s)
        yield family


def _present(snapshot: TeamSnapshot, findings: Sequence[HealthFinding]) -> Iterator[Metric]:
    by_role = {(str(status), str(role)): 0 for status in Status for role in Role} | dict(snapshot.roles)
    yield _gauge("instances", "Instances that were not terminated.", ["status", "role"], by_role)
    yield _gauge("instances_needing_attention", "Instances that wait for somebody.", [], {(): snapshot.needing})
    yield _gauge("instances_silent", "Instances whose actor does not answer.", [], {(): snapshot.silent})
    yield _gauge("messages_under_way", "Messages that are accepted and not final.", [], {(): snapshot.pending})
    yield _gauge("messages_held", "Messages that are held back.", [], {(): len(snapshot.held)})

    queues = {("spawn",): snapshot.spawns, ("git",): snapshot.git.queue}
    yield _gauge(
        "queue_running", "Work that holds a permit.", ["queue"], {name: q.running for name, q in queues.items()}
    )
    yield _gauge(
        "queue_waiting", "Work that waits for one.", ["queue"], {name: q.waiting for name, q in queues.items()}
    )
    yield _gauge("queue_limit", "Permits that there are.", ["queue"], {name: q.limit for name, q in queues.items()})

    pools = snapshot.pools
    stocks = {("instances",): pools.instances, ("worktrees",): pools.worktrees}
    yield _gauge("pool_ready", "Spares that are ready.", ["pool"], {name: one.ready for name, one in stocks.items()})
    yield _gauge(
        "pool_wanted", "Spares that there shall be.", ["pool"], {name: one.wanted for name, one in stocks.items()}
    )
    yield _gauge("git_cache_entries", "Answers of git in the cache.", [], {(): snapshot.git.cached})
    yield _gauge("git_cache_limit", "Answers that the cache takes.", [], {(): snapshot.tuning.cache_size})

    yield from _machines(snapshot)

    yield _gauge("score", "How well the team performs, 0 to 100.", [], {(): score(findings)})
    alerts = {(one.code, one.category, one.severity): 1 for one in findings if one.severity != "info"}
    meaning = "Trouble that there is now; its words are in get_performance."
    yield _gauge("alert", meaning, ["code", "category", "severity"], alerts)


def _machines(snapshot: TeamSnapshot) -> Iterator[Metric]:
    hosts = snapshot.hosts

    def of_each(name: str, meaning: str, values: Iterable[float]) -> Metric:
        return _gauge(
            name, meaning, ["host"], {(host.load.host,): value for host, value in zip(hosts, values, strict=True)}
        )

    yield of_each("host_instances", "Living instances on the host.", (host.instances for host in hosts))
    yield of_each("host_cores", "Cores of the host.", (host.load.cpus for host in hosts))
    yield of_each(
        "host_cpu_busy_ratio", "Part of the cores' time that was spent working.", (host.busy for host in hosts)
    )
    meaning = "Processes that want a core, averaged over a minute."
    yield of_each("host_load1", meaning, (host.load.load_1m for host in hosts))
    yield of_each("host_memory_bytes", "Memory of the host.", (host.load.memory_total_bytes for host in hosts))
    meaning = "Memory that can be used."
    yield of_each("host_memory_available_bytes", meaning, (host.load.memory_available_bytes for host in hosts))
    meaning = "Room on the disk of the team's home."
    yield of_each("host_disk_available_bytes", meaning, (host.load.disk_available_bytes for host in hosts))
    slots = {(host.load.host,): host.slots for host in hosts if host.slots is not None}
    yield _gauge("host_slots", "Instances that a host of a cluster has room for.", ["host"], slots)


def _gauge(name: str, meaning: str, labels: Sequence[str], values: Mapping[_LabelsT, float]) -> Metric:
    return _filled(GaugeMetricFamily(f"phalanx_{name}", meaning, labels=labels), values)


def _counter(name: str, meaning: str, labels: Sequence[str], values: Mapping[_LabelsT, float]) -> Metric:
    return _filled(CounterMetricFamily(f"phalanx_{name}", meaning, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[_LabelsT, float]) -> Metric:
    for labels, value in values.items():
        family.add_metric(list(labels), value)
    return family
