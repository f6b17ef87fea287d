"""The guide's message table: many messages to fifty demo agents, batched and one by one, to proved arrival.

Proof is the agents' own log, which is read by code of the tests and not by the code that is measured. Beside the time:
how many turns the messages made, and what Phalanx's own processes took of the CPU for each, above what they take idle.
Run alone with ``python -m scripts.benchmarks.traffic``; prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.messages import MessageStatus
from scripts.benchmarks.processes import OURS, cpu_s, processes_of
from supervisor import requests
from supervisor.client import SupervisorClient
from supervisor.team_file import read_team
from tests.acceptance.team import Team, bring_up
from tests.chaos.arrivals import of_demo

INSTANCES = 50
COUNTS = (100, 500, 1000)
ONE_BY_ONE = 100
"""So many are sent one by one; the time of more is reckoned from these."""
_IDLE_S = 5.0
_ARRIVAL_S = 300.0
_TEXT = "Look into the failing test of module {number} and say in one sentence why it fails."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``saved`` is the part of the time of one by one that the batch does not take. CPU is in ms for each message,
    above what the same processes took idle in the same time."""

    messages: int
    batched_s: float
    one_by_one_s: float
    saved: float
    turns: int
    cpu_ms: float
    cpu_ms_by_kind: dict[str, float]


class Traffic:
    """Fifty agents, and the figures of what is sent to them."""

    def __init__(self, team: Team, client: SupervisorClient, instance_ids: Sequence[str]) -> None:
        self._team = team
        self._client = client
        self._ids = instance_ids
        known = read_team(team.home)
        if known is None:
            raise RuntimeError("the team has no file")
        self._processes = processes_of(known.team_id, known.tmux_pid)

    async def idle_per_s(self) -> Counter[str]:
        """What the processes take of the CPU while nothing is asked of them."""
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
        batched_s = arrived_at - begun_at
        by_kind = {kind: max(0.0, took[kind] - idle[kind] * watched_s) * 1000 / count for kind in (*OURS, "ray")}
        return Row(
            messages=count,
            batched_s=round(batched_s, 3),
            one_by_one_s=round(one_by_one_s * count, 3),
            saved=round(1 - batched_s / (one_by_one_s * count), 4),
            turns=self._turns() - turns_before,
            cpu_ms=round(sum(by_kind[kind] for kind in OURS), 3),
            cpu_ms_by_kind={kind: round(each, 3) for kind, each in by_kind.items()},
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


async def measure(team: Team, instances: int, counts: Sequence[int]) -> dict[str, object]:
    async with await team.connect() as client:
        members = [team.specialist(agent="demo", workspace_mode="shared") for _ in range(instances)]
        spawned = await client.spawn_batch(requests.SpawnBatchRequest(instances=members))
        if not spawned.success:
            raise RuntimeError("the instances did not start")
        ids = [one.instance_id or "" for one in spawned.instances]
        await client.wait(requests.WaitRequest(instance_ids=ids, timeout_seconds=60))
        traffic = Traffic(team, client, ids)
        idle = await traffic.idle_per_s()
        one_by_one_s = await traffic.one_by_one_s(ONE_BY_ONE)
        rows = [await traffic.batched(count, one_by_one_s, idle) for count in counts]
    return {
        "instances": instances,
        "sent_one_by_one": ONE_BY_ONE,
        "idle_cpu_percent": {kind: round(each * 100, 2) for kind, each in idle.items()},
        "rows": [asdict(row) for row in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=int, default=INSTANCES)
    parser.add_argument("--messages", type=int, nargs="+", default=COUNTS)
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="phx", dir="/tmp"))
    try:
        team = bring_up(scratch, PHALANX_AGENT="demo")
        try:
            print(json.dumps(asyncio.run(measure(team, given.instances, given.messages)), indent=1))
        finally:
            team.runtime.down(lambda step: None)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
