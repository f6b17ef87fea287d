from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.agents.base import RunningAgent
from actors.errors import StateLostError
from actors.home import Home
from supervisor.startup import unless_agents_live


def home_with(*agents: RunningAgent) -> Any:
    async def found() -> tuple[RunningAgent, ...]:
        return agents

    return SimpleNamespace(agents=found)


def agent(name: str, *, alive: bool = True) -> RunningAgent:
    return RunningAgent(session_name=name, pane_id="%1", pid=7, alive=alive)


async def test_nothing_is_begun_beside_living_agents_and_the_words_say_what_to_do() -> None:
    check = unless_agents_live(Home(Path("/h")), home_with(agent("spec_0_0_1"), agent("exec_2"), agent("mgr_2_3")))
    with pytest.raises(
        StateLostError, match=r"/h/state.db is missing.*3 of its agents live \(spec_0_0_1.*phalanx restore"
    ):
        await check()


async def test_a_home_without_agents_may_begin() -> None:
    await unless_agents_live(Home(Path("/h")), home_with())()


async def test_who_has_ended_and_a_session_of_somebody_else_keep_nobody_from_beginning() -> None:
    found = home_with(agent("spec_0_0_1", alive=False), agent("my-own_1"), agent("exec_"))
    await unless_agents_live(Home(Path("/h")), found)()
