"""Every actor dies by kill -9 somewhere in a delivery; its successor brings each text into the conversation once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest

from actors.agents.base import EntryKind, EventKind
from actors.agents.hook import SPOOL_NAME
from actors.errors import UnavailableError
from actors.following.observer import LAUNCH_MARK
from actors.following.transcript import Conversation
from actors.instance import Instance, InstanceConfig
from actors.messages import Message, MessageStatus, Receipt, encode
from actors.messaging.courier import Courier
from actors.messaging.envelope import compose
from actors.messaging.journal import JOURNAL_NAME
from actors.states import Status
from tests.integration.agents.doomed_actor import LIMITS, MOMENTS
from tests.integration.agents.rig import ClaudeRig, DemoRig, until

AnyRig = DemoRig | ClaudeRig
ROOT = Path(__file__).resolve().parents[3]
HEADER = re.compile(r"^\[phalanx (msg_\w+) from", re.MULTILINE)
SUBMITTED, BLOCKED = MessageStatus.SUBMITTED, MessageStatus.BLOCKED


def message(number: int, text: str) -> Message:
    return Message(
        id=f"msg_{number:012x}", instance_id="spec_1", sender="lead", text=text, immediate=False, accepted_at=1.0
    )


SHORT = [message(1, "one"), message(2, "two"), message(3, "three\n\n  日本 \\")]
LONG = [message(4, "".join(f"line {number} of a long text\n" for number in range(8000)) + "its end")]


class Team:
    """The supervisor's side of one agent: who follows it, what was told, what its transcript shows."""

    def __init__(self, rig: AnyRig, directory: Path) -> None:
        self.rig = rig
        self._socket = directory / "tmux.sock"
        self._file = directory / "doom.json"
        self._followers: list[asyncio.Task[None]] = []
        self.instances: list[Instance] = []
        self.receipts: list[Receipt] = []
        self.status = Status.STARTING
        self.reason = ""

    async def start(self, *, resume: bool = False) -> None:
        """Starts the agent as the host does it."""
        if not self.rig.instance_directory.exists():
            self.rig.instance_directory.mkdir(mode=0o700)
        with (self.rig.instance_directory / SPOOL_NAME).open("ab") as spool:
            spool.write(LAUNCH_MARK + b"\n")
        self.rig.start(resume=resume)
        await self.rig.shows_empty_composer()

    async def doomed(self, moment: str, messages: Sequence[Message]) -> asyncio.subprocess.Process:
        told = {
            "directory": str(self.rig.instance_directory),
            "session_id": self.rig.session_id,
            "tmux_socket": str(self._socket),
            "pane_id": self.rig.pane._id,
            "pid": self.rig.pid,
            "moment": moment,
            "messages": [encode(each).hex() for each in messages],
        }
        self._file.write_text(json.dumps(told))
        program = (sys.executable, "-m", "tests.integration.agents.doomed_actor", str(self._file))
        return await asyncio.create_subprocess_exec(*program, cwd=ROOT, stdout=asyncio.subprocess.PIPE)

    async def killed(self, moment: str, messages: Sequence[Message]) -> None:
        """An actor followed the agent, got the messages and was killed at that moment."""
        actor = await self.doomed(moment, messages)
        async with asyncio.timeout(30):
            assert await actor.wait() == -signal.SIGKILL

    def instance(self) -> Instance:
        config = InstanceConfig(
            instance_id="spec_1",
            agent="demo",
            session_id=self.rig.session_id,
            directory=self.rig.instance_directory,
            tmux_socket=self._socket,
            limits=LIMITS,
        )
        made = Instance(config, self.rig.agent)
        self.instances.append(made)
        self._followers.append(asyncio.create_task(self._follow(made)))
        return made

    async def successor(self, messages: Sequence[Message]) -> Instance:
        """What the supervisor does when an actor is back: it adopts and gets all that is pending."""
        instance = self.instance()
        await instance.adopt(self.rig.pane._id, self.rig.pid)
        await instance.deliver(messages)
        return instance

    async def _follow(self, instance: Instance) -> None:
        sequence = 0
        while True:
            report = await instance.reports(sequence, 30.0)
            sequence = report.sequence
            self.status, self.reason = report.snapshot.status, report.snapshot.reason
            self.receipts += report.receipts

    async def told(self, messages: Sequence[Message], status: MessageStatus, timeout_s: float = 30) -> None:
        wanted = {(each.id, status) for each in messages}
        await until(lambda: wanted <= {(r.message_id, r.status) for r in self.receipts}, timeout_s)

    def in_transcript(self) -> list[str]:
        """Ids of our messages in the order of the agent's own transcript, as often as they stand there."""
        texts = [entry.text for entry in self.rig.entries(EntryKind.QUESTION)]
        return HEADER.findall("\n".join(texts))

    async def shows_each_once(self, messages: Sequence[Message]) -> None:
        """Also after a while in which a second one could have come."""
        wanted = [each.id for each in messages]
        await until(lambda: self.in_transcript() == wanted)
        await until(lambda: self.status is Status.READY)
        await self.rig.shows_empty_composer()
        assert self.in_transcript() == wanted
        prompts = "\n".join(event.text for event in self.rig.events(EventKind.PROMPT_SUBMITTED))
        assert HEADER.findall(prompts) == wanted

    async def close(self) -> None:
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        for instance in self.instances:
            await instance.leave()


@pytest.fixture
async def team(rig: AnyRig, short_tmp: Path) -> AsyncIterator[Team]:
    made = Team(rig, short_tmp)
    yield made
    await made.close()


@pytest.mark.parametrize("messages", [SHORT, LONG], ids=["short", "200 kB"])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_what_a_killed_actor_was_typing_arrives_exactly_once(
    team: Team, moment: str, messages: list[Message]
) -> None:
    await team.start()
    await team.killed(moment, messages)

    await team.successor(messages)
    await team.told(messages, SUBMITTED)

    await team.shows_each_once(messages)
    texts = [entry.text.rstrip() for entry in team.rig.entries(EntryKind.QUESTION)]
    assert texts == [compose(messages).rstrip()]
    await until(lambda: not (team.rig.instance_directory / JOURNAL_NAME).exists())


async def test_actors_that_die_one_after_the_other_lose_and_double_nothing(team: Team) -> None:
    await team.start()
    for number, moment in enumerate((*MOMENTS, *reversed(MOMENTS))):
        pending = [message(number * 10 + i, f"{moment} {i}") for i in range(3)]
        await team.killed(moment, pending)
        instance = await team.successor(pending)
        await team.told(pending, SUBMITTED)
        await until(lambda: team.status is Status.READY)
        await instance.leave()

    await team.shows_each_once([message(n * 10 + i, "") for n in range(2 * len(MOMENTS)) for i in range(3)])


async def test_new_messages_do_not_overtake_what_a_killed_actor_was_typing(team: Team) -> None:
    await team.start()
    await team.killed("before the paste", SHORT)

    late = message(9, "late")
    await team.successor([late])
    await team.told([late, *SHORT], SUBMITTED)

    await team.shows_each_once([*SHORT, late])


async def test_an_actor_that_is_there_already_is_not_disturbed(team: Team) -> None:
    await team.start()
    instance = await team.successor(SHORT)
    incarnations = {await instance.adopt(team.rig.pane._id, team.rig.pid) for _ in range(20)}
    await instance.deliver(SHORT)
    await team.told(SHORT, SUBMITTED)

    assert len(incarnations) == 1
    await team.shows_each_once(SHORT)


async def test_no_second_actor_types_while_the_first_one_lives(team: Team) -> None:
    await team.start()
    first = await team.successor(SHORT)
    second = team.instance()
    with pytest.raises(UnavailableError, match="Another actor"):
        await second.adopt(team.rig.pane._id, team.rig.pid)
    await first.leave()
    await second.adopt(team.rig.pane._id, team.rig.pid)
    await second.deliver(SHORT)
    await team.told(SHORT, SUBMITTED)

    await team.shows_each_once(SHORT)


async def test_a_dialog_that_came_up_meanwhile_is_not_answered_by_the_successor(team: Team) -> None:
    await team.start()
    await team.killed("before the paste", SHORT)
    await team.rig.submit(f"[x]\n{team.rig.use_tool('touch trapped')}")
    await team.rig.event(EventKind.PERMISSION_REQUESTED)
    await team.rig.shows_dialog()

    instance = await team.successor(SHORT)
    await team.told(SHORT, BLOCKED)
    assert not team.rig.has_run("touch trapped")
    await instance.respond(allow=False, message="no")
    await team.told(SHORT, SUBMITTED)

    assert not team.rig.has_run("touch trapped")
    await team.shows_each_once(SHORT)


async def test_a_message_that_asked_for_permission_is_not_entered_again(team: Team) -> None:
    asking = [message(7, team.rig.use_tool("touch asked"))]
    await team.start()
    await team.killed("after Enter", asking)
    await team.rig.event(EventKind.PERMISSION_REQUESTED)

    instance = await team.successor(asking)
    await team.told(asking, SUBMITTED)
    assert not team.rig.has_run("touch asked")
    await instance.respond(allow=True, message="")
    await until(lambda: team.rig.has_run("touch asked"))

    await team.shows_each_once(asking)


async def test_what_a_killed_agent_had_not_written_down_is_delivered_to_its_next_life(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, at_risk = [message(20, "written")], [message(21, "at risk")]
    await team.start()
    instance = await team.successor(before)
    await team.told(before, SUBMITTED)
    await team.shows_each_once(before)
    with monkeypatch.context() as late:
        late.setattr(Conversation, "follow", lambda _: False)  # it is written only after the kill, which is never
        await instance.deliver(at_risk)
        await team.told(at_risk, SUBMITTED)
        os.kill(team.rig.pid, signal.SIGKILL)
        await until(lambda: team.status is Status.FAILED)
        lose_from_transcript(team.rig, at_risk[0].id)

    await team.start(resume=True)
    await instance.adopt(team.rig.pane._id, team.rig.pid)

    await until(lambda: team.in_transcript() == [before[0].id, at_risk[0].id])
    await until(lambda: lot_of(team, at_risk[0]) == [SUBMITTED, MessageStatus.ACCEPTED, SUBMITTED])
    await until(lambda: not (team.rig.instance_directory / JOURNAL_NAME).exists())


def lot_of(team: Team, one: Message) -> list[MessageStatus]:
    return [receipt.status for receipt in team.receipts if receipt.message_id == one.id]


@pytest.mark.parametrize("wait_s", [0.0, 0.3])
async def test_an_agent_killed_just_after_its_proof_has_the_message_once_when_it_is_back(
    team: Team, wait_s: float
) -> None:
    before, at_risk = [message(20, "before")], [message(21, team.rig.work(5))]
    await team.start()
    instance = await team.successor(before)
    await team.told(before, SUBMITTED)
    await team.shows_each_once(before)
    await instance.deliver(at_risk)
    await team.told(at_risk, SUBMITTED)
    await asyncio.sleep(wait_s)
    os.kill(team.rig.pid, signal.SIGKILL)
    await until(lambda: team.status is Status.FAILED)

    await team.start(resume=True)
    await instance.adopt(team.rig.pane._id, team.rig.pid)

    await until(lambda: team.in_transcript() == [before[0].id, at_risk[0].id])
    after = [message(22, "after")]
    await instance.deliver(after)
    await team.told(after, SUBMITTED)
    await until(lambda: len(team.in_transcript()) >= 3)
    assert team.in_transcript() == [before[0].id, at_risk[0].id, after[0].id]


def lose_from_transcript(rig: AnyRig, message_id: str) -> None:
    """What the kill may leave: the agent's last lines were never written."""
    path = Path(rig.events()[0].transcript_path)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = next((i for i, line in enumerate(lines) if message_id.encode() in line), len(lines))
    path.write_bytes(b"".join(lines[:kept]))


async def test_an_agent_that_ended_while_nobody_followed_it_gets_its_end_at_once(team: Team) -> None:
    await team.start()
    await team.killed("after the paste", SHORT)
    os.kill(team.rig.pid, signal.SIGKILL)
    await team.rig.ended()

    instance = await team.successor(SHORT)
    report = await instance.reports(0, 5.0)
    assert report.snapshot.status is Status.FAILED
    await team.told(SHORT, MessageStatus.FAILED)
    assert team.in_transcript() == []


async def test_a_loop_that_dies_is_seen_and_the_agent_is_taken_over_anew(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    await team.start()
    instance = await team.successor([])
    first = (await instance.reports(0, 5.0)).incarnation
    with monkeypatch.context() as broken:
        broken.setattr(Courier, "_something_to_do", _fail)
        await instance.deliver(SHORT)
        await until(lambda: "an error in Phalanx" in team.reason)
    await until(lambda: team.reason == "")
    second = (await instance.reports(0, 5.0)).incarnation
    assert second != first

    assert await instance.adopt(team.rig.pane._id, team.rig.pid) == second
    await instance.deliver(SHORT)
    await team.told(SHORT, SUBMITTED)
    await team.shows_each_once(SHORT)


def _fail(_: Courier) -> bool:
    raise RuntimeError("a fault of ours")


async def test_a_recycled_process_id_is_not_followed(team: Team) -> None:
    await team.start()
    instance = team.instance()
    await instance.adopt(team.rig.pane._id, os.getpid())
    await instance.deliver(SHORT)
    await team.told(SHORT, MessageStatus.FAILED)
    assert team.status is Status.FAILED
    assert "another program" in team.reason


async def test_a_pane_that_is_gone_ends_what_is_pending_at_once(team: Team) -> None:
    await team.start()
    await team.killed("after the paste", SHORT)
    await asyncio.to_thread(team.rig.server.close_session, "rig1")
    await team.successor(SHORT)
    await team.told(SHORT, MessageStatus.FAILED)
    assert "gone" in team.reason
    assert team.in_transcript() == []


async def test_what_hangs_in_tmux_when_its_actor_is_killed_is_not_typed_beside_the_successor(team: Team) -> None:
    """tmux's program, while it pastes, keeps the successor out until it has."""
    await team.start()
    server_pid = team.rig.server.pid()
    assert server_pid is not None
    await until(lambda: team.rig.events(EventKind.SESSION_STARTED))
    typing = await team.doomed("client pastes", LONG)
    assert typing.stdout is not None
    assert await typing.stdout.readline() == b"adopted\n"
    assert await typing.stdout.readline() == b"pastes\n"
    # The actor has stopped the server before it pastes: its client waits.
    await until(lambda: _has_client(typing.pid))
    typing.kill()
    await typing.wait()
    successor = team.instance()
    try:
        with pytest.raises(UnavailableError, match="Another actor"):
            await successor.adopt(team.rig.pane._id, team.rig.pid)
    finally:
        os.kill(server_pid, signal.SIGCONT)
    await successor.adopt(team.rig.pane._id, team.rig.pid)
    await successor.deliver(LONG)
    await team.told(LONG, SUBMITTED)

    await team.shows_each_once(LONG)
    texts = [entry.text.rstrip() for entry in team.rig.entries(EntryKind.QUESTION)]
    assert texts == [compose(LONG).rstrip()]
    await successor.leave()


async def test_a_text_that_tmux_has_not_read_when_its_actor_is_killed_arrives_once(team: Team) -> None:
    await team.start()
    server_pid = team.rig.server.pid()
    assert server_pid is not None
    await until(lambda: team.rig.events(EventKind.SESSION_STARTED))
    try:
        await team.killed("paste on its way", SHORT)
        taking_over = asyncio.create_task(team.successor(SHORT))
        await until(lambda: team.instances[-1:] != [])
    finally:
        os.kill(server_pid, signal.SIGCONT)
    await taking_over
    await team.told(SHORT, SUBMITTED)

    await team.shows_each_once(SHORT)


def _has_client(pid: int) -> bool:
    return any(child.name().startswith("tmux") for child in psutil.Process(pid).children())


async def test_an_agent_restarted_in_the_midst_of_a_delivery_gets_each_text_once(team: Team) -> None:
    await team.start()
    before = [message(20, "before")]
    instance = await team.successor(before)
    await team.told(before, SUBMITTED)
    await team.shows_each_once(before)
    pending = [message(n, f"text {n}") for n in range(21, 29)]
    await instance.expect_end(coming_back=True)
    await instance.deliver(pending)
    await until((team.rig.instance_directory / JOURNAL_NAME).exists)
    os.kill(team.rig.pid, signal.SIGKILL)
    await team.rig.ended()

    await team.start(resume=True)
    await instance.adopt(team.rig.pane._id, team.rig.pid)
    await instance.deliver(pending)
    await team.told(pending, SUBMITTED)

    await until(lambda: team.in_transcript() == [each.id for each in (*before, *pending)])
    assert not any(receipt.status is MessageStatus.FAILED for receipt in team.receipts)
