"""``phalanx team`` and ``phalanx lead`` as a person runs them, over a real team of demo agents."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.status import Status
from mcp_entry.cli.lead import STARTED_S
from supervisor.api import requests
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team
from tests.people import PtyPerson
from tests.projects import git

pytestmark = pytest.mark.timeout(300)
PROGRAM = str(Path(sys.executable).with_name("phalanx"))
PATIENCE_S = 60.0
TREE = """\
defaults:
  agent: demo
members:
  - name: boss
    role: executive
    context: "@@demo busy 1"
  - name: mgr-a
    role: manager
    parent: boss
    context: hello
  - name: mgr-b
    role: manager
    parent: boss
    promptFile: prompts/b.md
  - name: worker
    role: specialist
    parent: mgr-a
    context: hello
    permissionMode: plan
    prepare:
      copy: [.env]
      setup: cat .env > built; echo ok
"""
NAMES = ("boss", "mgr-a", "mgr-b", "worker")


@pytest.fixture
def team(demo_team: Team) -> Team:
    (demo_team.repository / ".gitignore").write_text(".env\nbuilt\n")
    (demo_team.repository / ".env").write_text("KEY=1\n")
    (demo_team.repository / "prompts").mkdir(exist_ok=True)
    (demo_team.repository / "prompts" / "b.md").write_text("Help.\n")
    return demo_team


@pytest.fixture(autouse=True)
async def nobody_is_left(demo_team: Team) -> Any:
    yield
    async with await demo_team.connect() as client:
        ids = [each.instance_id for each in (await client.list()).instances]
        if ids:
            await client.terminate(requests.TerminateRequest(instance_ids=ids))


def phalanx(team: Team, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        env=dict(team.environment),
        cwd=team.repository,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
        check=False,
    )


def killed_after(seconds: float, team: Team, *words: str) -> None:
    command = subprocess.Popen(
        [PROGRAM, *words],
        env=dict(team.environment),
        cwd=team.repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(seconds)
    command.kill()
    command.wait(PATIENCE_S)


def shown(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ran.stdout, ran.stderr
    return {each["name"]: each for each in json.loads(ran.stdout)["members"]}


def write(team: Team, text: str = TREE) -> str:
    (team.repository / "team.yaml").write_text(text)
    return "team.yaml"


async def by_name(client: SupervisorClient) -> Mapping[str, Any]:
    return {each.name or each.instance_id: each for each in (await client.describe()).instances}


async def test_a_team_is_started_from_its_file_once_and_by_names(team: Team, demo: SupervisorClient) -> None:
    path = write(team)
    refused = phalanx(team, "team", "up", path)
    assert refused.returncode == 2
    assert (await demo.list()).instances == []
    assert "runs before it starts: cat .env" in phalanx(team, "team", "allow", path).stdout

    first = phalanx(team, "team", "up", path, "--json")
    assert first.returncode == 0, first.stdout + first.stderr
    started = await by_name(demo)
    assert set(started) == set(NAMES)
    assert started["worker"].parent_id == started["mgr-a"].instance_id
    (worker,) = (await demo.list(requests.ListRequest(instance_ids=["worker"]))).instances
    assert worker.instance_id == started["worker"].instance_id
    directory = Path(worker.working_directory)
    assert (directory / "built").read_text() == "KEY=1\n"
    assert directory != team.repository

    second = phalanx(team, "team", "up", path, "--json")
    assert second.returncode == 0
    assert {name: each["state"] for name, each in shown(second).items()} == dict.fromkeys(NAMES, "runs")
    again = await by_name(demo)
    assert {name: each.instance_id for name, each in again.items()} == {
        name: each.instance_id for name, each in started.items()
    }

    said = await demo.read(requests.ReadRequest(instance_id="mgr-b"))
    assert any("Help." in each.text for each in said.entries)
    (ended,) = (await demo.terminate(requests.TerminateRequest(instance_id="worker"))).terminated
    assert ended.instance_id == worker.instance_id


async def test_a_setup_that_fails_fails_alone_and_leaves_nothing_behind(team: Team, demo: SupervisorClient) -> None:
    path = write(team, TREE.replace("cat .env > built; echo ok", "echo no such library; exit 7"))
    phalanx(team, "team", "allow", path)
    branches = git(team.repository, "branch", "--list", "phalanx/*")
    ran = phalanx(team, "team", "up", path, "--json")
    assert ran.returncode == 1
    worker = shown(ran)["worker"]
    assert worker["state"] == "missing"
    assert "ended with exit status 7" in worker["why"]
    assert "no such library" in worker["why"]
    started = await by_name(demo)
    assert set(started) == {"boss", "mgr-a", "mgr-b"}
    await demo.terminate(requests.TerminateRequest(instance_ids=list(started)))
    assert git(team.repository, "branch", "--list", "phalanx/*") == branches


async def test_a_command_that_is_killed_in_the_middle_is_repeated_without_a_double(
    team: Team, demo: SupervisorClient
) -> None:
    path = write(team, TREE.replace("cat .env > built; echo ok", "sleep 1"))
    phalanx(team, "team", "allow", path)
    for seconds in (0.8, 1.6, 2.4):
        await asyncio.to_thread(killed_after, seconds, team, "team", "up", path)
    ran = phalanx(team, "team", "up", path, "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    await demo.wait(requests.WaitRequest(timeout_seconds=PATIENCE_S))
    described = (await demo.describe()).instances
    assert sorted(str(each.name) for each in described) == sorted(NAMES)


async def test_what_differs_is_told_and_an_export_has_no_difference(team: Team, demo: SupervisorClient) -> None:
    path = write(team)
    phalanx(team, "team", "allow", path)
    assert phalanx(team, "team", "up", path).returncode == 0
    changed = write(team, TREE.replace("permissionMode: plan", "permissionMode: acceptEdits"))
    dry = phalanx(team, "team", "up", changed, "--dry-run", "--json")
    assert shown(dry)["worker"]["differences"] == [
        {"argument": "permissionMode", "file": "acceptEdits", "team": "plan"}
    ]
    unnamed = await demo.spawn(team.specialist())
    exported = team.repository / "exported.yaml"
    exported.unlink(missing_ok=True)
    assert phalanx(team, "team", "export", str(exported)).returncode == 0
    assert "KEY=1" not in exported.read_text()
    phalanx(team, "team", "allow", str(exported))
    again = phalanx(team, "team", "up", str(exported), "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    members = shown(again)
    assert set(members) == {*NAMES, unnamed.instance_id}
    assert all(each["state"] == "runs" and not each["differences"] for each in members.values())


class LeadAtTerminal:
    """A person who runs ``phalanx lead`` in a terminal of the given size."""

    def __init__(self, team: Team, *words: str, size: tuple[int, int] = (100, 30)) -> None:
        environment = {**team.environment, "TERM": "xterm-256color"}
        self.person = PtyPerson((PROGRAM, "lead", str(team.repository), *words), *size, environment)

    def until_attached(self, team: Team, instance_id: str) -> None:
        until(lambda: clients(team, instance_id) == 1, lambda: self.person.seen.decode(errors="replace")[-3000:])


def clients(team: Team, instance_id: str) -> int:
    command = ["tmux", "-S", str(team.home.tmux_socket), "list-clients", "-t", f"={instance_id}", "-F", "#{client_pid}"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    return len(ran.stdout.split())


def until(condition: Callable[[], bool], shown: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, shown()
        time.sleep(0.1)


async def leads(client: SupervisorClient) -> list[Any]:
    return [each for each in (await client.describe()).instances if each.attended]


async def test_a_person_leads_from_a_terminal_leaves_comes_back_and_resumes(team: Team, demo: SupervisorClient) -> None:
    first = LeadAtTerminal(team, "--name", "captain")
    with first.person as person:
        until(lambda: "To come back" in person.seen.decode(errors="replace"), lambda: person.seen.decode()[-3000:])
        (lead,) = await leads(demo)
        first.until_attached(team, lead.instance_id)
        assert (lead.name, lead.role, lead.work_dir) == ("captain", "executive", str(team.repository))
        person.type("hello there\r")
        until(lambda: "hello there" in person.seen.decode(errors="replace"))
        person.detach()
    await demo.wait(requests.WaitRequest(instance_ids=["captain"], timeout_seconds=STARTED_S))
    said = await demo.read(requests.ReadRequest(instance_id="captain"))
    assert any("hello there" in each.text for each in said.entries)

    second = LeadAtTerminal(team, size=(60, 12))
    with second.person as person:
        second.until_attached(team, lead.instance_id)
        assert [each.instance_id for each in await leads(demo)] == [lead.instance_id]
        person.type("\x03")
        until(lambda: b"Press Ctrl-C again" in person.seen)
        person.type("\x03")
        until(person.has_ended, lambda: person.seen.decode(errors="replace")[-2000:])
    await until_status(demo, lead.instance_id, {Status.FAILED, Status.STOPPED})

    third = LeadAtTerminal(team, "--resume")
    with third.person as person:
        third.until_attached(team, lead.instance_id)
        (again,) = await leads(demo)
        assert (again.instance_id, again.status) == (lead.instance_id, Status.READY)
        person.detach()
    said = await demo.read(requests.ReadRequest(instance_id="captain"))
    assert any("hello there" in each.text for each in said.entries)


async def until_status(client: SupervisorClient, instance_id: str, wanted: set[Status]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while (status := (await client.list(requests.ListRequest(instance_ids=[instance_id]))).instances[0].status) not in (
        wanted
    ):
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.1)


async def test_the_lead_works_outside_of_git_too_and_says_when_there_is_none_to_resume(
    team: Team, demo: SupervisorClient
) -> None:
    outside = team.repository.parent / "no-git"
    outside.mkdir(exist_ok=True)
    environment = {**team.environment, "TERM": "xterm-256color"}
    with PtyPerson((PROGRAM, "lead", str(outside), "--resume"), 100, 30, environment) as person:
        until(person.has_ended)
        assert b"No lead has ended in" in person.seen
    with PtyPerson((PROGRAM, "lead", str(outside)), 100, 30, environment) as person:
        until(lambda: b"To come back" in person.seen, lambda: person.seen.decode(errors="replace"))
        person.detach()
    (lead,) = await leads(demo)
    assert lead.work_dir == str(outside)
