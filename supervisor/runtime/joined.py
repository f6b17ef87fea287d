"""A Ray cluster that was there before the team: joined by the team's actors, and left again. Imports no Ray."""

from __future__ import annotations

import os
import socket as sockets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from actors.errors import SettingsError, UnavailableError
from actors.home import Home
from supervisor.runtime.environment import (
    RAY_SETTINGS,
    TOKEN_VARIABLE,
    kept_for_ray,
    kept_for_tls,
    python_path,
)
from supervisor.settings import HOME_VARIABLE

TOKEN_FILE = Path(".ray") / "auth_token"
"""Below the user's home directory, where Ray itself looks for it."""
_KNOCK_S = 5.0
_LEAVE_S = 60.0


def check_cluster(address: str) -> None:
    """Raises ``SettingsError`` when nothing listens there."""
    if not cluster_answers(address):
        raise SettingsError(
            f"No Ray cluster answers on {address} (PHALANX_RAY_ADDRESS). Bring it up first, or leave the setting out."
        )


def cluster_answers(address: str) -> bool:
    """Whether something listens there. Who asks Ray itself waits long when it is not there."""
    host, _, port = address.rpartition(":")
    try:
        with sockets.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def joined_environment(caller: Mapping[str, str], home: Home) -> dict[str, str]:
    """What the short-lived programs run with that speak to the cluster; its token is the user's own."""
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
            env=joined_environment({**environment, **_own_place()}, home),
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


def _own_place() -> dict[str, str]:
    return {name: os.environ[name] for name in ("HOME", "PATH", TOKEN_VARIABLE) if name in os.environ}
