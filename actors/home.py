"""Where everything of one team lives on disk.

``Home`` only knows paths, permissions and their limits. The runtime creates the home; supervisor, host and instances
get it as a value. Two homes on one machine are two teams that never meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors.errors import SettingsError

_UNIX_PATH_LIMIT_BYTES = 107
_LONGEST_SOCKET = "/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""Ray makes the longest socket path below the home."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below ``root`` (``PHALANX_HOME``), all private to the user."""

    root: Path

    @property
    def config_file(self) -> Path:
        return self.root / "config.toml"

    @property
    def gateway_socket(self) -> Path:
        return self.root / "phalanx.sock"

    @property
    def tmux_socket(self) -> Path:
        return self.root / "tmux.sock"

    @property
    def ray_directory(self) -> Path:
        return self.root / "ray"

    @property
    def ray_token_file(self) -> Path:
        return self.root / "ray-token"

    @property
    def environment_file(self) -> Path:
        """The environment in which the team was brought up, as JSON; agents run with it."""
        return self.root / "environment.json"

    @property
    def worktrees(self) -> Path:
        return self.root / "worktrees"

    @property
    def instances(self) -> Path:
        return self.root / "instances"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def instance_directory(self, instance_id: str) -> Path:
        return self.instances / instance_id

    def create(self) -> None:
        """Makes the directories, 0700. Raises ``SettingsError`` when the path is too long or not writable."""
        longest = len(str(self.root).encode()) + len(_LONGEST_SOCKET)
        if longest > _UNIX_PATH_LIMIT_BYTES:
            limit = _UNIX_PATH_LIMIT_BYTES - len(_LONGEST_SOCKET)
            raise SettingsError(
                f"PHALANX_HOME is too long for Unix sockets: {self.root} has {len(str(self.root).encode())} "
                f"bytes, at most {limit} are possible. Set PHALANX_HOME to a shorter path."
            )
        try:
            for directory in (self.root, self.worktrees, self.instances, self.logs):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700)
        except OSError as error:
            raise SettingsError(
                f"PHALANX_HOME {self.root} cannot be used: {error.strerror}. "
                "Set PHALANX_HOME to a directory that you own."
            ) from error
