"""People who look into the terminals of real Claude Code instances, and the messages that arrive meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.messages import MessageStatus
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.people import PtyPerson, attach_command

pytestmark = [pytest.mark.real_claude, pytest.mark.timeout(300)]

PATIENCE_S = 60.0
SIZES = [(80, 24), (100, 30), (120, 40), (250, 80)]


@contextmanager
def attached(team: Team, instance_id: str, columns: int, rows: int, *, plainly: bool) -> Iterator[PtyPerson]:
    """By tmux itself or by ``phalanx attach``, once the window has the person's size."""
    session = session_of(team, instance_id)
    command = (
        attach_command(team.home.tmux_socket, session)
        if plainly
        else (str(Path(sys.executable).with_name("phalanx")), "attach", instance_id)
    )
    with PtyPerson(command, columns, rows, {**team.environment, "TERM": "xterm-256color"}) as person:
        until(lambda: window_of(team, session) == f"{columns}x{rows - 1}")  # the last one is the status line
        yield person


def session_of(team: Team, instance_id: str) -> str:
    return next(name for name in tmux(team, "list-sessions", "-F", "#{session_name}").split() if instance_id in name)


def window_of(team: Team, session: str) -> str:
    return tmux(team, "display-message", "-p", "-t", f"={session}:", "#{window_width}x#{window_height}").strip()


def screen_of(team: Team, instance_id: str) -> str:
    return tmux(team, "capture-pane", "-p", "-t", f"={session_of(team, instance_id)}:")


def tmux(team: Team, *words: str) -> str:
    command = ["tmux", "-S", str(team.home.tmux_socket), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def prompts(team: Team, instance_id: str) -> list[str]:
    """What has been said to the instance, from its transcript."""
    found = []
    for transcript in Path(team.environment["HOME"]).glob(
        f".claude/projects/*{instance_id.replace('_', '-')}*/*.jsonl"
    ):
        for line in transcript.read_bytes().split(b"\n"):
            entry = json.loads(line) if line.strip() else {}
            if entry.get("type") == "user" and isinstance(entry["message"]["content"], str):
                found.append(entry["message"]["content"])
    return found


async def say(claude: SupervisorClient, instance_id: str, text: str) -> None:
    """Blocked is no failure: an agent may take a while to draw a window that has just changed."""
    sent = await claude.send(requests.SendRequest(instance_id=instance_id, message=text, immediate=True, wait=True))
    assert sent.status in {MessageStatus.SUBMITTED, MessageStatus.BLOCKED}, f"{text}: {sent.reason}"


async def test_each_message_arrives_once_whoever_looks_at_whatever_size(
    claude: SupervisorClient, claude_team: Team
) -> None:
    spawned = await claude.spawn(claude_team.specialist())
    instance_id = spawned.instance_id
    texts = []
    for number, (columns, rows) in enumerate(SIZES):
        with attached(claude_team, instance_id, columns, rows, plainly=bool(number % 2)) as person:
            texts.append(f"while somebody looks at {columns}x{rows}")
            await say(claude, instance_id, texts[-1])
            if number > 1:
                person.detach()
        texts.append(f"after the look at {columns}x{rows}")
        await say(claude, instance_id, texts[-1])
    until(lambda: any(texts[-1] in prompt for prompt in prompts(claude_team, instance_id)))
    said = prompts(claude_team, instance_id)
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))
    assert [sum(f"]\n{text}" in prompt for prompt in said) for text in texts] == [1] * len(texts)


async def test_what_a_person_types_is_never_submitted_and_only_in_the_way_while_it_stands_there(
    claude: SupervisorClient, claude_team: Team
) -> None:
    spawned = await claude.spawn(claude_team.specialist())
    instance_id = spawned.instance_id
    with attached(claude_team, instance_id, 100, 30, plainly=True) as person:
        person.type("half a thought")
        until(lambda: "half a thought" in screen_of(claude_team, instance_id))
        person.detach()
    held = await claude.send(
        requests.SendRequest(instance_id=instance_id, message="after the draft", immediate=True, wait=True)
    )
    assert held.status is MessageStatus.BLOCKED
    assert "half a thought" in str(held.reason)
    with attached(claude_team, instance_id, 80, 24, plainly=False) as person:
        person.type("\x7f" * len("half a thought"))
        until(lambda: any("after the draft" in prompt for prompt in prompts(claude_team, instance_id)))
        person.detach()
    said = prompts(claude_team, instance_id)
    await claude.terminate(requests.TerminateRequest(instance_id=instance_id))
    assert not any("half a thought" in prompt for prompt in said)
    assert sum(prompt.endswith("after the draft") for prompt in said) == 1


async def test_who_looks_at_one_instance_is_told_in_the_status_line_of_another_that_asks_and_a_key_goes_there(
    claude: SupervisorClient, claude_team: Team
) -> None:
    looked_at = await claude.spawn(claude_team.specialist(name="quiet"))
    tool = {"command": "touch asked"}
    asking = await claude.spawn(claude_team.specialist(name="parser", permission_mode="default"))
    with attached(claude_team, looked_at.instance_id, 80, 24, plainly=False) as person:
        await claude.send(
            requests.SendRequest(instance_id=asking.instance_id, message=f"@@tool Bash {json.dumps(tool)}", wait=True)
        )
        until(lambda: "1 needs you: parser · Ctrl-b n" in person.seen.decode(errors="replace"))
        person.type("\x02n")
        until(lambda: client_of(claude_team) == asking.instance_id)
        until(lambda: "touch asked" in screen_of(claude_team, asking.instance_id))
        person.detach()
    await claude.respond(requests.RespondRequest(instance_id=asking.instance_id, decision="deny"))
    until(lambda: tmux(claude_team, "show-options", "-gv", "@phalanx_words").strip() == "")
    for each in (looked_at, asking):
        await claude.terminate(requests.TerminateRequest(instance_id=each.instance_id))


def client_of(team: Team) -> str:
    """The session at which somebody looks."""
    return tmux(team, "list-clients", "-F", "#{client_session}").strip()
