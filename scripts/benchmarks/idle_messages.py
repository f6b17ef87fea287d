"""Single messages to an idle real Claude, many of them, for the tail of their times."""

from __future__ import annotations

import statistics

from actors.messages import MessageStatus
from scripts.benchmarks.bench import Bench, timed
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient

_WORDS = """
One after the other, each when the one before has been answered and the instance is idle again; from the call to the
proof, with `immediate`. A message that is not proved fails the run. `scripts/bench message --messages 1000` takes the
time of a thousand.
"""


async def _times_ms(client: SupervisorClient, instance_id: str, count: int) -> list[float]:
    times = []
    for number in range(count):
        await client.wait(requests.WaitRequest(instance_ids=[instance_id]))
        text = f"message {number}"
        request = requests.SendRequest(instance_id=instance_id, message=text, immediate=True, wait=True)
        took_ms, sent = await timed(client.send(request))
        if sent.status is not MessageStatus.SUBMITTED:
            raise RuntimeError(f"message {number} was not proved: {sent.reason}")
        times.append(took_ms)
    return times


async def _measure(bench: Bench) -> Section:
    bench.say(f"{bench.messages} messages to a real Claude")
    async with bench.team() as team, await team.connect() as client:
        spawned = await client.spawn(team.specialist())
        times = await _times_ms(client, spawned.instance_id, bench.messages)
    hundredths = statistics.quantiles(times, n=100, method="inclusive")
    found = [f"{time_ms:.0f} ms" for time_ms in (hundredths[49], hundredths[94], hundredths[98], max(times))]
    return Section(
        columns=("messages", "p50", "p95", "p99", "longest", "aim"),
        rows=[(str(len(times)), *found, "p50 ≤ 70 ms, p99 ≤ 200 ms")],
        words=_WORDS,
        samples={"call to proof, ms": times},
    )


PART = Part(name="message", title="Messages to an idle Claude, one by one", measure=_measure)
