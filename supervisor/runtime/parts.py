"""The parts of a team: which of them answer, and how they end. ``Runtime`` and ``BringUp`` call it, without event loop.

A process is the team's when it carries the team's mark in its environment, or is below one that does. No other process
is ended. The calling process and its ancestors are never touched; ``refuse_from_inside`` refuses a call from inside the
team beforehand. In a cluster that was there before the team, only the team's actors are ended.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket as sockets
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from actors.errors import InvalidRequestError, PhalanxError, TerminalError, UnavailableError, VersionError
from actors.home import Home
from actors.marks import ENDPOINT_MARK, TEAM_MARK
from actors.processes import end_all_found, mark_of, processes_with
from actors.tmux.server import TmuxServer
from supervisor.api.verbs import RequestT, ResultT, TeamVerbs, Verb
from supervisor.rpc.client import SupervisorClient
from supervisor.runtime.environment import TOKEN_VARIABLE, joined_environment
from supervisor.runtime.ray_head import end_ray, is_head
from supervisor.team.file import TeamInfo

SENDER = "runtime"
_ANSWER_TIMEOUT_S = 5.0
_CONNECT_S = 5.0
_LEAVE_S = 60.0
_GRACE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeParts:
    """Which parts answer."""

    head: bool = False
    terminal: bool = False
    gateway: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Names for people."""
        named = {"Ray": self.head, "the tmux server": self.terminal, "the supervisor": self.gateway}
        return tuple(name for name, there in named.items() if not there)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedProcess:
    pid: int
    name: str
    """Of its program only, because a command line may hold secrets."""


def look(home: Home, team: TeamInfo | None) -> RuntimeParts:
    """A process id in the team's file counts only while that process carries the team's mark."""
    if team is None:
        return RuntimeParts()
    terminal = False
    with suppress(TerminalError):
        terminal = _mark_of_tmux(home) == team.team_id
    return RuntimeParts(head=has_head(team), terminal=terminal, gateway=gateway_answers(home))


def has_head(team: TeamInfo) -> bool:
    return cluster_answers(team.ray_address) if team.joined else is_head(team.head_pid, team.team_id)


def cluster_answers(address: str) -> bool:
    """Whether something listens there. Ray itself takes long to say that it is not there."""
    host, _, port = address.rpartition(":")
    try:
        with sockets.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def gateway_answers(home: Home) -> bool:
    """Whether the supervisor answers ``status``. One of another version, which refuses this client, answers too."""
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:  # the client waits for one that restarts
        probe.settimeout(_ANSWER_TIMEOUT_S)
        try:
            probe.connect(str(home.gateway_socket))
        except OSError:
            return False
    try:
        _ask(home, TeamVerbs.status, _ANSWER_TIMEOUT_S)
    except VersionError:
        return True
    except (PhalanxError, TimeoutError):
        return False
    return True


def shut_down(home: Home, timeout_s: float) -> tuple[str, ...]:
    """Lets the supervisor end all instances gently. Returns notes for people."""
    if not gateway_answers(home):
        return ("the supervisor does not answer: the agents are ended without it",)
    try:
        ended = _ask(home, TeamVerbs.shutdown, timeout_s).terminated
    except (PhalanxError, TimeoutError) as error:
        return (f"the supervisor did not end all agents: {error or f'no answer within {timeout_s:.0f} s'}",)
    failed = [f"{each.instance_id}: {each.error.message}" for each in ended if each.error]
    kept = [f"{each.instance_id}: {each.kept}" for each in ended if each.kept]
    return (*failed, *kept)


def _ask(home: Home, verb: Verb[RequestT, ResultT], timeout_s: float) -> ResultT:
    async def ask() -> ResultT:
        async with asyncio.timeout(timeout_s), await SupervisorClient.connect(home, SENDER) as client:
            return await client.call(verb, verb.request())

    return asyncio.run(ask())


def refuse_from_inside(team_id: str) -> None:
    """Raises ``InvalidRequestError`` when the caller runs in the team, because it would end itself half-way."""
    caller = psutil.Process()
    if any(mark_of(process, TEAM_MARK) == team_id for process in (caller, *caller.parents())):
        raise InvalidRequestError(
            "This shell belongs to the team that would be brought down. Call phalanx down from outside the team."
        )


def end_all(home: Home, team: TeamInfo) -> None:
    """Kills Ray, then ends the tmux server, then terminates and finally kills what is left.

    Of a cluster that was joined only the team's actors are ended. Raises ``UnavailableError`` with the processes that
    do not end.
    """
    if team.joined:
        leave_cluster(home, team.ray_address, team.environment)
    end_ray(home, team.team_id, team.head_pid)
    with suppress(TerminalError):  # the sweep below ends a server that does not answer
        if _mark_of_tmux(home) == team.team_id:
            TmuxServer(home.tmux_socket).stop()
    if left := end_all_found(lambda: processes_of(home, team), _GRACE_S):
        raise UnavailableError(
            f"These processes of the team do not end even when killed: {names_of(left)}. Try again later."
        )


def processes_of(home: Home, team: TeamInfo) -> list[psutil.Process]:
    """All of the team on this machine. The endpoint of the instances may be older than the team's mark."""
    return [*processes_with(TEAM_MARK, team.team_id), *processes_with(ENDPOINT_MARK, str(home.root))]


def leave_cluster(home: Home, address: str, environment: Mapping[str, str]) -> None:
    """Ends the team's actors on all hosts. No-op when the cluster is gone. Raises ``UnavailableError``."""
    if not cluster_answers(address):
        return
    command = (sys.executable, "-P", "-m", "supervisor.leaving", "--home", str(home.root), "--address", address)
    own = {name: os.environ[name] for name in ("HOME", "PATH", TOKEN_VARIABLE) if name in os.environ}
    try:
        done = subprocess.run(
            command,
            env=joined_environment({**environment, **own}, home),
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LEAVE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"The Ray cluster on {address} does not let the team's actors go: try again.") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()[-600:]
        raise UnavailableError(f"The team's actors in the Ray cluster on {address} could not be ended: {words}")


def remove_files(home: Home) -> None:
    """Removes what only a running team needs; logs, worktrees, instances and the configuration stay."""
    with suppress(TerminalError):  # a foreign server keeps its socket
        if not TmuxServer(home.tmux_socket).is_running():
            home.tmux_socket.unlink(missing_ok=True)
    sockets_of_team = (home.gateway_socket, home.git_socket, home.web_socket)
    files = (home.ray_token_file, home.environment_file, home.settings_file, home.leader_file)
    for path in (*sockets_of_team, *files):
        path.unlink(missing_ok=True)
    shutil.rmtree(home.ray_directory.parent, ignore_errors=True)
    shutil.rmtree(home.web_sessions, ignore_errors=True)
    home.team_file.unlink(missing_ok=True)


def _mark_of_tmux(home: Home) -> str | None:
    """The mark of the tmux server that listens in the home; None when there is none, or it has no mark."""
    pid = TmuxServer(home.tmux_socket).pid()
    with suppress(psutil.NoSuchProcess):
        return mark_of(psutil.Process(pid), TEAM_MARK) if pid else None
    return None


def names_of(processes: Iterable[psutil.Process]) -> str:
    """For people."""
    return ", ".join(f"{each.pid} ({each.name})" for each in names_by_process(processes).values())


def names_by_process(processes: Iterable[psutil.Process]) -> dict[psutil.Process, EndedProcess]:
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            found[process] = EndedProcess(pid=process.pid, name=process.name())
    return found
