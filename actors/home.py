"""Where everything of one team lives on disk.

``Home`` only knows paths, permissions and their limits. The runtime creates the home; supervisor, host and instances
get it as a value. Two homes on one machine are two teams that never meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actors import home_format
from actors.errors import SettingsError
from actors.private_files import in_words

_UNIX_PATH_LIMIT_BYTES = 107
_LONGEST_SOCKET = "/ray/t/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""Ray makes the longest socket path below the home."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below ``root`` (``PHALANX_HOME``), all private to the user."""

    root: Path

    @property
    def identity(self) -> str:
        """Random, of this home only: what it keeps elsewhere goes by it. Raises ``SettingsError`` before ``create``."""
        return home_format.identity(self.root)

    @property
    def config_file(self) -> Path:
        return self.root / "config.toml"

    @property
    def settings_file(self) -> Path:
        """The settings with which the team was brought up, as JSON; they may hold a password."""
        return self.root / "settings.json"

    @property
    def gateway_socket(self) -> Path:
        return self.root / "phalanx.sock"

    @property
    def git_socket(self) -> Path:
        """By which the supervisor has the host's actor work with git."""
        return self.root / "git.sock"

    @property
    def tmux_socket(self) -> Path:
        return self.root / "tmux.sock"

    @property
    def ray_directory(self) -> Path:
        """Inside a private one: Ray opens the directories that it makes to everybody, whatever the mask."""
        return self.root / "ray" / "t"

    @property
    def ray_token_file(self) -> Path:
        return self.root / "ray-token"

    @property
    def environment_file(self) -> Path:
        """The environment in which the team was brought up, as JSON; agents run with it."""
        return self.root / "environment.json"

    @property
    def tuned_file(self) -> Path:
        """Settings that were changed while a team ran, as JSON."""
        return self.root / "tuned.json"

    @property
    def team_file(self) -> Path:
        """What the runtime knows of the team that it brought up, as JSON."""
        return self.root / "team.json"

    @property
    def lock_file(self) -> Path:
        """Held (flock) while the team is brought up or down."""
        return self.root / "team.lock"

    @property
    def revive_lock_file(self) -> Path:
        """Held (flock) by the entry that brings back a team that was lost; the others wait for it."""
        return self.root / "revive.lock"

    @property
    def state_file(self) -> Path:
        """The team's records (SQLite)."""
        return self.root / "state.db"

    @property
    def worktrees(self) -> Path:
        return self.root / "worktrees"

    @property
    def instances(self) -> Path:
        return self.root / "instances"

    @property
    def travel(self) -> Path:
        """Mirrors of other hosts' repositories, and what is on its way."""
        return self.root / "travel"

    @property
    def leader_file(self) -> Path:
        """On a host of a team whose supervisor is on another one: the address of that one."""
        return self.root / "leader"

    @property
    def node_leader_file(self) -> Path:
        """The same on a worker of a Ray cluster that the launcher brought up, with or without a team."""
        return self.node_directory / "leader"

    @property
    def node_directory(self) -> Path:
        """Of the Ray that the cluster launcher starts on this host; it outlives teams."""
        return self.root / "node"

    @property
    def drained_file(self) -> Path:
        """The hosts of a cluster that take no new instances, as JSON."""
        return self.root / "drained-hosts.json"

    @property
    def login_file(self) -> Path:
        """The environment of the user's login shell on a worker host of a cluster, as JSON: agents run with it."""
        return self.root / "login-environment.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def instance_directory(self, instance_id: str) -> Path:
        return self.instances / instance_id

    def create(self) -> None:
        """Makes the directories, 0700, and brings a home of an earlier version up to date.

        Raises ``SettingsError`` when the path is too long or not writable, is a directory of something else, or a home
        of a newer version.
        """
        longest = len(str(self.root).encode()) + len(_LONGEST_SOCKET)
        if longest > _UNIX_PATH_LIMIT_BYTES:
            limit = _UNIX_PATH_LIMIT_BYTES - len(_LONGEST_SOCKET)
            raise SettingsError(
                f"PHALANX_HOME is too long for Unix sockets: {self.root} has {len(str(self.root).encode())} "
                f"bytes, at most {limit} are possible. Set PHALANX_HOME to a shorter path."
            )
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claim()
            self.root.chmod(0o700)
            for directory in (self.worktrees, self.instances, self.logs, self.ray_directory.parent):
                directory.mkdir(mode=0o700, exist_ok=True)
                directory.chmod(0o700)
        except OSError as error:
            raise SettingsError(f"PHALANX_HOME {self.root} cannot be used: {in_words(error)}") from error

    def _claim(self) -> None:
        """A home is made private and parts of it are removed: never do that to a directory of something else."""
        tag = self.root / home_format.TAG_NAME
        ours = {path.name for path in (self.config_file, self.worktrees, self.instances, self.logs)}
        foreign = sorted(
            path.name
            for path in self.root.iterdir()
            if path.name not in ours and not path.name.startswith(home_format.TAG_NAME)
        )
        # Looked at after the listing: whoever claims the home at the same time writes the tag before anything else.
        if foreign and not tag.exists():
            raise SettingsError(
                f"PHALANX_HOME {self.root} is a directory of something else (it holds {foreign[0]}). "
                "Set PHALANX_HOME to a directory of its own, or to one that does not exist yet."
            )
        home_format.bring_up_to_date(self.root)
