"""Real teams whose parts are killed: Ray, tmux and a stand-in for the supervisor. What comes back is one whole team."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import end_processes, is_running, processes_with
from actors.tmux.server import TmuxServer
from supervisor.runtime import Runtime
from supervisor.runtime.parts import gateway_answers
from supervisor.settings import Settings
from supervisor.team.file import TeamInfo, wanted_team, write_team
from tests.integration.runtime.conftest import STANDIN, eventually, team_of
from tests.integration.runtime.standin_supervisor import slow_start_file
from tests.processes import called, environment_of, of_ray, session_of, tell, title_of

pytestmark = [pytest.mark.kills, pytest.mark.timeout(180)]
BACK_S = 60.0
REVIVE_S = 90.0
"""Generous: two cores of a busy machine. They tell coming back from not coming back and measure nothing."""


def runtime(home: Home) -> Runtime:
    return Runtime(home, Settings(), f"{STANDIN}:create_supervisor")


def caller(**more: str) -> dict[str, str]:
    return {**os.environ, "MAX_CONCURRENT_SPAWNS": "7", **more}


def named(home: Home, name: str) -> psutil.Process:
    """The only Ray process of that name."""
    (found,) = called(of_ray(home), name)
    return found


def agent_in(home: Home) -> psutil.Process:
    name = f"agent-{uuid.uuid4().hex}"
    pane = TmuxServer(home.tmux_socket).open_session(name, ["sleep", "600"], home.root)
    return psutil.Process(pane.pid)


def check_whole(home: Home) -> None:
    """One head, one generation of actors, and nothing of an earlier one."""
    assert runtime(home).state().kind == "running"
    head = team_of(home).head_pid
    found = of_ray(home)
    assert {session_of(process) for process in found} - {None} == {head}
    titles = sorted(title for title in map(title_of, found) if title.startswith("ray::_"))
    assert [title.strip() for title in titles] == ["ray::_Instance", "ray::_Supervisor"]


@pytest.fixture(scope="module")
def home(make_short_tmp: Callable[[], Path]) -> Iterator[Home]:
    """One for all: what a test leaves of its team is what the next one needs, and a bring-up costs seconds."""
    made = Home(make_short_tmp() / "h")
    yield made
    runtime(made).down()


@pytest.fixture
def team(home: Home) -> Iterator[TeamInfo]:
    """A whole one, which may have been there before."""
    runtime(home).up(caller())
    yield team_of(home)
    if runtime(home).state().kind == "partly":  # the test has failed
        runtime(home).down()


def test_a_supervisor_that_was_killed_answers_again_without_anybodys_help(home: Home, team: TeamInfo) -> None:
    supervisor = named(home, "ray::_Supervisor")
    instance = named(home, "ray::_Instance")

    end_processes([supervisor], grace_s=0)

    assert eventually(lambda: gateway_answers(home), BACK_S)
    assert is_running(instance)
    check_whole(home)
    assert runtime(home).up(caller()).already_running


@pytest.mark.parametrize("how", ["killed", "ended in an orderly way"])
def test_whatever_of_ray_dies_it_is_brought_back_whole_and_the_agents_do_not_notice(
    home: Home, team: TeamInfo, how: str
) -> None:
    agent = agent_in(home)
    victims = ["raylet", "gcs_server", "head", "all"] if how == "killed" else ["raylet"]
    for victim in victims:
        before = of_ray(home)
        chosen = {"head": [psutil.Process(team_of(home).head_pid)], "all": before}.get(victim) or [named(home, victim)]
        tell(chosen, signal.SIGKILL if how == "killed" else signal.SIGTERM)

        assert eventually(lambda: runtime(home).state().kind == "partly", BACK_S), victim
        begun = time.monotonic()
        address = runtime(home).revive({"PATH": os.environ["PATH"]})

        assert time.monotonic() - begun < REVIVE_S, victim
        assert address is not None
        assert (address.team_id, address.already_running) == (team.team_id, False)
        assert not any(is_running(process) for process in before)
        check_whole(home)
        assert team_of(home).tmux_pid == team.tmux_pid
        assert is_running(agent)
    (one_of_ray, *_) = of_ray(home)
    assert environment_of(one_of_ray)["MAX_CONCURRENT_SPAWNS"] == "7"


@pytest.mark.parametrize("hanging", ["head", "gcs_server"])
def test_a_ray_that_does_not_know_yet_that_it_dies_is_replaced_and_not_waited_for(
    home: Home, team: TeamInfo, hanging: str
) -> None:
    victim = psutil.Process(team.head_pid) if hanging == "head" else named(home, hanging)
    victim.suspend()
    dying = ["ray::_Supervisor"] if hanging == "gcs_server" else ["gcs_server", "ray::_Supervisor"]
    tell([named(home, name) for name in dying])
    begun = time.monotonic()

    assert runtime(home).revive(caller()) is not None

    assert time.monotonic() - begun < REVIVE_S
    assert not is_running(victim)
    check_whole(home)


def test_a_supervisor_that_starts_slowly_in_a_ray_that_runs_is_waited_for(home: Home, team: TeamInfo) -> None:
    """As on a machine with much load. Ray is not ended for it: the next start would only be slower."""
    slow_start_file(home).write_text("14")
    tell([named(home, "ray::_Supervisor")])

    assert runtime(home).revive(caller()) is not None

    assert team_of(home).head_pid == team.head_pid
    check_whole(home)


def test_many_bring_a_lost_team_back_once(home: Home, team: TeamInfo) -> None:
    end_processes(of_ray(home), grace_s=0)

    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(lambda _: runtime(home).revive(caller()), range(4)))

    assert sorted(address.already_running for address in addresses if address) == [False, True, True, True]
    check_whole(home)


def test_a_lost_terminal_server_comes_back_with_the_environment_that_it_had(home: Home, team: TeamInfo) -> None:
    environment = json.loads(home.environment_file.read_text())
    end_processes([psutil.Process(team.tmux_pid)], grace_s=0)
    assert home.tmux_socket.exists()
    assert runtime(home).state().missing == ("the tmux server",)

    address = runtime(home).revive(caller(MORE="yes"))

    assert address is not None
    assert address.team_id == team.team_id
    server = TmuxServer(home.tmux_socket).pid()
    assert server is not None
    assert psutil.Process(server).environ() == environment
    check_whole(home)


@pytest.mark.parametrize("command", ["up", "revive"])
def test_after_a_reboot_a_new_team_begins_over_what_the_home_keeps(
    home: Home, team: TeamInfo, bystander: subprocess.Popen[bytes], command: str
) -> None:
    """Sockets and files are stale, and process ids belong to others."""
    kept = [home.state_file, home.worktrees / "work", home.instances / "spec_0_0_1"]
    for path in kept:
        path.write_text("kept")
    identity = home.identity
    agents = json.loads(home.environment_file.read_text())
    end_processes(processes_with(TEAM_MARK, team.team_id), grace_s=0)
    write_team(home, replace(team, head_pid=bystander.pid, tmux_pid=bystander.pid))
    assert home.gateway_socket.exists()
    assert home.tmux_socket.exists()
    assert runtime(home).state().kind == "stopped"

    bring = runtime(home).up if command == "up" else runtime(home).revive
    address = bring(caller(SINCE="the reboot"))

    assert address is not None
    assert address.team_id != team.team_id
    check_whole(home)
    assert bystander.poll() is None
    assert [path.read_text() for path in kept] == ["kept"] * 3
    assert home.identity == identity
    now = json.loads(home.environment_file.read_text())
    news = {"SINCE": "the reboot"} if command == "up" else {}
    changed = {TEAM_MARK: address.team_id, "PYTEST_CURRENT_TEST": now["PYTEST_CURRENT_TEST"]}
    assert now == {**agents, **changed, **news}
    for path in kept:
        path.unlink()


def test_a_team_whose_bringing_down_was_cut_short_is_not_revived_and_gets_a_new_ray_when_it_is_brought_up(
    home: Home, team: TeamInfo
) -> None:
    class CutShortError(Exception):
        pass

    def cut_short(step: str) -> None:
        raise CutShortError

    before = of_ray(home)
    assert runtime(home).revive(caller()) is not None
    with pytest.raises(CutShortError):
        runtime(home).down(cut_short)

    assert runtime(home).revive(caller()) is None
    address = runtime(home).up(caller())

    assert (address.team_id, address.already_running) == (team.team_id, False)
    assert not team_of(home).ending
    assert not any(is_running(process) for process in before)
    check_whole(home)
    runtime(home).down()

    assert runtime(home).revive(caller()) is None
    assert not home.team_file.exists()


def test_a_team_that_is_just_being_brought_down_is_not_revived_afterwards(home: Home, team: TeamInfo) -> None:
    with ThreadPoolExecutor(1) as pool:
        down = pool.submit(runtime(home).down)
        assert eventually(lambda: wanted_team(home) is None, BACK_S)
        assert runtime(home).revive(caller()) is None
        assert down.result().was_running

    assert not home.team_file.exists()
    assert processes_with(TEAM_MARK, team.team_id) == []


def test_a_lost_team_file_does_not_keep_the_ray_of_that_team_from_being_replaced(home: Home, team: TeamInfo) -> None:
    before = of_ray(home)
    home.team_file.unlink()

    address = runtime(home).up(caller())

    assert address.team_id == team.team_id
    assert not any(is_running(process) for process in before)
    check_whole(home)
