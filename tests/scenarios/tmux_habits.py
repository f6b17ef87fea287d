"""What people do with tmux itself in the session of an instance."""

from __future__ import annotations

import asyncio

from supervisor.api import requests
from tests.scenarios.asking import TOUCH
from tests.scenarios.scenario import expect, scenario
from tests.scenarios.stage import Stage


def _has_a_prompt(screen: str) -> bool:
    """Of a shell: root's ends otherwise."""
    return any(row.rstrip().endswith(("$", "#")) for row in screen.splitlines())


@scenario()
async def a_pane_that_a_person_splits_off_gets_no_message_and_keeps_none_away(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((160, 50))
    await person.presses("C-b", "%")
    await person.until(_has_a_prompt, "a shell in the new pane", 10)
    await member.takes("beside a shell")
    shell = "\n".join(row.partition("│")[2] for row in (await person.sees()).splitlines())
    expect("phalanx msg" not in shell, "the message went into the person's shell")
    await person.types("exit")
    await person.presses("Enter")
    await member.takes("after the shell")


@scenario()
async def a_window_that_a_person_opens_gets_no_message_and_keeps_none_away(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((120, 40))
    await person.presses("C-b", "c")
    await person.until(_has_a_prompt, "a shell in the new window", 10)
    await member.takes("behind another window")
    expect("phalanx msg" not in await person.sees(), "the message went into the person's shell")
    await person.types("exit")
    await person.presses("Enter")
    await member.takes("after the other window")


@scenario()
async def a_session_that_a_person_renamed_is_still_that_of_its_instance(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    await stage.people.of_the_team("rename-session", "-t", f"={member.session_name}", "my-own-name")
    member.session_name = "my-own-name"
    await member.takes("after the rename")
    page = await stage.client.read(requests.ReadRequest(instance_id=member.instance_id, source="screen"))
    expect("after the rename" in (page.screen or ""), "read does not show its screen")
    await member.rests()
    await asyncio.to_thread((await asyncio.to_thread(member.agent)).kill)
    await member.says("ended", "killed", "signal")


@scenario()
async def a_pane_that_a_person_killed_is_told_in_words_and_the_instance_comes_back(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    await stage.people.of_the_team("kill-pane", "-t", f"={member.session_name}:")
    await member.says("ended", "gone", "killed")
    await member.restart()
    await member.takes("after the restart")


@scenario()
async def a_client_in_control_mode_keeps_no_message_away(stage: Stage) -> None:
    """As iTerm2 attaches."""
    member = await stage.member()
    await member.rests()
    socket = str(stage.home.tmux_socket)
    words = ["tmux", "-S", socket, "-C", "attach-session", "-t", f"={member.session_name}"]
    person = await stage.people.runs(words, (120, 40))
    await person.until("%session-changed", within_s=10)
    await member.takes("beside a client in control mode")
    await person.closes_the_window()
    await member.takes("after it")


@scenario()
async def somebody_who_only_looks_with_a_read_only_client_keeps_no_message_away(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    socket = str(stage.home.tmux_socket)
    words = ["tmux", "-S", socket, "attach-session", "-r", "-t", f"={member.session_name}"]
    person = await stage.people.runs(words, (80, 24))
    await person.until("❯", "the agent's screen")
    await member.takes("beside a reader")
    await person.closes_the_window()
    await member.takes("after the reader")


@scenario()
async def a_terminal_as_small_as_a_telephone_holds_a_message_only_while_it_is_there(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    socket = str(stage.home.tmux_socket)
    words = ["tmux", "-S", socket, "attach-session", "-t", f"={member.session_name}"]
    person = await stage.people.runs(words, (30, 8))
    await asyncio.sleep(2)
    await member.holds_or_says(await member.send("on a small screen"))
    await person.closes_the_window()
    await member.takes("after the small screen")


@scenario()
async def a_permission_is_shown_and_answered_while_somebody_reads_in_copy_mode(stage: Stage) -> None:
    member = await stage.member()
    await member.rests()
    person = await member.is_visited((120, 40))
    await member.send("@@slow 2\n" + TOUCH)
    await person.presses("C-b", "[")
    await member.asks("Bash", 20)
    await member.answers("allow")
    await member.rests()
    expect((member.directory / "it-ran").exists(), "the call was allowed and did not run")
    if "[0/" in await person.sees():  # a delivery may have led out of copy mode
        await person.presses("q")
    await member.takes("after the reading")
