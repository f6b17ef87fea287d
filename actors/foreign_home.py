"""Makes this machine's home ready for agents of a team whose supervisor is on another one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from actors.home import Home
from actors.leader import led_team_from
from actors.marks import TEAM_MARK
from actors.private_files import write_private

_RAYS_OWN = ("RAY_", "PHALANX_", "REDIS_", "PYTHONPATH", "OMP_NUM_THREADS", "SPT_NOENV")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """Whose team it is."""

    team_id: str
    address: str
    """Of the host with the supervisor."""


def prepare_home(home: Home, leader: Leader) -> None:
    """Agents get the environment of the user's login shell on this machine, as far as it is known, and the team's mark.

    Nothing of it comes from the supervisor's machine. Raises ``SettingsError``.
    """
    home.create()
    environment = {**_login(home), TEAM_MARK: leader.team_id}
    write_private(home.environment_file, json.dumps(environment))
    led_team_from(home, leader.address)
    home.lock_file.touch(mode=0o600)  # by which scripts/host stop sees that there is something to bring down


def _login(home: Home) -> dict[str, str]:
    """What was kept when Ray was started here; else what Ray's worker has, without what is Ray's."""
    try:
        return dict(json.loads(home.login_file.read_text()))
    except (OSError, ValueError, TypeError):
        return {name: value for name, value in os.environ.items() if not name.startswith(_RAYS_OWN)}
