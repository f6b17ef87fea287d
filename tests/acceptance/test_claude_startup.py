"""A starting Claude Code swallows the Enter that is pressed too early; the first message arrives all the same."""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from actors.agents.base import AgentStart, LaunchRequest
from actors.agents.catalog import AgentCatalog
from actors.home import Home
from actors.host.host import Host
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.messages import FINAL_STATUSES, Message, MessageStatus
from actors.status import IDLE
from actors.tmux.pane import Key, LastKey, Pane
from actors.tmux.server import TmuxServer
from tests.projects import make_repository, shell_environment
from tests.standin.api import ApiStandIn
from tests.standin.claude_home import make_claude_home, standin_environment

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(180), pytest.mark.each_version]
MOST_STARTS = 5


async def first_message(host: Host, instance: Instance, config: InstanceConfig, directory: Path) -> MessageStatus:
    """Starts the agent, gives it a message at once, and returns what became of it when the turn is over."""
    request = LaunchRequest(
        instance_id=config.instance_id,
        session_id=config.session_id,
        resume=False,
        instance_directory=config.directory,
        system_prompt="You are under test.",
    )
    start = AgentStart(
        agent="claude",
        session_name=config.instance_id,
        working_directory=directory,
        trusted_directories=(directory,),
        request=request,
    )
    pane = await host.start_agent(start)
    await instance.adopt(config, pane.pane_id, pane.pid)
    message = Message(
        id=f"msg_{uuid.uuid4().hex[:12]}",
        instance_id=config.instance_id,
        sender="lead",
        text="first",
        immediate=True,
        accepted_at=time.time(),
    )
    await instance.deliver([message])
    sequence, became = 0, MessageStatus.ACCEPTED
    while True:
        report = await instance.reports(sequence, 30.0)
        sequence = report.sequence
        became = next((receipt.status for receipt in report.receipts if receipt.final), became)
        if became in FINAL_STATUSES and report.snapshot.status in IDLE:
            return became


async def test_the_first_message_arrives_once_although_enter_is_swallowed_at_startup(
    short_tmp: Path, claude_command: Path, api: ApiStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    presses: list[Key] = []
    press, paste = Pane.press, Pane.paste

    async def counted(self: Pane, key: Key, after: LastKey | None = None) -> bool:
        presses.append(key)
        return await press(self, key, after)

    async def hasty(
        self: Pane, data: str | tuple[str, ...], name: str = "", after: LastKey | None = None
    ) -> LastKey | None:
        """An Enter in the same breath as the paste is what a starting Claude Code swallows."""
        last = await paste(self, data, name, after)
        await press(self, "Enter")
        return last

    monkeypatch.setattr(Pane, "press", counted)
    monkeypatch.setattr(Pane, "paste", hasty)
    home = Home(short_tmp / "h")
    home.create()
    user = make_claude_home(short_tmp / "user")
    environment = {**shell_environment(home), **standin_environment(api.url, user)}
    repository = make_repository(short_tmp / "project")
    catalog = AgentCatalog(claude_command=str(claude_command), python=sys.executable)
    server = TmuxServer(home.tmux_socket)
    server.start(environment)
    host = Host(home, catalog, environment)
    swallowed = 0
    try:
        for number in range(1, MOST_STARTS + 1):
            config = _config(home, f"spec_0_0_{number}")
            instance = Instance(catalog)
            presses.clear()
            assert await first_message(host, instance, config, repository) is MessageStatus.SUBMITTED
            swallowed += "Enter" in presses
            await instance.expect_end()
            await host.end_agent(config.instance_id, config.instance_id, 3.0)
            await instance.leave()
            assert _count_in_transcripts(user, "\\nfirst") == number, "each start brought its message in once"
            if swallowed and number > 1:
                break
        assert swallowed, f"in {MOST_STARTS} starts no Enter was swallowed, so nothing was shown"
    finally:
        server.stop()


def _config(home: Home, instance_id: str) -> InstanceConfig:
    return InstanceConfig(
        instance_id=instance_id,
        agent="claude",
        session_id=str(uuid.uuid4()),
        directory=home.instance_directory(instance_id),
        tmux_socket=home.tmux_socket,
        limits=BatchLimits(size=10, delay_s=0.1),
    )


def _count_in_transcripts(user: Path, text: str) -> int:
    lines: list[Any] = []
    for transcript in user.glob(".claude/projects/*/*.jsonl"):
        written = transcript.read_bytes().decode().split("\n")
        lines += [line for line in written if '"type":"user"' in line and text in line]
    return len(lines)
