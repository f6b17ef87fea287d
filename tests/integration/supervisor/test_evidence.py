"""A termination that a crash cuts off: what the agent's own record shows decides about its messages, nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from actors.errors import StoreError
from actors.messages import MessageStatus
from supervisor.store import keys
from supervisor.store.sqlite import SqliteStore
from tests.integration.supervisor.deeds import BUSY, dies, listed, receipt_of, send, settle, spawn, terminate, texts
from tests.integration.supervisor.lives import Team, disagreements

PATIENCE_S = 10.0


class Deaf(SqliteStore):
    """From ``deaf`` on no receipt is taken in, as when the supervisor dies before it has them."""

    deaf = False

    async def save(self, records: Mapping[str, bytes], delete: Sequence[str] = ()) -> None:
        if self.deaf and any(key.startswith(keys.RECEIPT_PREFIX) for key in records):
            raise StoreError("not now")
        await super().save(records, delete)


async def until_received(team: Team, instance_id: str, text: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while text not in texts(team, instance_id):  # noqa: ASYNC110 - it is the agent's own log
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("actors_die", [False, True], ids=["its actors live", "all of Ray dies"])
@pytest.mark.parametrize("on_failure", ["report", "resume"])
async def test_what_has_arrived_is_submitted_and_only_what_has_not_is_failed(
    make_team: Callable[[], Team], actors_die: bool, on_failure: str
) -> None:
    async def play(moment: int) -> None:
        team = make_team()
        store = Deaf(team.home.state_file)
        life = await team.first_life(store=store, PHALANX_ON_AGENT_FAILURE=on_failure)
        arrives, waits = await spawn(life, team), await spawn(life, team, BUSY)
        await settle(life, arrives)
        store.deaf = True
        (landed,) = await send(life, arrives, "it arrives")
        (queued,) = await send(life, waits, "too late")
        await until_received(team, arrives, "it arrives")
        life.fate.ends_at(moment)
        assert await dies(terminate(life, arrives))
        life = await team.next_life(actors_die=actors_die, PHALANX_ON_AGENT_FAILURE=on_failure)
        for instance_id in (arrives, waits):
            await terminate(life, instance_id)
        assert receipt_of(life, landed).status is MessageStatus.SUBMITTED
        assert receipt_of(life, queued).status is MessageStatus.FAILED
        assert "it arrives" in texts(team, arrives)
        assert await disagreements(team, life) == []
        assert {info.queued_messages for info in (await listed(life)).values()} == {0}

    await asyncio.gather(*(play(moment) for moment in (2, 3, 4)))
