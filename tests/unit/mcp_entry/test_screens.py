"""The stream of one terminal for a browser, over the verb ``screen`` as the supervisor answers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any, cast

import pytest

from actors.agents.base import Agent
from actors.errors import PaneGoneError, TeamNotRunningError
from actors.instance.instance import AgentSession, InstanceConfig
from actors.instance.terminal import TerminalScreen, TerminalView
from actors.tmux.pane import Pane, PaneView
from mcp_entry.web.feed import BEAT
from mcp_entry.web.screens import screen_frames
from supervisor.api import results
from supervisor.api.requests import ScreenRequest
from supervisor.api.verbs import Caller
from supervisor.team.team import Team
from supervisor.team.terminals import TerminalService
from tests.fakes.gateway import FakeClient
from tests.fakes.instances import FakeInstance, FakeListener
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, add_member

VIEW = PaneView(columns=3, rows=1, lines=("ab",), cursor=None, title="t")


class Terminal(FakeInstance):
    async def watch_terminal(self, after: str, timeout_s: float) -> TerminalScreen:
        await asyncio.sleep(timeout_s)
        return TerminalScreen("v1", VIEW)


class GonePane:
    async def view(self) -> tuple[PaneView, str]:
        raise PaneGoneError("the pane is gone (%7): its agent has to be started again")


class WithoutPane(FakeInstance):
    """Its agent is followed still, and the pane has gone."""

    def __init__(self) -> None:
        super().__init__()
        session = SimpleNamespace(terminal=TerminalView(cast("Pane", GonePane()), cast("Agent", None)))
        self._config = cast("InstanceConfig", SimpleNamespace(instance_id=FIRST))
        self._current, self._broken, self._vacant = cast("AgentSession", session), None, False


@pytest.fixture
async def team() -> AsyncIterator[Team]:
    made = Team(MemoryStore())
    await add_member(made)
    yield made
    await made.links.leave_all()


def _client(team: Team) -> FakeClient:
    service = TerminalService(team)

    async def screen(request: ScreenRequest, _progress: object) -> results.ScreenResult:
        return await service.screen(request, Caller(sender="page"))

    return FakeClient(screen=screen)


def _told(frames: bytes) -> tuple[str, Any]:
    name, _, data = frames.decode().strip().partition("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_a_stopped_instance_is_waited_for_in_words_and_shown_when_it_is_back(team: Team) -> None:
    async with aclosing(screen_frames(_client(team), FIRST)) as frames:
        name, told = _told(await anext(frames))
        assert name == "waiting"
        assert "restart it to go on" in told["words"]
        for _ in range(3):
            assert await anext(frames) == BEAT
        team.links.follow(FIRST, Terminal(), "first", FakeListener())
        name, shown = _told(await anext(frames))
        assert (name, shown["lines"]) == ("screen", ["ab"])
        assert await anext(frames) == BEAT
        await team.links.leave(FIRST)
        assert _told(await anext(frames))[0] == "waiting"
        team.links.follow(FIRST, Terminal(), "second", FakeListener())
        assert _told(await anext(frames)) == ("screen", shown)


async def test_a_pane_that_has_gone_is_told_in_words(team: Team) -> None:
    team.links.follow(FIRST, WithoutPane(), "first", FakeListener())
    async with aclosing(screen_frames(_client(team), FIRST)) as frames:
        name, told = _told(await anext(frames))
    assert name == "waiting"
    assert "its agent has to be started again" in told["words"]


async def test_one_that_is_not_there_is_looked_for_ever_more_rarely(team: Team) -> None:
    client = _client(team)
    async with aclosing(screen_frames(client, FIRST)) as frames:
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 60:
            await anext(frames)
    assert 12 <= len(client.asked) <= 20


async def test_a_team_that_is_away_is_told_and_an_unknown_instance_ends_the_stream(team: Team) -> None:
    client = _client(team)
    seen, client.replies["screen"] = client.replies["screen"], TeamNotRunningError("No team runs here.")
    async with aclosing(screen_frames(client, "spec_9")) as frames:
        assert _told(await anext(frames)) == ("waiting", {"words": "No team runs here."})
        client.replies["screen"] = seen
        assert _told(await anext(frames))[0] == "ended"
        with pytest.raises(StopAsyncIteration):
            await anext(frames)
