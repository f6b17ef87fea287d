"""Progress of long calls of a real team of demo agents: over MCP, in terminals, and when the supervisor is killed."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from supervisor.api.requests import PrewarmRequest, SpawnBatchRequest
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up, terminate_all
from tests.acceptance.test_mcp_demo import connected
from tests.people import People, Person
from tests.processes import called, of_ray

pytestmark = pytest.mark.timeout(300)
PHALANX = str(Path(sys.executable).with_name("phalanx"))
SIZE = (80, 24)
SLOW = {"PHALANX_DEMO_FAULTS": "start-slow=2"}
STOPPED = 130


@pytest.fixture(scope="module")
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    """Two start at a time, and each takes two seconds."""
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo", MAX_CONCURRENT_SPAWNS="2", **SLOW)
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def client(team: Team) -> AsyncIterator[SupervisorClient]:
    """Every instance and spare that a test has ordered goes with it."""
    async with await team.connect() as client:
        yield client
        await client.prewarm_resources(PrewarmRequest(instances=0, worktrees=0, work_dir=str(team.repository)))
        await terminate_all(client)


@pytest.fixture
async def people(team: Team, short_tmp: Path) -> AsyncIterator[People]:
    people = People(short_tmp, {**team.environment, "TERM": "xterm-256color"}, team.home.tmux_socket)
    yield people
    await people.close()


def the_only_row(screen: str) -> str:
    """What a command that goes on shows; one row and no more."""
    (row,) = [row.rstrip() for row in screen.splitlines() if row.strip()] or [""]
    return row


async def runs(people: People, *words: str) -> Person:
    """Somebody who types ``phalanx WORDS``."""
    shell = 'trap : INT; "$@"; echo "ended with $?"; exec sleep 600'  # tmux may miss the end of a program
    return await people.runs(["sh", "-c", shell, "sh", PHALANX, *words], SIZE)


async def exit_status(person: Person, words: str) -> int:
    """Of a command that has ended with these words."""
    screen = await person.until(lambda screen: re.search(r"ended with \d", screen), "the end of the command")
    assert words in " ".join(screen.split()), screen
    found = re.search(r"ended with (\d+)", screen)
    assert found is not None, screen
    return int(found[1])


async def sessions_left(people: People, ids: Sequence[str]) -> Sequence[str]:
    """Those whose agents have a terminal, once none has one or a minute is over."""
    left = ids
    for _ in range(300):
        sessions = await people.of_the_team("list-sessions", "-F", "#{session_name}")
        left = [each for each in ids if each in sessions.split()]
        if not left:
            break
        await asyncio.sleep(0.2)
    return left


async def test_over_mcp_a_batch_tells_how_many_of_all_and_how_long_it_still_takes(
    team: Team, client: SupervisorClient
) -> None:
    told: list[tuple[float, float | None, str]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message or ""))

    members = [{"role": "specialist", "workDir": str(team.repository), "context": "hello"} for _ in range(10)]
    async with connected(team) as mcp:
        result = await mcp.client.call_tool("spawn_batch", {"instances": members}, progress_callback=on_progress)
    assert not result.is_error
    counted = [each for each in told if each[1] is not None]
    assert {total for _, total, _ in counted} == {10.0}, told
    assert (int(counted[0][0]), counted[0][2]) == (0, "starting them")
    assert [round(progress) for progress, _, _ in told] == sorted(round(progress) for progress, _, _ in told)
    assert told[-1][0] >= 10.0
    assert any(re.search(r"; (about \d+ s|a few seconds) left$", message) for _, _, message in told), told


async def test_a_terminal_shows_one_row_that_outlives_the_supervisor_and_ctrl_c_says_what_goes_on(
    team: Team, client: SupervisorClient, people: People
) -> None:
    person = await runs(people, "prewarm", "12", "--dir", str(team.repository))
    row = the_only_row(await person.until(lambda screen: re.search(r" [1-9]/12, \d+ s", screen), "what is done"))
    assert row.startswith("preparing: spare agents wait for ")
    assert len(row) < SIZE[0]

    (supervisor,) = called(of_ray(team.home), "ray::_Supervisor")
    supervisor.send_signal(signal.SIGKILL)
    lost = await person.until("the connection was lost", "that the team is away")
    assert "waiting for the team" in the_only_row(lost)
    again = await person.until(lambda screen: re.search(r" \d+/12, \d+ s", screen), "the row again")
    assert len(the_only_row(again)) < SIZE[0]

    await person.presses("C-c")
    assert await exit_status(person, "the spares are made all the same. `phalanx perf` shows how") == STOPPED


async def test_who_stops_waiting_for_the_end_of_several_finds_all_of_them_ended(
    team: Team, client: SupervisorClient, people: People
) -> None:
    members = [team.specialist("hello") for _ in range(6)]
    spawned = await client.spawn_batch(SpawnBatchRequest(instances=members))
    ids = [each.instance_id or "" for each in spawned.instances]
    person = await runs(people, "terminate", *ids)
    await person.until("terminating: ", "the row")
    await person.presses("C-c")
    assert await exit_status(person, "they are ended all the same") == STOPPED
    assert not await sessions_left(people, ids)


async def test_in_a_pipe_there_are_whole_lines_without_control_characters(team: Team, client: SupervisorClient) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        words = [PHALANX, "prewarm", "2", "--dir", str(team.repository), *options]
        return subprocess.run(words, env=dict(team.environment), capture_output=True, text=True, check=True)

    piped = await asyncio.to_thread(run)
    assert re.match(r"0/2 spare agents wait for 2 that are being made\n", piped.stderr), piped.stderr
    assert not set(piped.stderr) & set("\r\x1b")
    assert (await asyncio.to_thread(run, "--json")).stderr == ""
