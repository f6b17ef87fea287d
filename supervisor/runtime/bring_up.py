"""Bringing up the parts of a team that are missing, undone in reverse by the caller's stack when one fails."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

from actors.errors import TerminalError, UnavailableError
from actors.home import Home
from actors.terminal.server import TerminalServer
from supervisor.runtime.asking import gateway_answers
from supervisor.runtime.booting import Boot, boot
from supervisor.runtime.ending import end_all, remove_files
from supervisor.runtime.environment import agent_environment, ray_environment
from supervisor.runtime.parts import Parts
from supervisor.runtime.ray_head import LOG_NAME as HEAD_LOG
from supervisor.runtime.ray_head import end_ray, is_head, start_head
from supervisor.runtime.stopwatch import Stopwatch
from supervisor.runtime.team import Team, last_lines, read_team, write_private, write_team
from supervisor.settings import Settings

BOOT_TIMEOUT_S = 120.0
_BOOT_MARGIN_S = 5.0
"""For the boot program to say itself that the time ran out."""


class BringUp:
    """One bring-up. The caller holds the home's lock and unwinds ``undo`` when ``run`` raises."""

    def __init__(self, home: Home, settings: Settings, factory: str, watch: Stopwatch, undo: ExitStack) -> None:
        self._home = home
        self._settings = settings
        self._factory = factory
        self._watch = watch
        self._undo = undo
        self._terminal = TerminalServer(home.tmux_socket)

    def run(self, known: Team | None, parts: Parts, environment: Mapping[str, str]) -> Team:
        """Returns the team when its gateway answers. Raises ``PhalanxError``."""
        if not parts.terminal and self._terminal.is_running():
            raise TerminalError(
                f"A tmux server that belongs to no team known here listens on {self._home.tmux_socket}. "
                f"End it first: tmux -S {self._home.tmux_socket} kill-server"
            )
        if known is not None and (parts.head or parts.terminal):
            team = known
            self._undo.callback(write_team, self._home, known)
        else:
            team = self._begin(known, environment)
        team, is_alive = self._ray(team, parts, environment)
        for_ray = ray_environment(environment, self._home, team.team_id)
        with boot(self._home, for_ray, self._factory, BOOT_TIMEOUT_S) as run:
            if not parts.terminal:
                team = replace(team, tmux_pid=self._start_terminal(team, environment))
            team = replace(team, ray_address=self._supervisor(run, is_alive))
        write_team(self._home, team)
        return team

    def _begin(self, dead: Team | None, environment: Mapping[str, str]) -> Team:
        """A new team: nothing of an earlier one is left that could go on."""
        if dead is not None:
            end_all(self._home, dead)
            remove_files(self._home)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        team = Team(team_id=secrets.token_hex(16), version=version("phalanx"), started_at=now)
        self._undo.callback(self._end, team.team_id)
        write_team(self._home, team)
        for_agents = agent_environment(environment, self._settings.env, team.team_id)
        write_private(self._home.environment_file, json.dumps(for_agents))
        return team

    def _end(self, team_id: str) -> None:
        """The files go last: while a process is left, they are how the team is found again."""
        team = read_team(self._home)
        if team is not None and team.team_id == team_id:
            end_all(self._home, team)
            remove_files(self._home)

    def _ray(self, team: Team, parts: Parts, environment: Mapping[str, str]) -> tuple[Team, Callable[[], bool]]:
        """The team with a head, and how to see that it lives."""
        if parts.head:
            return team, lambda: is_head(team.head_pid, team.team_id)
        end_ray(team.team_id, team.head_pid)
        with self._watch.step("starting Ray"):
            head = start_head(self._home, ray_environment(environment, self._home, team.team_id))
        self._undo.callback(end_ray, team.team_id, head.pid)
        team = replace(team, head_pid=head.pid)
        write_team(self._home, team)
        return team, lambda: head.poll() is None

    def _start_terminal(self, team: Team, environment: Mapping[str, str]) -> int:
        with self._watch.step("starting the tmux server"):
            try:
                for_agents = json.loads(self._home.environment_file.read_text())
            except (OSError, ValueError):
                for_agents = agent_environment(environment, self._settings.env, team.team_id)
                write_private(self._home.environment_file, json.dumps(for_agents))
            self._undo.callback(self._terminal.stop)
            return self._terminal.start(for_agents)

    def _supervisor(self, run: Boot, head_is_alive: Callable[[], bool]) -> str:
        """Ray's address, when the supervisor answers."""

        def check() -> None:
            if not head_is_alive():
                log = self._home.logs / HEAD_LOG
                raise UnavailableError(f"Ray ended while it was starting:\n{last_lines(log)}\nThe log is {log}.")

        with self._watch.step("starting the supervisor"):
            answer = run.answer(BOOT_TIMEOUT_S + _BOOT_MARGIN_S, check)
            for what, seconds in answer["steps"].items():
                self._watch.add(what, seconds)
            if not gateway_answers(self._home):
                raise UnavailableError(f"The supervisor started but does not answer on {self._home.gateway_socket}.")
        return str(answer["address"])
