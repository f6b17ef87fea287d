"""Ends what a team started, and nothing else; or leaves a cluster that the team joined. ``Runtime`` calls it. No Ray
here.

A process is the team's when it carries the team's mark in its environment, or is below one that does. The calling
process and its ancestors are never touched; ``refuse_from_inside`` refuses a call from inside the team beforehand.

In a cluster that was there before the team, only the team's actors are ended.
"""

from __future__ import annotations

import os
import shutil
import socket as sockets
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from actors.errors import InvalidRequestError, SettingsError, TerminalError, UnavailableError
from actors.home import Home
from actors.marks import TEAM_MARK
from actors.processes import end_all_found, mark_of, processes_with
from actors.tmux.server import TmuxServer
from supervisor.runtime.environment import (
    RAY_SETTINGS,
    TOKEN_VARIABLE,
    kept_for_ray,
    kept_for_tls,
    python_path,
)
from supervisor.runtime.model import EndedProcess
from supervisor.runtime.ray_head import end_ray
from supervisor.settings import HOME_VARIABLE
from supervisor.team.file import TeamInfo

TOKEN_FILE = Path(".ray") / "auth_token"
"""Below the user's home directory, where Ray looks for it."""
_CONNECT_S = 5.0
_LEAVE_S = 60.0
_GRACE_S = 3.0


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
        if mark_of_server(home) == team.team_id:
            TmuxServer(home.tmux_socket).stop()
    if left := end_all_found(lambda: processes_with(TEAM_MARK, team.team_id), _GRACE_S):
        raise UnavailableError(
            f"These processes of the team do not end even when killed: {names_of(left)}. Try again later."
        )


def remove_files(home: Home) -> None:
    """Removes what only a running team needs; logs, worktrees, instances and the configuration stay."""
    with suppress(TerminalError):  # a foreign server keeps its socket
        if not TmuxServer(home.tmux_socket).is_running():
            home.tmux_socket.unlink(missing_ok=True)
    sockets = (home.gateway_socket, home.git_socket)
    for path in (*sockets, home.ray_token_file, home.environment_file, home.settings_file, home.leader_file):
        path.unlink(missing_ok=True)
    shutil.rmtree(home.ray_directory.parent, ignore_errors=True)
    home.team_file.unlink(missing_ok=True)


def mark_of_server(home: Home) -> str | None:
    """The mark of the tmux server that listens in the home; None when there is none, or it has no mark."""
    pid = TmuxServer(home.tmux_socket).pid()
    with suppress(psutil.NoSuchProcess):
        return mark_of(psutil.Process(pid), TEAM_MARK) if pid else None
    return None


def names_of(processes: Iterable[psutil.Process]) -> str:
    """For people."""
    return ", ".join(f"{each.pid} ({each.name})" for each in names_by_process(processes).values())


def names_by_process(processes: Iterable[psutil.Process]) -> dict[psutil.Process, EndedProcess]:
    """Programs' names only, because a command line may hold secrets."""
    found = {}
    for process in processes:
        with suppress(psutil.Error):
            found[process] = EndedProcess(pid=process.pid, name=process.name())
    return found


def check_cluster(address: str) -> None:
    """Raises ``SettingsError`` when nothing listens there."""
    if not cluster_answers(address):
        raise SettingsError(
            f"No Ray cluster answers on {address} (PHALANX_RAY_ADDRESS). Bring it up first, or leave the setting out."
        )


def cluster_answers(address: str) -> bool:
    """Whether something listens there. Ray itself takes long to say that it is not there."""
    host, _, port = address.rpartition(":")
    try:
        with sockets.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def joined_environment(caller: Mapping[str, str], home: Home) -> dict[str, str]:
    """The environment of the short-lived programs that speak to the cluster. Its token is the user's own."""
    token = caller.get(TOKEN_VARIABLE) or str(Path(caller.get("HOME", "/")) / TOKEN_FILE)
    return {
        **kept_for_ray(caller),
        **kept_for_tls(caller),
        **python_path(),
        **RAY_SETTINGS,
        TOKEN_VARIABLE: token,
        HOME_VARIABLE: str(home.root),
    }


def leave_cluster(home: Home, address: str, environment: Mapping[str, str]) -> None:
    """Ends the team's actors on all hosts. No-op when the cluster is gone. Raises ``UnavailableError``."""
    if not cluster_answers(address):
        return
    command = (sys.executable, "-P", "-m", "supervisor.leaving", "--home", str(home.root), "--address", address)
    try:
        done = subprocess.run(
            command,
            env=joined_environment({**environment, **_own_variables()}, home),
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


def _own_variables() -> dict[str, str]:
    return {name: os.environ[name] for name in ("HOME", "PATH", TOKEN_VARIABLE) if name in os.environ}
