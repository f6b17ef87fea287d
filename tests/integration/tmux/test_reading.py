"""What can be read of a pane and of all panes, with a real tmux."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from actors.errors import TerminalError
from actors.tmux.client import TmuxClient
from actors.tmux.pane import Pane
from actors.tmux.server import TmuxServer
from tests.integration.tmux.conftest import Run, ended, shown


async def test_a_capture_holds_the_screen_line_by_line_whatever_the_locale_of_the_caller(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    pane = run(r"printf '  a\n\nb\303\244 \344\270\255 ~\n'; exec sleep 1000")
    await shown(pane, "~")
    assert (await pane.capture()).split("\n") == ["  a", "", "bä 中 ~", *[""] * 47]


async def test_history_comes_before_the_screen_and_only_when_asked_for(run: Run) -> None:
    pane = run("i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exec sleep 1000")
    await shown(pane, "line 99")
    for history_lines, first in ((0, "line 51"), (10, "line 41"), (5000, "line 0")):
        assert (await pane.capture(history_lines=history_lines)).split("\n")[0] == first


async def test_colours_are_kept_only_when_asked_for(run: Run) -> None:
    pane = run(r"printf '\033[2mdim\033[0m \033[7mx\033[0m~'; exec sleep 1000")
    await shown(pane, "~")
    assert (await pane.capture()).startswith("dim x~")
    styled = await pane.capture(styled=True)
    assert "\x1b[2mdim\x1b[0m" in styled
    assert "\x1b[7mx\x1b[0m" in styled


async def test_a_program_that_has_ended_leaves_its_status_and_its_whole_last_screen(run: Run) -> None:
    # tmux 3.3a now and then loses what a program says that ends within the first few milliseconds.
    pane = run("sleep 0.05; echo first words; exit 3")
    assert (await ended(pane)).exit_status == 3
    assert (await pane.capture()).rstrip("\n") == "first words"


async def test_no_exit_status_is_lost(run: Run, server: TmuxServer) -> None:
    """tmux before 3.5 misses the end of about one program in ten when nothing else ends."""
    for status in range(1, 31):
        assert (await ended(run(f"exit {status}"))).exit_status == status
        server.close_session("agent")


async def test_a_program_that_a_signal_ended_is_told_from_one_that_exited(run: Run) -> None:
    assert (await ended(run("kill -9 $$"))).exit_status == -9


async def test_a_program_that_has_ended_breaks_no_listing(server: TmuxServer, tmux: TmuxClient, home: Path) -> None:
    gone = server.open_session("gone", ["sh", "-c", "exit 3"], home)
    server.open_session("runs", ["sleep", "1000"], home)
    assert (await ended(Pane(tmux, gone.pane_id))).pid in {gone.pid, 0}
    assert [(agent.session_name, agent.alive) for agent in server.agents()] == [("gone", False), ("runs", True)]


async def test_a_program_that_cannot_be_started_is_a_dead_pane(
    server: TmuxServer, tmux: TmuxClient, home: Path
) -> None:
    pane = Pane(tmux, server.open_session("agent", ["/no/such/program", "x"], home).pane_id)
    assert (await ended(pane)).exit_status not in {None, 0}


async def test_the_state_of_a_running_program(server: TmuxServer, tmux: TmuxClient, home: Path) -> None:
    info = server.open_session("agent", ["sleep", "1000"], home)
    state = await Pane(tmux, info.pane_id).state()
    assert (state.pid, state.dead, state.exit_status, state.in_mode) == (info.pid, False, None, False)


def test_a_listing_tells_each_pane_apart(server: TmuxServer, home: Path) -> None:
    assert server.agents() == ()
    opened = [server.open_session(name, ["sleep", "1000"], home) for name in ("a", "ab", "-", "-t", "9", "_")]
    listed = {(agent.session_name, agent.pane_id, agent.pid) for agent in server.agents()}
    assert listed == {(pane.session_name, pane.pane_id, pane.pid) for pane in opened}


async def test_odd_session_names_do_not_confuse_a_listing(server: TmuxServer, tmux: TmuxClient, home: Path) -> None:
    refused = []
    names = ["a b", "a:b", "a\nb", "a\tb", "#{pid}", "'\"", "ä 中", "=x", "$1", "%7"]
    for name in names:
        try:
            await tmux.run("new-session", "-d", "-s", name, "--", "sleep", "1000")
        except TerminalError:
            refused.append(name)
    plain = server.open_session("plain", ["sleep", "1000"], home)
    listed = server.agents()
    assert set(refused) <= {"a\nb", "a\tb"}, "since 3.8 tmux takes no control characters"
    assert len(listed) == len(names) - len(refused) + 1
    assert [agent.pane_id for agent in listed if agent.session_name == "plain"] == [plain.pane_id]


async def test_panes_that_come_and_go_never_break_a_listing(server: TmuxServer, home: Path) -> None:
    server.open_session("stays", ["sleep", "1000"], home)

    async def churn(number: int) -> None:
        for turn in range(5):
            name = f"churn_{number}_{turn}"
            await asyncio.to_thread(server.open_session, name, ["sleep", "1000"], home)
            await asyncio.to_thread(server.close_session, name)

    churning = asyncio.gather(*(churn(number) for number in range(4)))
    listings = 0
    while not churning.done():
        assert "stays" in {agent.session_name for agent in await asyncio.to_thread(server.agents)}
        listings += 1
    await churning
    assert listings > 5


@pytest.mark.parametrize("said", [r"printf '\033]2;a\342\220\236b\007'", "mkdir 'x\ny'; cd 'x\ny'"])
async def test_nothing_that_an_agent_says_or_does_breaks_a_listing(run: Run, server: TmuxServer, said: str) -> None:
    await shown(run(f"{said}; echo done; exec sleep 1000"), "done")
    assert [(agent.session_name, agent.alive) for agent in server.agents()] == [("agent", True)]
