"""The agents of a round: how they are started and where their own record of what they got is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import arrivals
from tests.chaos.arrivals import Arrival
from tests.chaos.visits import AT_A_CLAUDE, AT_A_DEMO, Act
from tests.conversations import lines_of, transcripts_of
from tests.launches import place_of
from tests.standin.claude_home import make_claude_home, standin_environment

_WORK_S = "0.2"
"""How long a demo works on what it got; what comes meanwhile is held back and goes in one paste."""

Directories = Mapping[str, Path]
"""The private directories of instances, by id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """``environment`` is added to that in which the team is brought up.

    ``read``: what has arrived at these instances, by the records of the agents' programs. ``asks``: the line of a
    message that makes the agent ask whether it may run a command. ``ran``: the commands that each instance ran.
    ``acts``: what people can do at its terminal.
    """

    environment: Mapping[str, str]
    read: Callable[[Directories], list[Arrival]]
    asks: Callable[[str], str]
    ran: Callable[[Directories], set[tuple[str, str]]]
    acts: Sequence[Act]


def demo_crew() -> Crew:
    return Crew(
        environment={"PHALANX_AGENT": "demo", "PHALANX_DEMO_WORK_S": _WORK_S},
        read=_read_demo,
        asks=lambda command: f"@@demo dialog Bash {json.dumps({'command': command})}",
        ran=_ran_by_demo,
        acts=AT_A_DEMO,
    )


def claude_crew(command: Path, api_url: str, user_home: Path) -> Crew:
    """Real Claude Code instances, with a new HOME and a stand-in of the API. Their commands make the file that they
    name: ``touch NAME``."""
    environment = {
        "PHALANX_AGENT": "claude",
        "PHALANX_CLAUDE_COMMAND": str(command),
        **standin_environment(api_url, make_claude_home(user_home)),
    }

    def read(directories: Directories) -> list[Arrival]:
        return [
            arrival
            for instance_id, directory in directories.items()
            for arrival in arrivals.of_claude(instance_id, *transcripts_of(user_home, place_of(directory)))
        ]

    return Crew(
        environment=environment,
        read=read,
        asks=lambda command: f"@@tool Bash {json.dumps({'command': command, 'description': 'do it'})}",
        ran=_ran_by_claude,
        acts=AT_A_CLAUDE,
    )


def _read_demo(directories: Directories) -> list[Arrival]:
    """A log that is not there yet holds nothing."""
    found: list[Arrival] = []
    for instance_id, directory in directories.items():
        log = directory / "demo-log.jsonl"
        if log.exists():
            found += arrivals.of_demo(instance_id, log.read_bytes())
    return found


def _ran_by_demo(directories: Directories) -> set[tuple[str, str]]:
    logs = {instance_id: directory / "ran.jsonl" for instance_id, directory in directories.items()}
    return {
        (instance_id, str(entry["tool_input"]["command"]))
        for instance_id, log in logs.items()
        if log.exists()
        for entry in lines_of(log.read_bytes())
    }


def _ran_by_claude(directories: Directories) -> set[tuple[str, str]]:
    return {
        (instance_id, f"touch {made.name}")
        for instance_id, directory in directories.items()
        for made in place_of(directory).glob("ran-*")
    }
