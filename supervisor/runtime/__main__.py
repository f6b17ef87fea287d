"""``python -m supervisor.runtime up|down|revive --home DIRECTORY``: brings a team up, down or back in a process of its
own.

The MCP entry and scripts run it. Steps go to stdout, the reason of a failure to stderr; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.errors import PhalanxError
from actors.home import Home
from supervisor.runtime.runtime import Runtime
from supervisor.settings import Settings, kept_settings
from supervisor.team.file import step_line


def _up(home: Home, environment: Mapping[str, str]) -> None:
    address = Runtime(home, Settings.load(home, environment)).up(environment, _step)
    _say("the team was running already" if address.already_running else "the team is up")


def _revive(home: Home, environment: Mapping[str, str]) -> None:
    settings = kept_settings(home) or Settings.load(home, environment)
    address = Runtime(home, settings).revive(environment, _step)
    if address is None:
        _say("the team was brought down: nothing is brought back")
    else:
        _say("the team was whole already" if address.already_running else "the team is back")


def _down(home: Home) -> None:
    report = Runtime(home, Settings()).down(_step)
    for note in report.notes:
        _say(note)
    _say(f"the team is down, {len(report.ended)} processes ended" if report.was_running else "no team was running")


def _step(what: str) -> None:
    _say(step_line(time.strftime("%H:%M:%S"), what))


def _say(what: str) -> None:
    print(what, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m supervisor.runtime", description="Brings a team up, down or back.")
    parser.add_argument("command", choices=["up", "down", "revive"])
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args(arguments)
    for end_signal in (signal.SIGTERM, signal.SIGHUP):  # leaving by an exception undoes what it began
        signal.signal(end_signal, lambda number, _: sys.exit(128 + number))
    home = Home(given.home.absolute())
    try:
        match given.command:
            case "up":
                _up(home, os.environ)
            case "revive":
                _revive(home, os.environ)
            case _:
                _down(home)
    except PhalanxError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
