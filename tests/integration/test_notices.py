"""The user's command and the program of the desktop, as real processes of a host."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from actors.home import Home
from actors.host import notice
from actors.host.host import Host
from tests.fakes.hosts import CATALOG
from tests.processes import runs

SHELL = ("/bin/sh", "-c")


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLOUR": "blue"}


def program(directory: Path, name: str, *lines: str) -> Path:
    path = directory / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def test_the_command_gets_the_text_as_it_is_and_the_environment_and_no_shell(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    told = program(tmp_path, "tell", 'cat >"$1"', 'echo "$COLOUR" >>"$1"')
    text = '{"text": "$(touch /tmp/x); `id` \\u0000 ü"}\n' * 1000
    assert notice.run_notice((str(told), "$(name)"), text, environment) == ""
    assert (tmp_path / "$(name)").read_text() == f"{text}blue\n"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo it is full >&2; exit 3", "/bin/sh ended with exit status 3. It said: it is full"),
        ("exec /nowhere/at/all 2>/dev/null", "/bin/sh is not found on the team's PATH."),
    ],
)
def test_a_command_that_fails_says_why(environment: Mapping[str, str], script: str, fault: str) -> None:
    assert notice.run_notice((*SHELL, script), "", environment) == fault


def test_a_program_that_is_not_there_is_named(environment: Mapping[str, str]) -> None:
    assert notice.run_notice(("no-such-program", "x"), "", environment).startswith(
        "no-such-program is not found on the team's PATH."
    )
    assert "null byte" in notice.run_notice(("a\0b",), "", environment)


def test_one_that_does_not_read_its_input_or_says_very_much_blocks_nobody(environment: Mapping[str, str]) -> None:
    assert notice.run_notice((*SHELL, "head -c 50000000 /dev/zero"), "x" * 5_000_000, environment) == ""


def test_one_that_hangs_and_all_that_it_has_started_is_ended(tmp_path: Path, environment: Mapping[str, str]) -> None:
    pids = tmp_path / "pids"
    script = f"trap '' TERM; setsid sleep 600 & echo $! $$ >{pids}; sleep 600"
    begun = time.monotonic()
    fault = notice.run_notice((*SHELL, script), "", environment, limit_s=1.0)
    assert fault == "/bin/sh was not done within 1 s and was ended."
    assert time.monotonic() - begun < 20
    assert not any(runs(int(pid)) for pid in pids.read_text().split())


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path, environment: Mapping[str, str]) -> None:
    left = tmp_path / "left"
    assert notice.run_notice((*SHELL, f"setsid sleep 600 >/dev/null 2>&1 & echo $! >{left}"), "", environment) == ""
    assert not runs(int(left.read_text()))


def test_what_a_killed_host_was_running_and_had_left_is_ended_by_the_next_host_of_the_home(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    program_text = (
        "import sys; from actors.host.notice import run_notice\n"
        "run_notice(('/bin/sh', '-c', sys.argv[1]), '', {'PATH': sys.argv[2], 'PHALANX_HOME': sys.argv[3]})"
    )
    left: dict[str, list[int]] = {}
    for home in ("h1", "h2"):
        os.mkfifo(pids := tmp_path / f"{home}.pids")
        script = f"setsid sleep 600 >/dev/null 2>&1 & echo $! $$ >{pids}; sleep 600"
        arguments = (script, environment["PATH"], str(tmp_path / home))
        with subprocess.Popen([sys.executable, "-c", program_text, *arguments]) as host:
            left[home] = [int(pid) for pid in pids.read_text().split()]
            host.kill()
    try:
        notice.end_left_behind(tmp_path / "h1")
        assert [runs(pid) for pid in left["h1"]] == [False, False]
        assert [runs(pid) for pid in left["h2"]] == [True, True]
    finally:
        notice.end_left_behind(tmp_path / "h2")
    assert not any(map(runs, left["h2"]))


def on_desktop(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """With a program that notes its arguments."""
    program(directory, "notify-send", f'for word; do printf "%s|" "$word"; done >>{directory}/shown')
    path = f"{directory}{os.pathsep}{environment['PATH']}"
    return {**environment, "PATH": path, "DISPLAY": ":0", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}


def test_what_agents_write_is_neither_an_option_nor_markup_on_the_desktop(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    desktop = on_desktop(environment, tmp_path)
    assert notice.show_on_desktop("--help", "-x <b>bold</b> \x1b[31m & so", desktop) == ""
    shown = (tmp_path / "shown").read_text()
    assert shown == "--app-name=Phalanx|--|--help|-x &lt;b&gt;bold&lt;/b&gt;  [31m &amp; so|"


NOTIFY_SEND = r"""
import re, sys
signs = {"n": "\n", "t": "\t"}
def sign(found):
    return chr(int(found[1], 8)) if found[1].isdigit() else signs.get(found[1], found[1])
print(re.sub(r"\\([0-7]{1,3}|.)", sign, sys.argv[-1]), end="", file=open(sys.argv[1], "w"))
"""
"""Decodes the body as the real one does (``g_strcompress``), and writes it into a file."""


def test_a_backslash_that_an_agent_writes_is_a_backslash_on_the_desktop(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    desktop = on_desktop(environment, tmp_path)
    (tmp_path / "decode.py").write_text(NOTIFY_SEND)
    program(tmp_path, "notify-send", f'exec {sys.executable} {tmp_path}/decode.py {tmp_path}/shown "$@"')
    said = r"C:\new \074a href=x\076 \\"
    assert notice.show_on_desktop("a", said, desktop) == ""
    assert (tmp_path / "shown").read_text() == said


@pytest.mark.parametrize("missing", ["DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "notify-send"])
def test_where_there_is_no_desktop_it_says_what_is_missing(
    tmp_path: Path, environment: Mapping[str, str], missing: str
) -> None:
    desktop = on_desktop(environment, tmp_path)
    desktop.pop(missing, None)
    if missing == "notify-send":
        desktop["PATH"] = "/nowhere"
    fault = notice.show_on_desktop("a", "b", desktop)
    assert fault.startswith("There is no desktop to show it on: ")
    assert missing in fault
    assert not (tmp_path / "shown").exists()


async def test_the_host_tells_the_command_which_team_it_is_of(short_tmp: Path, environment: Mapping[str, str]) -> None:
    home = Home(short_tmp / "h")
    home.create()
    host = Host(home, CATALOG, environment)
    told = short_tmp / "told"
    fault = await host.notify((*SHELL, f'cat >{told}; echo "$PHALANX_HOME" >>{told}'), "{}\n")
    assert (fault, told.read_text()) == ("", f"{{}}\n{home.root}\n")


async def test_a_command_finds_phalanx_behind_the_programs_of_the_user(short_tmp: Path) -> None:
    home = Home(short_tmp / "h")
    home.create()
    host = Host(home, CATALOG, {"PATH": "/usr/bin:/bin", "HOME": str(short_tmp)})
    told = short_tmp / "told"
    assert await host.notify((*SHELL, f'{{ command -v phalanx; echo "$PATH"; }} >{told}'), "") == ""
    programs = Path(sys.executable).parent
    assert told.read_text() == f"{programs}/phalanx\n/usr/bin:/bin:{programs}\n"
