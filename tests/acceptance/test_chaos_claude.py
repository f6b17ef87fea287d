"""Real Claude Code instances under fire: what was being typed when somebody died stands in the transcript once."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psutil
import pytest
import pytest_asyncio

from actors.messages import MessageStatus
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.chaos import checks
from tests.chaos.crews import Crew, claude_crew
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Aim, Kill, Letter, Target
from tests.chaos.play import RoundPlan, play
from tests.chaos.survey import Kind, alive
from tests.chaos.world import World, brought_up
from tests.standin.api import ApiStandIn

pytestmark = [pytest.mark.chaos, pytest.mark.real_claude, pytest.mark.timeout(300)]
SEED = 11
WELL_WITHIN_S = 60.0
"""Of the last kill: all has arrived, panes, actors and registry agree, no process is left over."""
_EACH = [target for target in Target if target is not Target.BRING_UP]
"""A bring-up is at work only after others were killed: it dies in the round of demo agents."""
_TYPISTS = [Target.INSTANCES, Target.SUPERVISOR] * 2
_TAKES_RAY = {Target.RAYLET, Target.GCS, Target.RAY, Target.RAY_STARTING, Target.EVERYTHING}
CONTEXT = "the first thing"
_RESUMED_S = 60.0
_WRITTEN_S = 10.0
_POLL_S = 0.1


def kills_between_paste_and_proof() -> list[Kill]:
    """Everything that can be killed, each soon after something began to be typed, and those that type most often. Whom
    a kill is to meet has time to come back before it."""
    chance = Random(SEED)  # noqa: S311 - a schedule, no secret
    targets = [*_EACH, *_TYPISTS]
    chance.shuffle(targets)
    return [
        Kill(
            target=target,
            count=2,
            after_s=chance.uniform(0, 1),
            down_s=chance.uniform(0.5, 2.0),
            aim=Aim.WHILE_TYPING,
            aim_s=chance.uniform(0, 0.15),
            let_recover=following not in _TYPISTS or target in _TAKES_RAY,
        )
        for target, following in zip(targets, [*targets[1:], None], strict=True)
    ]


async def test_messages_to_real_claudes_stand_in_the_transcript_once_whoever_dies_between_paste_and_proof(
    claude_command: Path, api: ApiStandIn, make_short_tmp: Callable[[], Path], tmp_path: Path
) -> None:
    plan = RoundPlan(
        seed=SEED,
        kills=kills_between_paste_and_proof(),
        output=tmp_path / "chaos",
        crew=claude_crew(claude_command, api.url, make_short_tmp() / "user"),
        instances=2,
        messages=320,
        people=1,
        limit_s=WELL_WITHIN_S,
    )
    print(f"chaos: seed {SEED}; what happened is kept in {plan.output}")
    outcome = await play(plan)
    assert not outcome.problems, str(outcome)
    assert outcome.recovered_s is not None
    assert outcome.recovered_s <= WELL_WITHIN_S
    assert {kill.target for kill in outcome.ledger.kills if kill.found} == set(_EACH)
    assert sum(bool(kill.being_typed) for kill in outcome.ledger.kills) >= len(plan.kills) // 2


async def agent_of(world: World, instance_id: str) -> psutil.Process:
    found = alive(await world.survey(), Kind.AGENT)
    return next(each.process for each in found if each.instance_id == instance_id)


async def until_resumed(client: SupervisorClient, world: World, instance_id: str, dead: psutil.Process) -> None:
    """Another process is the agent, and everything has reached it."""
    state = ""
    for _ in range(int(_RESUMED_S / _POLL_S)):
        found = alive(await world.survey(), Kind.AGENT)
        agents = [each.pid for each in found if each.instance_id == instance_id]
        listed = (await client.list(requests.ListRequest())).instances
        info = next(each for each in listed if each.instance_id == instance_id)
        if agents and dead.pid not in agents and info.status == "ready" and not info.queued_messages:
            return
        state = f"{info.status} ({info.reason}), {info.queued_messages} messages are queued, agents {agents}"
        await asyncio.sleep(_POLL_S)
    pytest.fail(f"not resumed within {_RESUMED_S:.0f} s: {state}")


async def until_written(crew: Crew, world: World, instance_id: str) -> None:
    for _ in range(int(_RESUMED_S / _POLL_S)):
        if crew.read({instance_id: world.home.instance_directory(instance_id)}):
            return
        await asyncio.sleep(_POLL_S)
    pytest.fail("the first message does not stand in the transcript")


async def send_and_kill(
    world: World, client: SupervisorClient, letters: Sequence[Letter], ledger: Ledger, delay_s: float
) -> None:
    """The agent dies ``delay_s`` after the second letter was accepted."""
    for letter in letters:
        agent = await agent_of(world, letter.instance_id)
        sent = await client.send(
            requests.SendRequest(instance_id=letter.instance_id, message=letter.text, immediate=True)
        )
        ledger.answered([letter], [sent.model_dump(mode="json", by_alias=True)])
        if letter is letters[1]:
            await asyncio.sleep(delay_s)
            agent.kill()
            await until_resumed(client, world, letter.instance_id, agent)


async def faults_of(crew: Crew, world: World, ledger: Ledger, instance_id: str) -> list[str]:
    """What is wrong with the conversation, once Claude Code had its time to write it down."""
    fates = list(ledger.fates.values())
    for _ in range(int(_WRITTEN_S / _POLL_S)):
        seen = crew.read({instance_id: world.home.instance_directory(instance_id)})
        faults = [
            *checks.every_call_was_answered(ledger),
            *checks.every_accepted_message_stands_once(fates, seen),
            *checks.every_text_is_exact(fates, seen),
            *checks.nothing_else_arrived(fates, seen, {instance_id: CONTEXT}),
            *checks.order_is_kept(fates, seen),
        ]
        if not faults:
            break
        await asyncio.sleep(_POLL_S)
    return faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When the agent is killed. ``settled``: only once its first message stands in the transcript."""

    delay_s: float
    settled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Resuming:
    """A team that starts an agent again by itself when it has failed."""

    world: World
    crew: Crew
    user_home: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def resuming(
    claude_command: Path, api: ApiStandIn, make_short_tmp: Callable[[], Path]
) -> AsyncIterator[Resuming]:
    user_home = make_short_tmp() / "user"
    crew = claude_crew(claude_command, api.url, user_home)
    async with brought_up({**crew.environment, "PHALANX_ON_AGENT_FAILURE": "resume"}) as world:
        yield Resuming(world=world, crew=crew, user_home=user_home)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(Moment(delay_s=0.0), id="at once"),
        pytest.param(Moment(delay_s=0.05), id="after 50 ms"),
        pytest.param(Moment(delay_s=0.12), id="after 120 ms"),
        pytest.param(Moment(delay_s=0.3), id="after 300 ms"),
        pytest.param(Moment(delay_s=0.0, settled=False), id="before it has written anything"),
    ],
)
async def test_a_claude_killed_right_after_a_send_is_resumed_and_the_message_stands_in_its_conversation_once(
    resuming: Resuming, tmp_path: Path, moment: Moment
) -> None:
    """Claude Code writes its transcript some 100 ms after its hooks; what it had not written yet dies with it."""
    crew, world = resuming.crew, resuming.world
    ledger = Ledger(tmp_path / "ledger.jsonl")
    async with await SupervisorClient.connect(world.home) as client:
        spawned = await client.spawn(
            requests.SpawnRequest(role=requests.Role.SPECIALIST, work_dir=str(world.repository), context=CONTEXT)
        )
        instance_id = spawned.instance_id
        if moment.settled:
            await until_written(crew, world, instance_id)
        letters = [
            Letter(number=number, client="a", instance_id=instance_id, text=f"order {number} of a")
            for number in range(1, 5)
        ]
        ledger.expect(letters)
        try:
            await send_and_kill(world, client, letters[:3], ledger, moment.delay_s)
            last = await client.send(requests.SendRequest(instance_id=instance_id, message=letters[3].text, wait=True))
            ledger.answered(letters[3:], [last.model_dump(mode="json", by_alias=True)])
            assert last.status is MessageStatus.SUBMITTED, last.reason
            assert not await faults_of(crew, world, ledger, instance_id)
        finally:
            world.keep(tmp_path)
            shutil.copytree(resuming.user_home / ".claude" / "projects", tmp_path / "transcripts")
        await client.terminate(requests.TerminateRequest(instance_id=instance_id))
