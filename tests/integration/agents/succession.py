"""The supervisor's side of one agent whose actors are killed and followed by others, and what its transcript shows."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.agents.base import EntryKind, EventKind
from actors.agents.spool import LAUNCH_MARK, SPOOL_NAME
from actors.instance.instance import Instance, InstanceConfig
from actors.messages import Message, MessageStatus, Receipt, encode
from actors.status import Status
from tests.integration.agents.doomed_actor import LIMITS
from tests.integration.agents.rig import PATIENCE_S, ClaudeRig, DemoRig, until
from tests.standin.claude_versions import CLAUDE_COMMANDS

AnyRig = DemoRig | ClaudeRig
only_claude = pytest.mark.parametrize(
    "rig", [pytest.param(name, marks=pytest.mark.real_claude) for name in CLAUDE_COMMANDS], indirect=True
)
"""For what the demo does not have."""
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
        return await self._actor("tests.integration.agents.doomed_actor", moment, messages)

    async def play(self, program: str, moment: str, messages: Sequence[Message]) -> dict[str, Any]:
        """What an actor in a process of its own tells at its end, as JSON."""
        actor = await self._actor(program, moment, messages)
        try:
            async with asyncio.timeout(2 * PATIENCE_S):
                said, _ = await actor.communicate()
        finally:
            if actor.returncode is None:
                actor.kill()
                await actor.wait()
        told: dict[str, Any] = json.loads(said)
        return told

    async def _actor(self, program: str, moment: str, messages: Sequence[Message]) -> asyncio.subprocess.Process:
        told = {
            "directory": str(self.rig.instance_directory),
            "session_id": self.rig.session_id,
            "tmux_socket": str(self._socket),
            "pane_id": self.rig.pane_id,
            "pid": self.rig.pid,
            "moment": moment,
            "messages": [encode(each).hex() for each in messages],
        }
        self._file.write_text(json.dumps(told))
        words = (sys.executable, "-m", program, str(self._file))
        return await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)

    async def killed(self, moment: str, messages: Sequence[Message]) -> None:
        """An actor followed the agent, got the messages and was killed at that moment."""
        actor = await self.doomed(moment, messages)
        try:
            async with asyncio.timeout(PATIENCE_S):
                assert await actor.wait() == -signal.SIGKILL
        finally:
            if actor.returncode is None:
                actor.kill()
                await actor.wait()

    @property
    def config(self) -> InstanceConfig:
        return InstanceConfig(
            instance_id="spec_1",
            agent="demo",
            session_id=self.rig.session_id,
            directory=self.rig.instance_directory,
            tmux_socket=self._socket,
            limits=LIMITS,
        )

    def instance(self) -> Instance:
        catalog: Any = SimpleNamespace(named=lambda _: self.rig.agent)
        made = Instance(catalog)
        self.instances.append(made)
        self._followers.append(asyncio.create_task(self._follow(made)))
        return made

    async def successor(self, messages: Sequence[Message]) -> Instance:
        """What the supervisor does when an actor is back: it adopts and gets all that is pending."""
        instance = self.instance()
        await self.adopt(instance)
        await instance.deliver(messages)
        return instance

    async def adopt(self, instance: Instance) -> str:
        return await instance.adopt(self.config, self.rig.pane_id, self.rig.pid)

    async def _follow(self, instance: Instance) -> None:
        sequence = 0
        while True:
            report = await instance.reports(sequence, 30.0)
            sequence = report.sequence
            self.status, self.reason = report.snapshot.status, report.snapshot.reason
            self.receipts += report.receipts

    async def told(self, messages: Sequence[Message], status: MessageStatus) -> None:
        wanted = {(each.id, status) for each in messages}
        await until(lambda: wanted <= {(r.message_id, r.status) for r in self.receipts})

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
