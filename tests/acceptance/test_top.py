"""``phalanx top`` in real terminals, before a real team of demo agents whose supervisor and endpoint are killed."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from actors.messages import MessageStatus
from actors.status import Status
from supervisor.api.requests import ListRequest, ReadRequest, SendRequest, WaitRequest
from supervisor.rpc.client import SupervisorClient
from tests.acceptance.team import Team, bring_up, terminate_all
from tests.people import PATIENCE_S, POLL_S, People, Person, patient
from tests.processes import called, command_of, environment_of, of_ray, of_team, tell

pytestmark = pytest.mark.timeout(300)
GONE_S = 5.0
"""So long after its terminal the program may still be there."""
MARK = "TOP_OF"
"""A variable by which a test finds the programs in its own terminals."""
PROGRAM = (str(Path(sys.executable).with_name("phalanx")), "top")
SMALL, LARGE = (80, 24), (200, 50)
QUESTION = {
    "question": "Which database?",
    "header": "Database",
    "multiSelect": False,
    "options": [{"label": "SQLite", "description": "one file"}, {"label": "Redis", "description": "a server"}],
}
DIALOG = '@@demo dialog Bash {"command": "rm -rf build"}'
KEYS = "a allow  d deny  n next"


@pytest.fixture(scope="module")
def team(make_short_tmp: Callable[[], Path]) -> Iterator[Team]:
    team = bring_up(make_short_tmp(), PHALANX_AGENT="demo")
    yield team
    team.runtime.down(lambda step: None)


@pytest.fixture
async def client(team: Team) -> AsyncIterator[SupervisorClient]:
    """Every instance that a test has started ends with it."""
    async with await team.connect() as client:
        yield client
        await terminate_all(client)


@pytest.fixture
async def people(team: Team, short_tmp: Path) -> AsyncIterator[People]:
    async with people_before(team, short_tmp) as people:
        yield people


@asynccontextmanager
async def people_before(team: Team, directory: Path) -> AsyncIterator[People]:
    environment = {**team.environment, "TERM": "xterm-256color", MARK: str(directory)}
    people = People(directory, environment, team.home.tmux_socket)
    try:
        yield people
    finally:
        await people.close()


async def started(client: SupervisorClient, team: Team, *contexts: str, **more: object) -> list[str]:
    """The ids of instances that have done what they were told, or wait for somebody."""
    ids = [(await client.spawn(team.specialist(each, **more))).instance_id for each in contexts]
    await client.wait(WaitRequest(instance_ids=ids, timeout_seconds=PATIENCE_S))
    return ids


async def watches(people: People, size: tuple[int, int] = SMALL, *before: str) -> Person:
    """Somebody runs ``phalanx top``; ``before``: the words of a program that runs it."""
    person = await people.runs([*before, *PROGRAM], size)
    await person.until(KEYS, "the keys")
    return person


def programs(people: People) -> Sequence[psutil.Process]:
    """Each ``phalanx top`` that runs in this test's terminals."""
    found = [each for each in psutil.process_iter() if command_of(each)[1:] == list(PROGRAM)]
    return [each for each in found if environment_of(each).get(MARK) == str(people.directory)]


async def ended(people: People, within_s: float = GONE_S) -> float:
    """How long it took until the last of them had ended, in seconds."""
    begun = time.monotonic()
    while programs(people):
        assert time.monotonic() - begun < within_s, "it goes on without its terminal"
        await asyncio.sleep(POLL_S)
    return time.monotonic() - begun


def ageless(screen: str) -> list[str]:
    """The rows, in which each age is that of the first instant."""
    return [re.sub(r" +\d+[smhd](?= |$)", lambda age: "0s".rjust(len(age[0])), row) for row in screen.splitlines()]


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + patient(PATIENCE_S)
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(POLL_S)


async def test_a_terminal_of_80_by_24_shows_who_needs_somebody_the_team_and_the_screen_of_the_selected_one(
    team: Team, client: SupervisorClient, people: People
) -> None:
    await started(client, team, "hello", name="quiet")
    (asks,) = await started(client, team, DIALOG, name="builder")
    person = await watches(people)
    screen = await person.until(lambda shown: "Do you want to proceed?" in shown, "the agent's screen")
    rows = ageless(screen)
    assert rows[0] == "phalanx top  1 needs you  2 instances: 1 waiting permission, 1 ready"
    assert rows[1:6] == [
        "   NAME                   STATUS      FOR DOING",
        "NEEDS YOU 1",
        "!  builder".ljust(26) + "asks         0s Bash: rm -rf build",
        "TEAM 1",
        "   quiet".ljust(26) + "ready        0s demo: received 1 message(s): hello",
    ]
    (place,) = [number for number, row in enumerate(rows) if row.startswith(f"builder ({asks}) · specialist")]
    assert rows[place].startswith(f"builder ({asks}) · specialist · waiting permission for 0s")
    assert rows[place + 1].startswith('@@demo dialog Bash {"command": "rm -rf build"} · phalanx/')
    assert rows[place + 2 : place + 4] == [
        f"! builder ({asks}) asks to use Bash   a allow  d deny",
        "  command: rm -rf build",
    ]
    assert rows[23].startswith(KEYS)
    assert [row for row in rows if "1. Yes" in row]


async def test_a_terminal_of_200_by_50_shows_more_columns_and_the_details_beside_the_list_also_after_a_resize(
    team: Team, client: SupervisorClient, people: People
) -> None:
    (quiet,) = await started(client, team, "hello")
    person = await watches(people, LARGE)
    screen = await person.until("Demo agent", "the agent's screen")
    shown_keys = screen.splitlines()[-1]
    assert re.search(r"STATUS +FOR NEW +CTX DOING +" + quiet + " · specialist", screen.splitlines()[1])
    assert len(screen.splitlines()) <= LARGE[1]
    await person.resizes(*SMALL)
    await person.until(lambda shown: "CTX" not in shown and shown.splitlines()[23:24] == [shown_keys], "the small form")
    await person.resizes(*LARGE)
    await person.until("CTX", "the large form")


async def test_a_decides_what_is_shown_and_the_agent_goes_on(
    team: Team, client: SupervisorClient, people: People
) -> None:
    allowed, denied = await started(client, team, DIALOG, DIALOG)
    person = await watches(people)
    await person.until(f"! {allowed} asks to use Bash")
    await asyncio.sleep(0.6)  # a person reads first; before that a key decides nothing
    await person.presses("a")
    await person.until("Bash was allowed")
    await person.until("1 needs you")
    await person.presses("n")
    await person.until(f"! {denied} asks to use Bash")
    await asyncio.sleep(0.6)
    await person.presses("d")
    await person.until("Bash was denied")
    await person.until(lambda screen: "needs you" not in screen and "NEEDS YOU" not in screen, "nobody who needs them")
    await client.wait(WaitRequest(instance_ids=[allowed, denied], timeout_seconds=PATIENCE_S))
    said = [str((await client.read(ReadRequest(instance_id=each))).entries[-1].text) for each in (allowed, denied)]
    assert "result: Bash ran" in said[0]
    assert "result: Bash ran" not in said[1]


async def test_several_lines_are_pasted_and_sent_as_one_message(
    team: Team, client: SupervisorClient, people: People
) -> None:
    (quiet,) = await started(client, team, "hello")
    person = await watches(people)
    text = "a first line\n\n  q a second one: /exit $(touch x)\nn the last"
    await people.run("set-buffer", "--", text)
    await people.run("paste-buffer", "-p", "-t", "=person0:")  # over the list: no key of it counts
    await person.presses("s")
    await person.until(f"To {quiet}")
    await people.run("paste-buffer", "-p", "-t", "=person0:")
    await person.until("n the last")
    await person.presses("Enter")
    await person.until("is submitted")
    entries = (await client.read(ReadRequest(instance_id=quiet))).entries
    assert [entry.text.split("\n", 1)[1] for entry in entries if entry.kind == "question"][1:] == [f"{text}\n"]


async def test_a_paste_that_the_terminal_does_not_mark_is_one_message_too_and_decides_nothing(
    team: Team, client: SupervisorClient, people: People
) -> None:
    quiet, asks = [*await started(client, team, "hello"), *await started(client, team, DIALOG)]
    person = await watches(people)
    await person.until(f"! {asks} asks to use Bash")
    await asyncio.sleep(0.6)
    await people.run("send-keys", "-t", "=person0:", "-l", "--", "jaada")
    refusals = ("faster than anybody types", "needs no decision")
    await person.until(lambda screen: any(words in screen for words in refusals), "a refusal")
    listed = (await client.list(ListRequest(instance_ids=[asks]))).instances
    assert listed[0].status is Status.WAITING_PERMISSION
    await person.presses("End")
    await person.until(lambda screen: f"{quiet} · specialist" in screen, "the quiet one selected")
    await person.presses("s")
    await person.until(f"To {quiet}")
    await people.run("send-keys", "-t", "=person0:", "-l", "--", "one\rtwo\rthree")
    await person.until("three")
    await person.presses("Enter")
    await person.until("is submitted")
    entries = (await client.read(ReadRequest(instance_id=quiet))).entries
    assert [entry.text.split("\n", 1)[1] for entry in entries if entry.kind == "question"][1:] == ["one\ntwo\nthree\n"]


async def test_enter_goes_into_the_terminal_and_ctrl_b_d_comes_back_to_a_whole_screen(
    team: Team, client: SupervisorClient, people: People
) -> None:
    await started(client, team, "hello")
    person = await watches(people)
    before = await person.until("Demo agent")
    await person.presses("Enter")
    await person.until(lambda screen: KEYS not in screen and "❯" in screen, "the agent's terminal alone")
    await person.types("typed by a person")
    await person.presses("Enter")
    await person.until("received 1 message(s): typed by a person")
    (other,) = await started(client, team, "meanwhile")
    await person.presses("C-b", "d")
    screen = await person.until(lambda shown: KEYS in shown and other in shown, "the list as it is by now")
    assert len(screen.splitlines()) == len(before.splitlines())
    assert screen.splitlines()[1] == before.splitlines()[1]
    await person.presses("q")
    await ended(people)


@pytest.mark.parametrize("ignoring", [(), ("sh", "-c", 'trap "" HUP; "$@"; exit', "sh")], ids=["", "SIGHUP ignored"])
async def test_it_ends_when_its_terminal_is_gone(
    team: Team, client: SupervisorClient, people: People, ignoring: tuple[str, ...]
) -> None:
    await started(client, team, "hello")
    await watches(people, SMALL, *ignoring)
    assert len(programs(people)) == 1
    await people.run("kill-server")
    await ended(people)


@pytest.mark.parametrize("ignoring", [(), ("sh", "-c", 'trap "" HUP; "$@"; exit', "sh")], ids=["", "SIGHUP ignored"])
async def test_it_ends_with_its_terminal_also_while_somebody_is_in_an_agents(
    team: Team, client: SupervisorClient, people: People, ignoring: tuple[str, ...]
) -> None:
    (quiet,) = await started(client, team, "hello")
    person = await watches(people, SMALL, *ignoring)
    await person.until("Demo agent")
    await person.presses("Enter")
    await person.until(lambda screen: KEYS not in screen and "❯" in screen, "the agent's terminal alone")
    await people.run("kill-server")
    await ended(people)
    clients = await people.of_the_team("list-clients", "-F", "#{client_pid}")
    assert clients == ""
    sent = await client.send(SendRequest(instance_id=quiet, message="still there?", wait=True))
    assert sent.status is MessageStatus.SUBMITTED


async def test_the_terminal_is_put_back_when_the_program_is_asked_to_end(
    team: Team, client: SupervisorClient, people: People
) -> None:
    person = await people.runs(["sh", "-c", '"$@"; stty -a | tr ";" "\\n"; sleep 1000', "sh", *PROGRAM], SMALL)
    await person.until("No instance yet")
    tell(programs(people), signal.SIGTERM)
    screen = await person.until("icanon")
    assert " echo " in screen.replace("\n", " ")
    assert "No instance yet" not in screen


async def test_it_draws_itself_anew_after_a_stop_and_still_puts_the_terminal_back(
    team: Team, client: SupervisorClient, people: People
) -> None:
    person = await people.runs(["sh", "-c", '"$@"; stty -a | tr ";" "\\n"; sleep 1000', "sh", *PROGRAM], SMALL)
    await person.until("No instance yet")
    tell(programs(people), signal.SIGSTOP)
    await people.run("send-keys", "-R", "-t", "=person0:")  # the terminal is reset, as by another program
    tell(programs(people), signal.SIGCONT)
    await person.until(lambda screen: "NAME" in screen and KEYS in screen, "the whole screen")
    await person.presses("q")
    screen = await person.until("icanon")
    assert " echo " in screen.replace("\n", " ")


async def test_it_runs_in_terminals_of_every_kind(team: Team, client: SupervisorClient, people: People) -> None:
    (quiet,) = await started(client, team, "hello")
    for terminal in ("xterm", "screen", "tmux-256color", "linux", "vt100"):
        person = await watches(people, SMALL, "env", f"TERM={terminal}")
        await person.until(quiet, terminal)
        await person.presses("q")
        await ended(people)


async def test_without_colours_the_selected_one_and_those_that_need_somebody_are_still_told_apart(
    team: Team, client: SupervisorClient, people: People
) -> None:
    (asks,) = await started(client, team, DIALOG)
    person = await watches(people, SMALL, "env", "NO_COLOR=1")
    await person.until(f"! {asks} asks to use Bash")
    drawn = await people.run("capture-pane", "-e", "-p", "-t", "=person0:")
    colours = {code for found in re.findall(r"\x1b\[([0-9;]*)m", drawn) for code in found.split(";")}
    assert {code for code in colours if code[:1] in "349" and code not in {"39", "49", "4", ""}} == set()
    assert re.search(r"\x1b\[[0-9;]*7m[^\x1b]*! +" + asks, drawn)


async def test_what_an_agent_says_steers_no_terminal(team: Team, client: SupervisorClient, people: People) -> None:
    evil = "look \u202egnp.exe\u202c \u009b31m [bold]x[/bold] done"
    (quiet,) = await started(client, team, evil)
    person = await watches(people, LARGE)
    await person.until(quiet)
    await person.presses("v")
    screen = await person.until(lambda shown: "[bold]x[/bold] done" in shown, "the conversation")
    with suppress(ValueError):
        screen.index("\u202e")
        raise AssertionError("an override reaches the terminal")


async def test_a_killed_endpoint_is_not_even_noticed(team: Team, client: SupervisorClient, people: People) -> None:
    await started(client, team, "hello")
    person = await watches(people)
    endpoints = [each for each in of_team(team.home) if "mcp_entry.web" in command_of(each)]
    assert len(endpoints) == 1
    tell(endpoints)
    (other,) = await started(client, team, "hello again")
    screen = await person.until(other)
    assert "AWAY" not in screen


async def test_a_killed_supervisor_is_said_to_be_away_and_the_list_goes_on_by_itself(
    team: Team, client: SupervisorClient, people: People
) -> None:
    (quiet,) = await started(client, team, "hello")
    person = await watches(people)
    await person.until(quiet)
    tell(called(of_ray(team.home), "ray::_SupervisorServer"))
    screen = await person.until("AWAY: ")
    assert quiet in screen
    await person.until(lambda shown: "AWAY" not in shown and KEYS in shown, "the team back")
    (other,) = await started(client, team, "hello again")
    await person.until(other)


@pytest.mark.real_claude
async def test_a_real_claude_is_seen_allowed_and_answered(
    claude_team: Team, claude: SupervisorClient, short_tmp: Path
) -> None:
    spawned = await claude.spawn(claude_team.specialist("hello", permission_mode="default", name="asker"))
    instance_id = spawned.instance_id
    command = {"command": "touch made-by-bash", "description": "make it"}
    async with people_before(claude_team, short_tmp) as people:
        person = await watches(people, LARGE)
        await person.until(lambda screen: "? for shortcuts" in screen or "hello" in screen, "Claude's own screen")
        await claude.send(SendRequest(instance_id=instance_id, message=f"@@tool Bash {json.dumps(command)}"))
        await person.until(f"! asker ({instance_id}) asks to use Bash")
        assert "command: touch made-by-bash" in await person.sees()
        await asyncio.sleep(0.6)
        await person.presses("a")
        await person.until("Bash was allowed")
        await until((Path(spawned.working_directory) / "made-by-bash").exists, "the tool has run")
        asked = json.dumps({"questions": [QUESTION]})
        await claude.send(SendRequest(instance_id=instance_id, message=f"@@tool AskUserQuestion {asked}"))
        await person.until("2. Redis  a server")
        await asyncio.sleep(0.6)
        await person.presses("2")
        await person.until("AskUserQuestion was allowed")
        await claude.wait(WaitRequest(instance_ids=[instance_id], timeout_seconds=PATIENCE_S))
        await person.presses("v")
        await person.until(lambda screen: "AskUserQuestion" in screen and "Redis" in screen, "the answer")
