"""Tells people of what happens in the team, by a program of theirs or on their desktop. ``Host`` calls it.

The program gets no shell and no terminal, the team's environment and ``PHALANX_HOME``, and the events on its standard
input. It ends within its time limit with all that it has started: a mark in the environment of all its processes tells
whose they are. When this process dies, ``timeout`` of coreutils ends the program in time, and the next host what the
program has left (``end_left_behind``). What agents wrote reaches a program on its input, or as an argument that cannot
be taken for an option. All functions block.
"""

from __future__ import annotations

import html
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import psutil

from actors.git.process import ProcessOutput, finish
from actors.marks import NOTICE_MARK
from actors.processes import end_all_found, mark_of, no_signal_blocked, processes_with

LIMIT_S = 30.0
LONGEST_S = 60.0
"""Until all of it has ended, at the latest."""
_GRACE_S = 2.0
_LATE_S = 5.0
_CANNOT_RUN = {126: "may not be executed", 127: "is not found on the team's PATH"}
_DESKTOP_PROGRAM = "notify-send"
_MOST_SHOWN = 300
"""Characters from the end of what it said."""


def run_notice(command: Sequence[str], text: str, environment: Mapping[str, str], limit_s: float = LIMIT_S) -> str:
    """Runs the command with the text on its standard input. Returns why it failed, as a sentence; empty: it did not."""
    mark = f"{_marks_of(environment.get('PHALANX_HOME', ''))}{secrets.token_hex(8)}"
    begun_s = time.monotonic()
    stdin = os.memfd_create("notice")  # a program that does not read its input blocks nobody
    try:
        with ProcessOutput() as collector, no_signal_blocked(), os.fdopen(stdin, "w+b") as given:
            given.write(text.encode(errors="replace"))
            given.seek(0)
            process = subprocess.Popen(
                ["timeout", f"--kill-after={_GRACE_S:g}", f"{limit_s:g}", *command],
                cwd=environment.get("HOME") or "/",
                env={**environment, NOTICE_MARK: mark},
                stdin=given,
                stdout=collector.errors,
                stderr=collector.errors,
                start_new_session=True,
            )
            collector.hand_over()
            ended = finish(process, collector, limit_s + _GRACE_S + _LATE_S, None)
    except subprocess.TimeoutExpired:
        return _too_slow(command, limit_s)
    except (OSError, ValueError) as error:
        return f"{command[0]} could not be started: {error}."
    finally:
        end_all_found(lambda: processes_with(NOTICE_MARK, mark), _GRACE_S)
    if ended.status == 0:
        return ""
    if time.monotonic() - begun_s >= limit_s:
        return _too_slow(command, limit_s)
    how = _CANNOT_RUN.get(ended.status, f"ended with exit status {ended.status}")
    said = " ".join(ended.error.split())[-_MOST_SHOWN:]
    return f"{command[0]} {how}.{f' It said: {said}' if said else ''}"


def end_left_behind(home: Path) -> None:
    """Ends all that notices of the home have started and that still runs: to be called before its first notice."""
    ours = _marks_of(str(home))
    marks = {mark for each in psutil.process_iter() if (mark := mark_of(each, NOTICE_MARK) or "").startswith(ours)}
    end_all_found(lambda: chain.from_iterable(processes_with(NOTICE_MARK, mark) for mark in marks), _GRACE_S)


def _marks_of(home: str) -> str:
    """How the marks of the home's notices begin."""
    return f"{home}:"


def _too_slow(command: Sequence[str], limit_s: float) -> str:
    return f"{command[0]} was not done within {limit_s:g} s and was ended."


def show_on_desktop(summary: str, body: str, environment: Mapping[str, str]) -> str:
    """Shows a notice on the desktop of the person who brought the team up. Returns why it could not, as a sentence."""
    if missing := _missing_for_desktop(environment):
        return f"There is no desktop to show it on: {missing}."
    # notify-send decodes backslashes in the body, and the desktop reads the result as markup.
    text = html.escape(_printable(body), quote=False).replace("\\", "\\\\")
    return run_notice((_DESKTOP_PROGRAM, "--app-name=Phalanx", "--", _printable(summary), text), "", environment)


def _missing_for_desktop(environment: Mapping[str, str]) -> str:
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return "neither DISPLAY nor WAYLAND_DISPLAY was set where `phalanx up` ran"
    if not environment.get("DBUS_SESSION_BUS_ADDRESS"):
        return "DBUS_SESSION_BUS_ADDRESS was not set where `phalanx up` ran"
    if shutil.which(_DESKTOP_PROGRAM, path=environment.get("PATH", os.defpath)) is None:
        return f"{_DESKTOP_PROGRAM} is not on the team's PATH"
    return ""


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)
