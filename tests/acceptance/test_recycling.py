"""Real Claude Code instances are recycled while several senders go on: each message is said in one living conversation.

And what keeps a summary from being given leaves the old conversation as it was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from actors.agents.base import EntryKind
from actors.agents.claude_records import read_transcript
from actors.errors import AgentError, InvalidRequestError, PhalanxError, TeamNotRunningError
from actors.instance.inbox import ids_in
from actors.tmux.server import TmuxServer
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from supervisor.team.recycling import ASK
from tests.acceptance.team import Team
from tests.processes import called, of_ray, tell
from tests.standin.api import Answer, ApiStandIn, Json, text_block, turn_text

pytestmark = [pytest.mark.kills, pytest.mark.real_claude, pytest.mark.timeout(900)]

PATIENCE_S = 180.0
_QUICK = 10
_ASKS_AGAIN = "Your previous response had no visible output"


class Api(ApiStandIn):
    """Answers the question for a summary as ``on_summary`` says."""

    on_summary: Callable[[Answer], None] = staticmethod(lambda answer: answer.obey("slow", "1", ""))

    def answer(self, request: Json) -> Answer:
        answer = ApiStandIn.answer(self, request)
        typed = [text for message in request["messages"] if message["role"] == "user" and (text := turn_text(message))]
        # A version may put a word of its own after the question, and asks by itself again for an answer that is empty.
        if typed and (typed[-1].rstrip().endswith(ASK) or _ASKS_AGAIN in typed[-1]):
            self.on_summary(answer)
        return answer


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    standin = Api()
    with standin:
        yield standin


@pytest.fixture(autouse=True)
def _slow_summaries(api: Api) -> Iterator[None]:
    yield
    api.on_summary = Api.on_summary


@dataclass(slots=True)
class Conversation:
    """``said``: the prompts, each as the ids of the messages that it holds and whether it asks for a summary."""

    path: Path
    said: list[tuple[frozenset[str], bool]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [one for ids, _ in self.said for one in ids]


def conversations(team: Team, instance_id: str) -> list[Conversation]:
    """All that its agents have had."""
    found = []
    for path in Path(team.environment["HOME"]).glob(f".claude/projects/*-{instance_id.replace('_', '-')}/*.jsonl"):
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        entries = [entry for line in lines for entry in read_transcript(line)]
        texts = [entry.text for entry in entries if entry.kind is EntryKind.QUESTION]
        found.append(Conversation(path, [(ids_in(text), ASK in text) for text in texts]))
    return found


async def until(satisfied: Callable[[], object]) -> None:
    """Claude Code writes a moment later what it does."""
    async with asyncio.timeout(PATIENCE_S):
        while not satisfied():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def idle(claude: SupervisorClient, instance_id: str) -> None:
    waited = await claude.wait(requests.WaitRequest(instance_ids=[instance_id], timeout_seconds=PATIENCE_S))
    assert waited.reached, waited


async def send_while(
    over: asyncio.Event, claude: SupervisorClient, instance_id: str, name: str
) -> list[requests.SendRequest]:
    """The calls whose messages were accepted."""
    accepted = []
    number = 0
    while not over.is_set():
        number += 1
        call = requests.SendRequest(instance_id=instance_id, message=f"{name} {number}", request_id=f"{name}/{number}")
        try:
            await claude.send(call)
        except (InvalidRequestError, TeamNotRunningError):
            pass  # it has ended, and nobody has started it again so far; or the supervisor is away for seconds
        else:
            accepted.append(call)
        await asyncio.sleep(0.1 if number < _QUICK else 2.0)  # a slow machine must not have to answer hundreds
    return accepted


async def back(claude: SupervisorClient) -> None:
    """Returns when the supervisor answers and knows who lives."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(TeamNotRunningError):
                await claude.status(requests.StatusRequest(compared=True))
                return


async def check(
    team: Team, claude: SupervisorClient, instance_id: str, calls: list[requests.SendRequest], last: str
) -> None:
    """Each call's message was told to have arrived, and stands once in all conversations: not after the question for
    the summary in one that has given way to another. ``last`` is a message in the one that lives."""
    told = [await claude.send(call.model_copy(update={"wait": True, "timeout_seconds": PATIENCE_S})) for call in calls]
    ids = Counter(one.message_id or "" for one in told)
    assert {one.status for one in told} == {"submitted"}, told
    assert set(ids.values()) == {1}

    def said() -> Counter[str]:
        found = Counter(found for one in conversations(team, instance_id) for found in one.ids)
        return Counter({message_id: number for message_id, number in found.items() if message_id in ids})

    await until(lambda: said().keys() == ids.keys())
    assert said() == ids
    every = conversations(team, instance_id)
    for one in every:
        if last not in one.ids and one.said and any(asks for _, asks in one.said):
            assert one.said[-1][1], one


@pytest.mark.parametrize("runs", [3, pytest.param(8, marks=pytest.mark.long)])
async def test_each_message_is_said_in_one_living_conversation_however_many_send_while_it_is_recycled(
    claude: SupervisorClient, claude_team: Team, runs: int
) -> None:
    instance_id = (await claude.spawn(claude_team.specialist("the task"))).instance_id
    calls: list[requests.SendRequest] = []
    for run in range(runs):
        await idle(claude, instance_id)
        over = asyncio.Event()
        recycling = asyncio.create_task(claude.recycle(requests.RecycleRequest(instance_id=instance_id)))
        await asyncio.sleep(0)  # now it is on its way, before all that is sent
        senders = [asyncio.create_task(send_while(over, claude, instance_id, f"r{run}{name}")) for name in "abc"]
        done = await recycling
        over.set()
        for sender in senders:
            calls += await sender
        assert (done.status != "failed", bool(done.summary)) == (True, True)
    sent = await claude.send(requests.SendRequest(instance_id=instance_id, message="afterwards", wait=True))
    assert sent.status == "submitted"
    await idle(claude, instance_id)
    print("messages:", len(calls))
    assert len(calls) > 3 * runs
    await check(claude_team, claude, instance_id, calls, sent.message_id or "")
    assert len([one for one in conversations(claude_team, instance_id) if any(asks for _, asks in one.said)]) == runs
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))


@pytest.mark.parametrize(
    "delays_s",
    [(0.05, 1.2, 2.2), pytest.param((0.6, 1.6, 3.0), marks=pytest.mark.long)],
    ids=["at three moments", "at three others"],
)
@pytest.mark.parametrize("victim", ["ray::InstanceServer", "ray::_SupervisorServer"])
async def test_no_message_is_lost_or_doubled_when_something_is_killed_in_the_midst_of_a_recycling(
    claude: SupervisorClient, claude_team: Team, victim: str, delays_s: tuple[float, ...]
) -> None:
    instance_id = (await claude.spawn(claude_team.specialist("the task"))).instance_id
    calls: list[requests.SendRequest] = []
    for run, delay_s in enumerate(delays_s):
        await idle(claude, instance_id)
        over = asyncio.Event()
        recycling = asyncio.create_task(claude.recycle(requests.RecycleRequest(instance_id=instance_id)))
        await asyncio.sleep(0)
        name = f"k{len(victim)}_{run}_{delay_s}"
        senders = [asyncio.create_task(send_while(over, claude, instance_id, f"{name}{each}")) for each in "ab"]
        await asyncio.sleep(delay_s)
        tell(called(of_ray(claude_team.home), victim))
        with suppress(PhalanxError):
            await asyncio.wait_for(recycling, PATIENCE_S)
        await back(claude)
        (info,) = [
            one for one in (await claude.list(requests.ListRequest())).instances if one.instance_id == instance_id
        ]
        print(victim, delay_s, "recycled" if not recycling.exception() else recycling.exception(), info.status)
        if info.status in ("failed", "stopped"):
            await claude.restart(requests.RestartRequest(instance_id=instance_id))
        over.set()
        for sender in senders:
            calls += await sender
    sent = await claude.send(requests.SendRequest(instance_id=instance_id, message="afterwards", wait=True))
    await idle(claude, instance_id)
    await check(claude_team, claude, instance_id, calls, sent.message_id or "")
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))


def fails(status: int, words: str = "") -> Callable[[Answer], None]:
    def on_summary(answer: Answer) -> None:
        answer.obey("status", str(status), words)
        answer.obey("header", "x-should-retry", "false")

    return on_summary


def says_nothing(answer: Answer) -> None:
    answer.blocks = [text_block("")]


def takes_long(answer: Answer) -> None:
    answer.obey("slow", "20", "")


async def interrupt(claude: SupervisorClient, _team: Team, instance_id: str) -> None:
    assert (await claude.interrupt(requests.InterruptRequest(instance_id=instance_id))).interrupted


async def kill(_claude: SupervisorClient, team: Team, instance_id: str) -> None:
    agents = {agent.session_name: agent.pid for agent in TmuxServer(team.home.tmux_socket).agents()}
    tell([psutil.Process(agents[instance_id])])


async def goes_on(claude: SupervisorClient, team: Team, api: Api, instance_id: str) -> None:
    """In the only conversation that it has ever had."""
    sent = await claude.send(requests.SendRequest(instance_id=instance_id, message="what comes next", wait=True))
    assert sent.status == "submitted", sent
    await idle(claude, instance_id)
    await until(lambda: [one for one in conversations(team, instance_id) if sent.message_id in one.ids])
    assert len(conversations(team, instance_id)) == 1
    assert any("marzipan" in str(request) and "what comes next" in str(request) for request in api.requests)


async def test_without_a_summary_the_old_conversation_goes_on_with_all_that_it_knows(
    claude: SupervisorClient, claude_team: Team, api: Api
) -> None:
    instance_id = (await claude.spawn(claude_team.specialist("the secret word is marzipan"))).instance_id
    for on_summary in (fails(400), fails(529), fails(429), says_nothing):
        await idle(claude, instance_id)
        api.on_summary = on_summary
        with pytest.raises(AgentError, match="goes on as it is") as raised:
            await claude.recycle(requests.RecycleRequest(instance_id=instance_id))
        print(raised.value)
        await goes_on(claude, claude_team, api, instance_id)
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))


@pytest.mark.parametrize("meanwhile", [interrupt, kill], ids=["interrupt", "death"])
async def test_who_is_cut_off_in_its_summary_goes_on_in_the_old_conversation_with_all_that_it_knows(
    claude: SupervisorClient,
    claude_team: Team,
    api: Api,
    meanwhile: Callable[[SupervisorClient, Team, str], Awaitable[None]],
) -> None:
    api.on_summary = takes_long
    instance_id = (await claude.spawn(claude_team.specialist("the secret word is marzipan"))).instance_id
    await idle(claude, instance_id)
    recycling = asyncio.create_task(claude.recycle(requests.RecycleRequest(instance_id=instance_id)))
    await until(lambda: any(asks for one in conversations(claude_team, instance_id) for _, asks in one.said))
    await meanwhile(claude, claude_team, instance_id)
    with pytest.raises(AgentError, match="goes on as it is") as raised:
        await recycling
    print(raised.value)
    if meanwhile is kill:
        await claude.restart(requests.RestartRequest(instance_id=instance_id))
    await goes_on(claude, claude_team, api, instance_id)
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))


async def test_a_question_that_is_too_long_for_the_model_gives_no_old_answer_as_the_summary(
    claude: SupervisorClient, claude_team: Team, api: Api
) -> None:
    """Some versions give up, others compact the conversation and answer then."""
    api.on_summary = fails(400, "prompt is too long: 250000 tokens > 200000 maximum")
    instance_id = (await claude.spawn(claude_team.specialist("the secret word is marzipan"))).instance_id
    await idle(claude, instance_id)
    (old,) = conversations(claude_team, instance_id)
    recycled = claude.recycle(requests.RecycleRequest(instance_id=instance_id))
    (done,) = await asyncio.gather(recycled, return_exceptions=True)
    print(done)
    if isinstance(done, BaseException):
        assert isinstance(done, AgentError)
        assert "goes on as it is" in str(done)
    else:
        entries = [entry for line in old.path.read_bytes().splitlines() for entry in read_transcript(line)]
        asked = max(number for number, entry in enumerate(entries) if ASK in entry.text)
        assert done.summary in [entry.text for entry in entries[asked:] if entry.kind is EntryKind.ANSWER]
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))
