"""What the verb ``changes`` costs the supervisor's loop: ``python -m scripts.benchmarks.changes``, as JSON.

A team over a store in memory, of a hundred and of a thousand instances, without agents. One instance changes at a time.
Given are medians: of the whole answer to a view that holds all other rows, of building the one row alone, and the
difference, which is what the size of the team may cost; and ``list`` beside it. At rest, how often a view that waits is
woken in a second in which things change that no row shows.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

from actors.host.host import Host
from supervisor.api import requests
from supervisor.api.verbs import Caller
from supervisor.team import views
from supervisor.team.queries import Queries
from supervisor.team.rows import RowService
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member

SIZES = (100, 1000)
_ROUNDS = 300
_VIEW = Caller(sender="page")


async def measure(size: int) -> dict[str, float]:
    team = Team(MemoryStore())
    members = [await add_member(team, number) for number in range(1, size + 1)]
    queries = Queries(team, cast("Host", None), set)
    service = RowService(team, queries)
    cursor = (await service.changes(requests.ChangesRequest(), _VIEW)).cursor
    answered_ms, built_ms, listed_ms = [], [], []
    for turn in range(_ROUNDS):
        member = members[turn * 7 % size]
        member.snapshot = replace(READY, unread=turn + 1)
        row = partial(views.instance_info, member, followed=False, needs_attention=False)
        built_ms.append(_ms(row))
        began = time.perf_counter()
        answer = await service.changes(requests.ChangesRequest(cursor=cursor), _VIEW)
        answered_ms.append((time.perf_counter() - began) * 1000)
        cursor = answer.cursor
        if [row.instance_id for row in answer.instances] != [member.record.instance_id]:
            raise RuntimeError("the answer is not the one row that changed")
        listed_ms.append(_ms(lambda: queries.list(requests.ListRequest(), team.registry)))
    whole, built = statistics.median(answered_ms), statistics.median(built_ms)
    return {
        "answer_ms": round(whole, 4),
        "row_ms": round(built, 4),
        "beyond_the_row_ms": round(whole - built, 4),
        "list_ms": round(statistics.median(listed_ms), 4),
        "woken_in_vain": await _woken(service, team, cursor),
    }


async def _woken(service: RowService, team: Team, cursor: str) -> int:
    """How often a view that waits goes on in a second in which records are stored, but nothing that a row shows."""
    woken = 0
    until = team.registry.touches.until

    async def counted(satisfied: Callable[[], bool], timeout_s: float | None) -> bool:
        nonlocal woken
        reached = await until(satisfied, timeout_s)
        woken += reached
        return reached

    team.registry.touches.until = counted  # type: ignore[method-assign]
    waiting = asyncio.create_task(service.changes(requests.ChangesRequest(cursor=cursor, timeout_seconds=1.0), _VIEW))
    while not waiting.done():
        team.changes.announce()
        await asyncio.sleep(0.01)
    if (await waiting).instances:
        raise RuntimeError("a row was told although none has changed")
    return woken


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def main() -> int:
    told = {str(size): asyncio.run(measure(size)) for size in SIZES}
    json.dump({"python": sys.version.split()[0], "cores": os.cpu_count(), "instances": told}, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
