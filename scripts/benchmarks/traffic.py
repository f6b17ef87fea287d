"""The guide's message table: many messages to fifty demo agents, batched and one by one, to proved arrival.

Proof is the agents' own log, which code of the tests reads and not the measured code. Beside the time it measures the
number of turns, and the CPU of Phalanx's own processes for each message, above what they use when idle.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from actors.messages import MessageStatus
from scripts.benchmarks.bench import Bench, start_batch
from scripts.benchmarks.processes import OURS, cpu_s, processes_of
from scripts.benchmarks.section import Part, Plot, Section
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.chaos.arrivals import of_demo

_INSTANCES = 50
_AIM = {100: 0.85, 500: 0.90, 1000: 0.95}
_ONE_BY_ONE = 100
"""Messages that are sent one by one; the time of more is computed from these."""
_IDLE_S = 5.0
_RESTING = ("ray", "supervisor", "host", "instances")
"""The order in which ``scale`` reads the idle CPU of these kinds."""
_ARRIVAL_S = 300.0
_WORDS = f"""
{_INSTANCES} demo agents whose turn takes 50 ms; the messages go round them. *one by one*: the next is sent when the one
before is proved; {_ONE_BY_ONE} are sent so, and the time of more is reckoned from these. *batched*: one `send_batch`,
from the call to the arrival of the last in its agent's own log; a run in which one is missing or came twice fails.
*CPU*: what the processes of Phalanx took for each message (actors of the instances, of the host and of the supervisor
with Ray's part in them, tmux and its clients), above what they take idle. The agents themselves work on the same cores.
"""
_TEXT = "Look into the failing test of module {number} and say in one sentence why it fails."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``cpu_ms`` by kind of process, for each message, above what the same processes took idle in the same time."""

    messages: int
    batched_s: float
    one_by_one_s: float
    turns: int
    cpu_ms: dict[str, float]


class Traffic:
    """Fifty agents, and the figures of what is sent to them."""

    def __init__(self, team: Team, client: SupervisorClient, instance_ids: Sequence[str]) -> None:
        self._team = team
        self._client = client
        self._ids = instance_ids
        self._processes = processes_of(team.home)

    async def idle_per_s(self) -> Counter[str]:
        """CPU of the idle processes, in seconds a second, by kind."""
        before, begun = cpu_s(self._processes), time.monotonic()
        await asyncio.sleep(_IDLE_S)
        took = cpu_s(self._processes) - before
        return Counter({kind: each / (time.monotonic() - begun) for kind, each in took.items()})

    async def one_by_one_s(self, count: int) -> float:
        """Seconds for each message, when the next is only sent after the one before was proved."""
        begun = time.perf_counter()
        for number, instance_id in zip(range(count), itertools.cycle(self._ids), strict=False):
            sent = await self._client.send(
                requests.SendRequest(instance_id=instance_id, message=_TEXT.format(number=number), wait=True)
            )
            if sent.status is not MessageStatus.SUBMITTED:
                raise RuntimeError(f"message {number} was not proved: {sent.reason}")
        return (time.perf_counter() - begun) / count

    async def batched(self, count: int, one_by_one_s: float, idle: Counter[str]) -> Row:
        messages = [
            requests.BatchMessage(instance_id=instance_id, message=_TEXT.format(number=number))
            for number, instance_id in zip(range(count), itertools.cycle(self._ids), strict=False)
        ]
        turns_before = self._turns()
        before, begun, begun_at = cpu_s(self._processes), time.monotonic(), time.time()
        sent = await self._client.send_batch(
            requests.SendBatchRequest(messages=messages, wait=True, timeout_seconds=_ARRIVAL_S)
        )
        await self._all_idle()
        took, watched_s = cpu_s(self._processes) - before, time.monotonic() - begun
        arrived_at = self._arrived_at([one.message_id or "" for one in sent.results])
        return Row(
            messages=count,
            batched_s=arrived_at - begun_at,
            one_by_one_s=one_by_one_s * count,
            turns=self._turns() - turns_before,
            cpu_ms={kind: (took[kind] - idle[kind] * watched_s) * 1000 / count for kind in (*OURS, "ray")},
        )

    async def _all_idle(self) -> None:
        waited = await self._client.wait(requests.WaitRequest(instance_ids=list(self._ids), timeout_seconds=60))
        if not waited.reached:
            raise RuntimeError("an agent is still at work")

    def _arrived_at(self, message_ids: Sequence[str]) -> float:
        """When the last one arrived, by the agents' own log. Raises when one did not, or came twice."""
        arrivals = [one for instance_id in self._ids for one in of_demo(instance_id, self._log(instance_id))]
        times = Counter(one.message_id for one in arrivals)
        if odd := [one for one in message_ids if times[one] != 1]:
            raise RuntimeError(f"{len(odd)} of {len(message_ids)} messages did not arrive once: {odd[:3]}")
        wanted = set(message_ids)
        return max(one.at for one in arrivals if one.message_id in wanted)

    def _turns(self) -> int:
        return sum(self._log(instance_id).count(b'"prompt"') for instance_id in self._ids)

    def _log(self, instance_id: str) -> bytes:
        return (self._team.home.instance_directory(instance_id) / "demo-log.jsonl").read_bytes()


async def _rows(bench: Bench, team: Team) -> tuple[list[Row], Counter[str]]:
    async with await team.connect() as client:
        bench.say(f"{_INSTANCES} agents start")
        batch = await start_batch(client, [team.specialist(agent="demo", workspace_mode="shared")] * _INSTANCES)
        await client.wait(requests.WaitRequest(instance_ids=batch.ids, timeout_seconds=60))
        traffic = Traffic(team, client, batch.ids)
        idle = await traffic.idle_per_s()
        bench.say(f"{_ONE_BY_ONE} messages one by one")
        one_by_one_s = await traffic.one_by_one_s(_ONE_BY_ONE)
        bench.say(f"{', '.join(map(str, _AIM))} messages in a batch")
        return [await traffic.batched(count, one_by_one_s, idle) for count in _AIM], idle


async def _measure(bench: Bench) -> Section:
    async with bench.team(PHALANX_AGENT="demo") as team:
        rows, idle = await _rows(bench, team)
    return Section(
        columns=("messages", "one by one", "batched", "less time", "aim", "turns one by one", "turns batched", "CPU"),
        rows=[_row(row) for row in rows],
        words=_WORDS,
        samples={
            "batched, s": [row.batched_s for row in rows],
            "one by one, s": [row.one_by_one_s for row in rows],
            **{f"CPU of {kind}, ms for each message": [row.cpu_ms[kind] for row in rows] for kind in (*OURS, "ray")},
            "CPU idle, ms a second: " + ", ".join(_RESTING): [idle[kind] * 1000 for kind in _RESTING],
        },
        plots=[_plot(rows)],
    )


def _row(row: Row) -> tuple[str, ...]:
    cpu_ms = sum(row.cpu_ms[kind] for kind in OURS)
    return (
        str(row.messages),
        f"{row.one_by_one_s:.1f} s",
        f"{row.batched_s:.2f} s",
        f"{1 - row.batched_s / row.one_by_one_s:.1%}",
        f"≥ {_AIM[row.messages]:.0%}",
        str(row.messages),
        str(row.turns),
        f"{cpu_ms:.2f} ms",
    )


def _plot(rows: Sequence[Row]) -> Plot:
    series = {"one by one": [row.one_by_one_s for row in rows], "batched": [row.batched_s for row in rows]}
    labels = [str(row.messages) for row in rows]
    return Plot(title="Messages to 50 agents", unit="s", labels=labels, series=series, logarithmic=True)


PART = Part(name="messages", title="The guide's table of messages", measure=_measure)
