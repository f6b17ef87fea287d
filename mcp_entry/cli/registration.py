"""``phalanx mcp add``: registers the MCP server with Claude Code through Claude Code's own command."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from actors.errors import AgentError, SettingsError
from mcp_entry.cli.claude_config import claude_config, claude_words
from mcp_entry.cli.session import HomeOption, JsonOption, Session, World, session
from mcp_entry.cli.terminal_text import plain
from supervisor.settings import HOME_VARIABLE, Settings, home_from

NAME = "phalanx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What Claude Code is to start, and with which variables."""

    program: Path
    environment: Mapping[str, str]

    def is_registered(self, found: Mapping[str, object] | None) -> bool:
        return (
            found is not None
            and found.get("command") == str(self.program)
            and not found.get("args")
            and (found.get("env") or {}) == dict(self.environment)
        )


def add(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Register Phalanx with Claude Code for all your projects. May be repeated."""
    with session(context, home, as_json) as team:
        wanted = Registration(program=_entry_program(), environment=_home_variable(team))
        claude = _claude(team)
        found = claude_config(team.world.environment).mcp_server(NAME)
        done = "already registered"
        if not wanted.is_registered(found):
            if found is not None:
                _run(team.world, [*claude, "mcp", "remove", "--scope", "user", NAME])
            _run(team.world, _add_command(claude, wanted))
            done = "registered again" if found is not None else "registered"
        undo = f"{shlex.join(claude)} mcp remove --scope user {NAME}"
        document = {"done": done, "program": str(wanted.program), "environment": wanted.environment, "undo": undo}
        team.output.show(
            document,
            plain(
                f"Phalanx is {done} with Claude Code for all your projects: {wanted.program}\n"
                f"Start claude anew and ask it to lead a team. To undo: {undo}"
            ),
        )


def _add_command(claude: Sequence[str], wanted: Registration) -> list[str]:
    """The name stands before ``-e``, which would take it for another variable."""
    variables = [part for name, value in wanted.environment.items() for part in ("-e", f"{name}={value}")]
    return [*claude, "mcp", "add", "--scope", "user", NAME, *variables, "--", str(wanted.program)]


def _entry_program() -> Path:
    program = Path(sys.executable).with_name("phalanx-mcp")
    if not program.is_file():
        raise SettingsError(f"{program} is missing. Install the package into this environment, then repeat.")
    return program


def _home_variable(team: Session) -> dict[str, str]:
    """Names the home to the server, where it is not the one that it finds by itself."""
    ordinary = home_from({name: value for name, value in team.world.environment.items() if name != HOME_VARIABLE})
    return {} if team.home == ordinary else {HOME_VARIABLE: str(team.home.root)}


def _claude(team: Session) -> list[str]:
    """Claude Code's program, as it is found, with the arguments that the setting gives it."""
    program, *arguments = claude_words(Settings.load(team.home, team.world.environment).claude_command)
    found = shutil.which(program, path=team.world.environment.get("PATH"))
    if found is None:
        raise SettingsError(
            f"Claude Code ({program}) is not on PATH. Install it with `npm install -g @anthropic-ai/claude-code`, "
            "or set PHALANX_CLAUDE_COMMAND to its path."
        )
    return [found, *arguments]


def _run(world: World, command: Sequence[str]) -> None:
    try:
        ended = world.run(command, world.environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"`{' '.join(command)}` could not be run: {error}") from error
    if ended.returncode != 0:
        reason = (ended.stderr or ended.stdout).strip()
        raise AgentError(f"`{' '.join(command)}` failed with status {ended.returncode}: {reason}")
