"""A termination that a crash cuts off: what the agent's own record shows decides about its messages, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from actors.errors import StoreError
from actors.messages import MessageStatus
from supervisor.store import keys
from supervisor.store.sqlite import SqliteStore
from tests.integration.supervisor.calls import (
    BUSY,
    is_killed,
    listed,
    receipt_of,
    send,
    settle,
    spawn,
    terminate,
    texts,
)
from tests.integration.supervisor.runs import RestartableTeam, disagreements

PATIENCE_S = 10.0


class Deaf(SqliteStore):
    """From ``deaf`` on no receipt is taken in, as when the supervisor dies before it has them."""

    deaf = False

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        if self.deaf and any(key.startswith(keys.RECEIPT_PREFIX) for key in records):
            raise StoreError("not now")
        await super().save(records, delete)


async def until_received(team: RestartableTeam, instance_id: str, text: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while text not in texts(team, instance_id):  # noqa: ASYNC110 - it is the agent's own log
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("actors_die", [False, True], ids=["its actors live", "all of Ray dies"])
@pytest.mark.parametrize("on_failure", ["report", "resume"])
async def test_what_has_arrived_is_submitted_and_only_what_has_not_is_failed(
    make_team: Callable[[], RestartableTeam], actors_die: bool, on_failure: str
) -> None:
    async def play(moment: int) -> None:
        team = make_team()
        store = Deaf(team.home.state_file)
        run = await team.start_compared(store=store, PHALANX_ON_AGENT_FAILURE=on_failure)
        arrives, waits = await spawn(run, team), await spawn(run, team, BUSY)
        await settle(run, arrives)
        store.deaf = True
        (landed,) = await send(run, arrives, "it arrives")
        (queued,) = await send(run, waits, "too late")
        await until_received(team, arrives, "it arrives")
        run.kill_switch.kill_at(moment)
        assert await is_killed(terminate(run, arrives))
        run = await team.restart(actors_die=actors_die, PHALANX_ON_AGENT_FAILURE=on_failure)
        for instance_id in (arrives, waits):
            await terminate(run, instance_id)
        assert receipt_of(run, landed).status is MessageStatus.SUBMITTED
        assert receipt_of(run, queued).status is MessageStatus.FAILED
        assert "it arrives" in texts(team, arrives)
        assert await disagreements(team, run) == []
        assert {info.queued_messages for info in (await listed(run)).values()} == {0}

    await asyncio.gather(*(play(moment) for moment in (2, 3, 4)))
