"""The agents of a round: how they are started and where their own record of what they got is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import arrivals
from tests.chaos.arrivals import Arrival
from tests.launches import command_of
from tests.standin.claude_home import make_claude_home, standin_environment

_WORK_S = "0.2"
"""How long a demo works on what it got; what comes meanwhile is held back and goes in one paste."""

Reader = Callable[[Mapping[str, Path]], list[Arrival]]
"""What has arrived at these instances, whose private directories are given, by the records of the agents' programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """``environment`` is added to that in which the team is brought up."""

    environment: Mapping[str, str]
    read: Reader


def demo_crew() -> Crew:
    return Crew(environment={"PHALANX_AGENT": "demo", "PHALANX_DEMO_WORK_S": _WORK_S}, read=_read_demo)


def claude_crew(command: Path, api_url: str, user_home: Path) -> Crew:
    """Real Claude Code instances, with a new HOME and a stand-in of the API."""
    environment = {
        "PHALANX_AGENT": "claude",
        "PHALANX_CLAUDE_COMMAND": str(command),
        **standin_environment(api_url, make_claude_home(user_home)),
    }

    def read(directories: Mapping[str, Path]) -> list[Arrival]:
        return [each for one, directory in directories.items() for each in _read_claude(user_home, one, directory)]

    return Crew(environment=environment, read=read)


def _read_demo(directories: Mapping[str, Path]) -> list[Arrival]:
    """A log that is not there yet holds nothing."""
    found: list[Arrival] = []
    for instance_id, directory in directories.items():
        log = directory / "demo-log.jsonl"
        if log.exists():
            found += arrivals.of_demo(instance_id, log.read_bytes())
    return found


def _read_claude(user_home: Path, instance_id: str, directory: Path) -> list[Arrival]:
    found: list[Arrival] = []
    for transcript in user_home.glob(f".claude/projects/*/{_session_id(directory)}.jsonl"):
        found += arrivals.of_claude(instance_id, transcript.read_bytes())
    return found


def _session_id(directory: Path) -> str:
    """Of the agent's command line; resuming keeps it."""
    words = command_of(directory)
    option = next(word for word in words if word in ("--session-id", "--resume"))
    return words[words.index(option) + 1]
