"""A hundred real Claudes on one machine, each with one more message, and as many bare programs."""

from __future__ import annotations

import statistics

from scripts.benchmarks.bare_claude import BareClaude, bare_programs
from scripts.benchmarks.bench import Bench, few_at_once, message_each, start_batch, timed, until_idle
from scripts.benchmarks.held_memory import HeldMemory
from scripts.benchmarks.section import Part, Section
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team

_SIZE = 100
_AT_ONCE = 8
_LISTS = 50
_LOOK_S = 0.05
_PATIENCE_S = 600.0
_WORDS = f"""
{_SIZE} of the real program against a stand-in of the API on this machine, {_AT_ONCE} starts at a time, from the call
until the first message of the last one is proved. *floor*: as many bare programs afterwards, as many at a time, each
in a tmux and a directory of its own (Claude Code keeps a list of directories, which all programs of a user write and
read) and typed into with the fewest steps that work, until its transcript holds its text; they all run at the end, too.
*one more message each*: of one call that waits, until the last is proved; of the floor, as many at a time, because
looks at a hundred would take the cores from them. *memory*: how much more of the machine is in use than before. Both
get memory that the machine already has: where it is a virtual one, its host gives new memory at up to ten seconds of
CPU a GB. A member or a message that is missing fails the run.

Above the bare program Claude Code connects to the tools of the team and runs a program of ours at its start, with each
message and at the end of each turn; a worktree is made by three gits; and an actor follows each, which Ray wakes also
when it is idle.
"""


async def _measure(bench: Bench) -> Section:
    settings = {"MAX_CONCURRENT_SPAWNS": str(_AT_ONCE), "PHALANX_SPAWN_TIMEOUT_S": f"{_PATIENCE_S:.0f}"}
    async with bench.team(**settings) as team, await team.connect() as client:
        with HeldMemory() as memory:
            return await _measure_with(memory, bench, team, client)


async def _measure_with(memory: HeldMemory, bench: Bench, team: Team, client: SupervisorClient) -> Section:
    bench.say("what is free of the memory is taken")
    await memory.until_all_is_held()
    used_gb = memory.used_by_others_gb
    bench.say(f"{_SIZE} start, {_AT_ONCE} at a time")
    batch = await start_batch(client, [team.specialist()] * _SIZE)
    await until_idle(client, batch.ids, _PATIENCE_S)
    memory_gb = memory.used_by_others_gb - used_gb
    bench.say("one more message each")
    message_s = (await timed(message_each(client, batch.ids, _PATIENCE_S)))[0] / 1000
    await until_idle(client, batch.ids, _PATIENCE_S)
    lists = [(await timed(client.list()))[0] for _ in range(_LISTS)]
    list_ms = statistics.median(lists)
    bench.say(f"{batch.took_s:.0f} s, one more each {message_s:.1f} s, list {list_ms:.1f} ms")
    bench.say("they end")
    for at in range(0, _SIZE, _AT_ONCE):
        await client.terminate(requests.TerminateRequest(instance_ids=batch.ids[at : at + _AT_ONCE]))
    await memory.until_all_is_held()
    bench.say(f"{_SIZE} bare programs, {_AT_ONCE} at a time")
    async with bare_programs(bench, team, _SIZE, at_once=_AT_ONCE, look_s=_LOOK_S) as (floor_s, everyone):
        for each in everyone:
            await each.idle()
        floor_message_s = (await timed(few_at_once(_AT_ONCE, _one_more, everyone)))[0] / 1000
    return Section(
        columns=("what", "measured", "floor", "ratio", "aim"),
        rows=[
            (
                f"all {_SIZE} have their first message",
                f"{batch.took_s:.0f} s",
                f"{floor_s:.0f} s",
                f"{batch.took_s / floor_s:.2f}",
                "≤ 1.3",
            ),
            (
                "one more message each",
                f"{message_s:.1f} s",
                f"{floor_message_s:.1f} s",
                f"{message_s / floor_message_s:.2f}",
                "≤ 20 s",
            ),
            ("`list`", f"{list_ms:.1f} ms", "", "", "≤ 15 ms"),
            ("memory", f"{memory_gb:.1f} GB", "", "", ""),
        ],
        words=_WORDS,
        samples={
            "start, s": [batch.took_s],
            "floor, s": [floor_s, floor_message_s],
            "message, s": [message_s],
            "list": lists,
        },
    )


async def _one_more(bare: BareClaude) -> None:
    await bare.message(f"one more, {bare.session}")


PART = Part(name="hundred", title="A hundred real Claudes", measure=_measure)
