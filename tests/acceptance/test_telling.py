"""A tree of demo agents whose leads are told what happened below them, also while the supervisor is killed."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from actors.errors import PhalanxError
from supervisor.api import requests
from supervisor.api.requests import Role
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, anew, bring_up
from tests.processes import called, of_ray, tell

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 90.0
ROUNDS = 4
_ANSWER = re.compile(r"^> demo: received \d+ message\(s\): (task-\d+)\.$", re.MULTILINE)
_HEADLINE = re.compile(r"^(\w+) (?:is idle|ended a turn)\.", re.MULTILINE)


@pytest.fixture(scope="module")
def one_team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS="7")
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def team(one_team: Team) -> Team:
    return await anew(one_team)


class Tree:
    """An executive, two managers and four specialists."""

    def __init__(self, team: Team, client: SupervisorClient) -> None:
        self._team = team
        self.client = client
        self.lead_of: dict[str, str] = {}
        self.leaves: list[str] = []
        self.tasks = 0

    async def build(self) -> None:
        executive = await self._spawn(Role.EXECUTIVE, None)
        for _ in range(2):
            manager = await self._spawn(Role.MANAGER, executive)
            self.leaves += [await self._spawn(Role.SPECIALIST, manager) for _ in range(2)]

    async def _spawn(self, role: Role, parent: str | None) -> str:
        request = self._team.specialist("the beginning", parent_id=parent, role=role, workspace_mode="shared")
        instance_id = (await self.client.spawn(request)).instance_id
        if parent is not None:
            self.lead_of[instance_id] = parent
        return instance_id

    async def hand_out(self) -> None:
        """A task of its own for each specialist; they take different times."""
        messages = []
        for number, leaf in enumerate(self.leaves):
            self.tasks += 1
            text = f"@@demo busy 0.{number * 3}\ntask-{self.tasks}."
            messages.append(requests.BatchMessage(instance_id=leaf, message=text))
        request = requests.SendBatchRequest(messages=messages, request_id=f"{self.leaves[0]}/{self.tasks}")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(PhalanxError):
                    assert (await self.client.send_batch(request)).success
                    return
                await asyncio.sleep(0.1)

    async def ends(self) -> Counter[str]:
        """How many ends of turns the stream has of each instance that is led by another."""
        found: Counter[str] = Counter()
        cursor = "0"
        while True:
            request = requests.EventsRequest(cursor=cursor, kinds=["became_idle"], timeout_seconds=0.1)
            answer = await self.client.next_events(request)
            found.update(event.instance_id for event in answer.events if event.instance_id in self.lead_of)
            if not answer.events:
                return found
            cursor = answer.cursor

    async def told(self) -> Counter[str]:
        """How many ends of turns each instance's lead has in its conversation."""
        found: Counter[str] = Counter()
        for lead in set(self.lead_of.values()):
            text = "\n".join(await self.prompts(lead))
            found.update(one for one in _HEADLINE.findall(text) if self.lead_of.get(one) == lead)
            assert not [one for one in _HEADLINE.findall(text) if self.lead_of.get(one) != lead]
        return found

    async def prompts(self, instance_id: str) -> list[str]:
        page = await self.client.read(requests.ReadRequest(instance_id=instance_id, lines=2000))
        assert not page.more
        return [entry.text for entry in page.entries if entry.kind == "question"]

    async def answers_told(self) -> Counter[str]:
        """The last task that each answer names of which a manager was told."""
        managers = {self.lead_of[leaf] for leaf in self.leaves}
        return Counter(_ANSWER.findall("\n".join([text for one in managers for text in await self.prompts(one)])))

    async def quiet(self) -> None:
        """Returns when nobody works any more and everything was told, for a while."""
        calm_since = None
        async with asyncio.timeout(PATIENCE_S):
            while calm_since is None or asyncio.get_running_loop().time() - calm_since < 2.0:
                calm = False
                with suppress(PhalanxError):
                    infos = (await self.client.list(requests.ListRequest())).instances
                    calm = all(one.status == "ready" and not one.queued_messages for one in infos)
                    calm = calm and await self.told() == await self.ends()
                now = asyncio.get_running_loop().time()
                calm_since = (calm_since or now) if calm else None
                await asyncio.sleep(0.1)


async def test_each_end_of_a_turn_is_told_once_to_the_lead_in_its_conversation(team: Team) -> None:
    async with await team.connect() as client:
        tree = Tree(team, client)
        await tree.build()
        await tree.quiet()
        for _ in range(ROUNDS):
            await tree.hand_out()
            await tree.quiet()

        told, ends = await tree.told(), await tree.ends()
        print("told:", dict(told))
        assert told == ends
        assert [ends[leaf] for leaf in tree.leaves] == [ROUNDS + 1] * len(tree.leaves)
        assert await tree.answers_told() == {f"task-{number}": 1 for number in range(1, tree.tasks + 1)}


async def test_each_end_of_a_turn_is_told_once_although_the_supervisor_is_killed_again_and_again(team: Team) -> None:
    async with await team.connect() as client:
        tree = Tree(team, client)
        await tree.build()
        await tree.quiet()
        for delay_s in (0.0, 0.05, 0.3, 0.6, 1.0):
            await tree.hand_out()
            await asyncio.sleep(delay_s)
            tell([psutil.Process((await client.status()).supervisor_pid)])
        await tree.quiet()

        told, ends = await tree.told(), await tree.ends()
        assert told == ends
        print("told:", dict(told))
        answers = await tree.answers_told()
        assert set(answers.values()) == {1}
        # Tasks that came together were one turn. The first turn of each was about no task.
        assert answers.total() == sum(ends[leaf] - 1 for leaf in tree.leaves)
        assert called(of_ray(team.home), "ray::_SupervisorServer")
