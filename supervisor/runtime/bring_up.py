"""Brings up the parts of a team that are missing: Ray, the tmux server, and the supervisor last. ``Runtime`` calls it.

``BringUp.run`` registers the undo of each step in the caller's ``ExitStack``, which undoes them in reverse when one
fails. ``boot`` runs the program ``supervisor.boot``, which starts the supervisor in Ray, and reads its answer from a
pipe.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from actors.errors import SettingsError, TerminalError, UnavailableError
from actors.home import Home, write_environment
from actors.stall import StallDetector
from actors.tmux.server import TmuxServer
from supervisor.metrics.scrape_token import keep_scrape_token
from supervisor.runtime.environment import (
    agent_environment,
    joined_environment,
    kept_for_ray,
    kept_for_tls,
    ray_environment,
    stored_environment,
)
from supervisor.runtime.parts import (
    RuntimeParts,
    cluster_answers,
    end_all,
    gateway_answers,
    has_head,
    leave_cluster,
    names_of,
    remove_files,
)
from supervisor.runtime.ray_head import LOG_NAME as HEAD_LOG
from supervisor.runtime.ray_head import HeadWatch, end_ray, is_head, returning, start_detached, start_head
from supervisor.settings import Settings, keep_settings, kept_settings
from supervisor.team.file import TeamInfo, read_team, write_team
from supervisor.versions import VERSION

BOOT_TIMEOUT_S = 120.0
_BOOT_MARGIN_S = 5.0
"""Lets the boot program report itself that the time ran out."""
_TRIES = 5
_TRY_FOR_S = 60.0
"""From the start of the bring-up: a supervisor that is lost later is not tried again."""
_POLL_S = 0.1
_EXIT_CODE_S = 1.0
_END_GRACE_S = 2.0
LOG_NAME = "boot.log"
_MODULE = "supervisor.boot"
OnStep = Callable[[str], None]
"""Called with the name of each step when it begins."""
Lost = Callable[[], str]
"""Names the process without which this Ray is lost; empty while it lives."""


class SupervisorLostError(UnavailableError):
    """The supervisor did not start, because Ray or the boot program ended or hung. Another try may work."""


class BootKilledError(SupervisorLostError):
    """The boot program was killed; Ray is not the cause."""


class BringUp:
    """One bring-up. The caller holds the home's lock and unwinds ``undo`` when ``run`` raises."""

    def __init__(
        self,
        home: Home,
        settings: Settings,
        factory: str,
        for_ray: Mapping[str, str],
        for_agents: Mapping[str, str],
        on_step: OnStep,
        undo: ExitStack,
    ) -> None:
        """``for_ray``, ``for_agents``: the callers' environments that those of Ray and of the agents are made from."""
        self._home = home
        self._settings = settings
        self._factory = factory
        self._for_ray = for_ray
        self._for_agents = for_agents
        self._on_step = on_step
        self._undo = undo
        self._terminal = TmuxServer(home.tmux_socket)

    def run(self, known: TeamInfo | None, parts: RuntimeParts) -> TeamInfo:
        """Returns the team when its gateway answers. Agents of a team that goes on keep their environment.

        Raises ``PhalanxError``.
        """
        if not parts.terminal and self._terminal.is_running():
            raise TerminalError(
                f"A tmux server that belongs to no team known here listens on {self._home.tmux_socket}. "
                f"End it first: tmux -S {self._home.tmux_socket} kill-server"
            )
        if known is not None and (parts.head or parts.terminal):
            team = replace(known, ending=False)
            self._undo.callback(write_team, self._home, known)
        else:
            team = self._begin(known)
        if earlier := kept_settings(self._home):  # a team that goes on gets its own back when this fails
            self._undo.callback(keep_settings, self._home, earlier)
        keep_scrape_token(self._home)
        keep_settings(self._home, self._settings)  # for the supervisor, also for one that Ray restarts
        team = self._with_retries(team, parts)
        write_team(self._home, team)
        return team

    def _with_retries(self, team: TeamInfo, parts: RuntimeParts) -> TeamInfo:
        """Starts again at once what dies of Ray meanwhile. Replaces a head in which no supervisor comes up: it may be
        dying."""
        begun = time.monotonic()
        for left in reversed(range(_TRIES)):
            try:
                return self._try(team, parts)
            except SupervisorLostError as error:
                late = time.monotonic() - begun > _TRY_FOR_S and not parts.head
                if late or not left:
                    raise UnavailableError(self._failure(error, _TRIES - left)) from error
                self._on_step(f"beginning again: {error}")
                team = read_team(self._home) or team
                head = isinstance(error, BootKilledError) and has_head(team)
                parts = replace(parts, head=head, terminal=self._terminal.is_running())
            except UnavailableError as error:
                log = self._home.logs / LOG_NAME
                raise UnavailableError(f"The supervisor could not be started: {error}\nThe log is {log}.") from error
        raise AssertionError

    def _try(self, team: TeamInfo, parts: RuntimeParts) -> TeamInfo:
        """Raises ``SupervisorLostError`` when another try may work."""
        team, lost = self._ray(team, parts)
        if team.joined:
            cluster, environment = team.ray_address, joined_environment(self._for_ray, self._home)
        else:
            cluster, environment = "", ray_environment(self._for_ray, self._home, team.team_id)
        with boot(self._home, environment, self._factory, BOOT_TIMEOUT_S, cluster) as run:
            if not parts.terminal:
                team = replace(team, tmux_pid=self._start_terminal(team))
                write_team(self._home, team)
            # Ray may wait for something that ended before it was watched, as a worker that Ray did not know yet.
            stall = None if team.joined else StallDetector(lambda: [run.pid, *returning(team.head_pid)])
            return replace(team, ray_address=self._supervisor(run, lost, stall))

    def _failure(self, error: SupervisorLostError, tries: int) -> str:
        """For people: what failed, where the logs are, what to do."""
        often = f" in {tries} tries, the last time because" if tries > 1 else ":"
        logs = self._home.logs
        return (
            f"The supervisor could not be started{often} {error}.\nThe logs are {logs / HEAD_LOG} and "
            f"{logs / LOG_NAME}. `phalanx doctor` says what this machine lacks; then try again."
        )

    def _begin(self, dead: TeamInfo | None) -> TeamInfo:
        """Begins a new team, after ending all that is left of an earlier one. The home keeps its files."""
        if dead is not None:
            end_all(self._home, dead)
            remove_files(self._home)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        team = TeamInfo(team_id=secrets.token_hex(16), version=VERSION, started_at=now)
        self._undo.callback(self._end, team.team_id)
        write_team(self._home, team)
        self._write_environment(team)
        return team

    def _write_environment(self, team: TeamInfo) -> dict[str, str]:
        environment = agent_environment(self._for_agents, self._settings.env, team.team_id)
        write_environment(self._home, environment)
        return environment

    def _end(self, team_id: str) -> None:
        """Removes the files last: while a process is left, the team is found through them."""
        team = read_team(self._home)
        if team is not None and team.team_id == team_id:
            end_all(self._home, team)
            remove_files(self._home)

    def _ray(self, team: TeamInfo, parts: RuntimeParts) -> tuple[TeamInfo, Lost]:
        """The team with a head, and a check that its Ray lives. Two generations of actors never run side by side."""
        cluster = self._settings.ray_address or (team.ray_address if team.joined else "")
        if cluster:
            return self._join(team, parts, cluster)
        if parts.head:
            return team, HeadWatch(team.head_pid).ended
        if left := end_ray(self._home, team.team_id, team.head_pid):
            raise UnavailableError(
                f"Processes of the Ray that was lost do not end even when killed: {names_of(left)}. Try again later."
            )
        self._on_step("starting Ray")
        head = start_head(self._home, ray_environment(self._for_ray, self._home, team.team_id))
        self._undo.callback(end_ray, self._home, team.team_id, head.pid)
        team = replace(team, head_pid=head.pid, environment=kept_for_ray(self._for_ray))
        write_team(self._home, team)
        return team, HeadWatch(head.pid).ended

    def _join(self, team: TeamInfo, parts: RuntimeParts, cluster: str) -> tuple[TeamInfo, Lost]:
        """The team in an existing cluster. Actors that are left without a supervisor are replaced."""
        if not cluster_answers(cluster):
            raise SettingsError(
                f"No Ray cluster answers on {cluster} (PHALANX_RAY_ADDRESS). Bring it up first, or leave the setting "
                "out."
            )
        if team.head_pid and is_head(team.head_pid, team.team_id):
            raise SettingsError(
                "The team runs in a Ray of its own: phalanx down first, then up with PHALANX_RAY_ADDRESS."
            )
        if team.joined and not parts.head:
            leave_cluster(self._home, team.ray_address, team.environment)
        kept = {**kept_for_ray(self._for_ray), **kept_for_tls(self._for_ray)}
        team = replace(team, joined=True, ray_address=cluster, head_pid=0, environment=kept)
        write_team(self._home, team)
        return team, lambda: "" if cluster_answers(cluster) else "cluster"

    def _start_terminal(self, team: TeamInfo) -> int:
        self._on_step("starting the tmux server")
        environment = stored_environment(self._home) or self._write_environment(team)
        self._undo.callback(self._terminal.stop)
        return self._terminal.start(environment)

    def _supervisor(self, run: Boot, lost: Lost, stall: StallDetector | None) -> str:
        """Waits until the supervisor answers; returns Ray's address."""

        def check() -> None:
            if which := lost():
                raise SupervisorLostError(f"Ray's {which} ended")
            if stall is not None and stall.hangs():
                raise SupervisorLostError("nothing happens in Ray")

        self._on_step("starting the supervisor")
        address = run.address(BOOT_TIMEOUT_S + _BOOT_MARGIN_S, check)
        if not gateway_answers(self._home):
            raise SupervisorLostError(f"it started but does not answer on {self._home.gateway_socket}")
        return address


@contextmanager
def boot(
    home: Home, environment: Mapping[str, str], factory: str, timeout_s: float, cluster: str = ""
) -> Iterator[Boot]:
    """Starts the program, which connects to ``cluster`` or else to the home's own Ray.

    After the block it has a moment to end by itself, after a failed block none.
    """
    report, for_program = os.pipe()
    try:
        command = (
            *(sys.executable, "-P", "-m", _MODULE, "--home", str(home.root), "--report-fd", str(for_program)),
            *("--timeout", str(timeout_s), "--factory", factory, "--cluster", cluster),
        )
        process = start_detached(command, environment, home.logs / LOG_NAME, inherited=[for_program])
    finally:
        os.close(for_program)
    try:
        yield Boot(process, report)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_GRACE_S)
    finally:
        os.close(report)
        process.kill()


class Boot:
    """One run of the boot program. Call ``address`` once."""

    def __init__(self, process: subprocess.Popen[bytes], report: int) -> None:
        """``report``: the descriptor to read the answer from."""
        self._process = process
        self._report = report

    @property
    def pid(self) -> int:
        return self._process.pid

    def address(self, timeout_s: float, check: Callable[[], None]) -> str:
        """Ray's address, once the supervisor runs. ``check`` is called periodically and raises when waiting is useless.

        Raises ``UnavailableError`` with the supervisor's reason, ``SupervisorLostError`` when it gave none.
        """
        text = self._read(time.monotonic() + timeout_s, check)
        if not text.endswith(b"\n"):
            raise self._no_answer()
        answer = json.loads(text)
        if answer["ok"]:
            return str(answer["address"])
        raise SupervisorLostError(answer["message"]) if answer.get("lost") else UnavailableError(answer["message"])

    def _no_answer(self) -> SupervisorLostError:
        try:
            code = self._process.wait(_EXIT_CODE_S)
        except subprocess.TimeoutExpired:
            return SupervisorLostError("the program that starts it in Ray hung")
        if code < 0:
            return BootKilledError(f"the program that starts it in Ray was ended by signal {-code}")
        return SupervisorLostError(f"the program that starts it in Ray ended with exit status {code}")

    def _read(self, deadline: float, check: Callable[[], None]) -> bytes:
        text = b""
        while not text.endswith(b"\n") and time.monotonic() < deadline:
            ready, _, _ = select.select([self._report], [], [], _POLL_S)
            if not ready:
                check()
                continue
            part = os.read(self._report, 65_536)
            if not part:
                break
            text += part
        return text
