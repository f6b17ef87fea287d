"""The context of a command in which nothing is real, and a terminal that runs commands in it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from typer.testing import CliRunner, Result

from actors.errors import PhalanxError, SettingsError
from actors.home import Home
from mcp_entry.cli.app import app
from mcp_entry.cli.session import CommandContext
from supervisor.api.requests import ListRequest
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime import DownReport, EndedProcess, OnStep, TeamAddress, TeamState
from supervisor.settings import Settings
from tests.fakes.gateway import FakeClient

HOME = Path("/nowhere/home")
NAMES_LOOKED_UP = ("list", ListRequest(include_stopped=True))


Ending = subprocess.CompletedProcess[str] | OSError | subprocess.TimeoutExpired


def program_ended(stdout: str = "", stderr: str = "", code: int = 0) -> Ending:
    return subprocess.CompletedProcess([], code, stdout, stderr)


class BecameError(Exception):
    """The command replaced itself by a program."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        super().__init__(command)
        self.command = command
        self.environment = environment


class FakeRuntime:
    def __init__(self, home: Home, settings: Settings | None) -> None:
        self._home = home

    def up(self, environment: Mapping[str, str], on_step: OnStep) -> TeamAddress:
        on_step("starting Ray")
        if "BROKEN" in environment:
            raise SettingsError("tmux is missing. Install it.")
        return TeamAddress(home=self._home.root, team_id="t1", already_running=False)

    def down(self, on_step: OnStep) -> DownReport:
        on_step("ending Ray")
        return DownReport(
            was_running=True, ended=(EndedProcess(pid=7, name="tmux"),), notes=("spec_1_1_1: 2 commits are not merged",)
        )

    def state(self) -> TeamState:
        return TeamState(kind="stopped")


class RunningRuntime(FakeRuntime):
    def up(self, environment: Mapping[str, str], on_step: OnStep) -> TeamAddress:
        return replace(super().up(environment, on_step), already_running=True)

    def state(self) -> TeamState:
        return TeamState(kind="running")


class HalfARuntime(FakeRuntime):
    def state(self) -> TeamState:
        return TeamState(kind="partly", missing=("the supervisor",))


class Terminal:
    """Runs commands in a context of its own."""

    def __init__(self, client: FakeClient | PhalanxError | None = None, *, is_terminal: bool = True) -> None:
        self.client = client or FakeClient()
        self.environment = {"PHALANX_HOME": str(HOME), "PATH": "/bin"}
        self.is_terminal = is_terminal
        self.has_browser = False
        self.browsed: list[str] = []
        self.runtime: type[FakeRuntime] = FakeRuntime
        self.ran: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        """Of the programs in ``ran``."""
        self.entered: list[list[str]] = []
        """The programs that were given the terminal; each ends at once."""
        self.programs: dict[str, Ending] = {}
        """What becomes of a program by its name; others end well."""

    def context(self) -> CommandContext:
        return CommandContext(
            environment=self.environment,
            connect=self._connect,
            runtime=self.runtime,
            run=self._run,
            become=self._become,
            enter=self._enter,
            browse=self._browse,
            is_terminal=lambda: self.is_terminal,
        )

    def __call__(self, *arguments: str, stdin: str | bytes = "") -> Result:
        return CliRunner().invoke(app, list(arguments), obj=self.context(), input=stdin)

    def request(self) -> Any:
        """What the command asked; beside it, it only looked up the names of instances."""
        assert isinstance(self.client, FakeClient)
        (_, request), *others = self.client.asked
        assert all(other == NAMES_LOOKED_UP for other in others)
        return request

    async def _connect(self, home: Home) -> SupervisorClient:
        if isinstance(self.client, PhalanxError):
            raise self.client
        assert home.root == Path(self.environment["PHALANX_HOME"])
        return self.client

    def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        self.ran.append(list(command))
        self.environments.append(dict(environment))
        ending = self.programs.get(Path(command[0]).name, program_ended("tool 3.4\n"))
        if isinstance(ending, Exception):
            raise ending
        return ending

    def _browse(self, address: str) -> bool:
        if self.has_browser:
            self.browsed.append(address)
        return self.has_browser

    def _enter(self, command: list[str], environment: Mapping[str, str]) -> int:
        self.entered.append(command)
        return 0

    def _become(self, command: list[str], environment: Mapping[str, str]) -> NoReturn:
        raise BecameError(command, environment)
