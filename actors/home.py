"""The home of a team: where everything of it lives on disk, in which form, and which host leads it.

Where everything of one team lives on disk.

``Home`` only knows paths, permissions and their limits. The runtime creates the home; supervisor, host and instances
get it as a value. Two homes on one machine are two teams that never meet.

Which form a home has on disk, and how one that an earlier version made is brought to today's.

``Home.create`` calls this for every home before anything in it is used. The tag file says that a directory is a home,
so that no other directory is ever taken for one. Format 1: an empty tag. Format 2: JSON with the format and the
home's identity, a random name of its own for what the home keeps elsewhere. A format that is not known is refused and
left untouched.

Which host leads this one: what keeps people and Claudes here from bringing up a second team.

Written by whoever brings Ray or a team here from another host, read by every client. Standard library only.

Makes this machine's home ready for agents of a team whose supervisor is on another one.

The environment that agents run with, as the home keeps it: written by the runtime, read on the host itself.

It may hold secrets, so it stays on the machine and never passes through Ray.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.errors import SettingsError
from actors.files import FileLock, in_words, write_private
from actors.marks import TEAM_MARK

TAG_NAME = "phalanx-home"
FORMAT = 2
_LOCK_PATIENCE_S = 10.0
_Tag = dict[str, Any]


def bring_up_to_date(root: Path) -> None:
    """Tags a new home, upgrades an older one; whoever else does so at the same time is waited for.

    Raises ``SettingsError`` for a home of a newer version, one whose tag is damaged, and one that cannot be written.
    """
    if _read_if_there(root).get("format") == FORMAT:
        return
    with _alone(root):
        before = tag = _read_if_there(root)
        for number in range(_number(tag), FORMAT):
            tag = _UPGRADES[number](root, tag)
        if tag != before:
            write_private(root / TAG_NAME, json.dumps(tag))


def identity(root: Path) -> str:
    """Raises ``SettingsError`` when the home was not created."""
    try:
        return str(_read_tag(root)["identity"])
    except (FileNotFoundError, KeyError):
        raise SettingsError(f"{root} is no home of a team yet: `phalanx up` makes it one.") from None


def _to_1(_root: Path, _tag: _Tag) -> _Tag:
    return {"format": 1}


def _to_2(_root: Path, tag: _Tag) -> _Tag:
    return {**tag, "format": 2, "identity": secrets.token_hex(16)}


_UPGRADES: Mapping[int, Callable[[Path, _Tag], _Tag]] = {0: _to_1, 1: _to_2}
"""By the format that each begins with. A step may be begun again after a crash: the tag is written last."""


def _read_if_there(root: Path) -> _Tag:
    try:
        return _read_tag(root)
    except FileNotFoundError:
        return {"format": 0}


def _read_tag(root: Path) -> _Tag:
    path = root / TAG_NAME
    text = path.read_text(errors="replace")
    try:
        tag = json.loads(text) if text.strip() else {"format": 1}
        number = _number(tag)
    except (ValueError, TypeError, KeyError):
        raise SettingsError(
            f"{path} is damaged: it does not say which format the home has. Put back a copy of this file, or set "
            "PHALANX_HOME elsewhere."
        ) from None
    if number > FORMAT:
        raise SettingsError(
            f"{root} was made by a newer version of Phalanx (format {number}, this one knows up to {FORMAT}). "
            "Install that version, or set PHALANX_HOME elsewhere. Nothing was changed."
        )
    return dict(tag)


def _number(tag: Any) -> int:
    number = tag["format"]
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise TypeError
    return number


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """The directory itself is the lock: it is there before any file of the home."""
    lock = FileLock(root, is_directory=True)
    if not lock.acquire(_LOCK_PATIENCE_S):
        raise SettingsError(
            f"Another process has kept {root} locked for {_LOCK_PATIENCE_S:.0f} s: end it, then try again."
        )
    try:
        yield
    finally:
        lock.release()


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
        return identity(self.root)

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
        tag = self.root / TAG_NAME
        ours = {path.name for path in (self.config_file, self.worktrees, self.instances, self.logs)}
        foreign = sorted(
            path.name for path in self.root.iterdir() if path.name not in ours and not path.name.startswith(TAG_NAME)
        )
        # Looked at after the listing: whoever claims the home at the same time writes the tag before anything else.
        if foreign and not tag.exists():
            raise SettingsError(
                f"PHALANX_HOME {self.root} is a directory of something else (it holds {foreign[0]}). "
                "Set PHALANX_HOME to a directory of its own, or to one that does not exist yet."
            )
        bring_up_to_date(self.root)


def leader_of(home: Home) -> str:
    """The address of the host on which the team's supervisor is, or would be; empty when it is this one."""
    if leader := team_leader_of(home):
        return leader
    return "" if home.team_file.exists() else _read_leader(home.node_leader_file)


def team_leader_of(home: Home) -> str:
    """The same, as far as a team has been brought up from there."""
    return _read_leader(home.leader_file)


def away_words(leader: str) -> str:
    """What to tell when nobody answers there."""
    return (
        f"The team of this host is led from {leader}, and its supervisor does not answer: that host is away, or the "
        "team is down. `phalanx up` there brings it back."
    )


def led_team_from(home: Home, address: str) -> None:
    """A team of that host has instances here. Raises ``SettingsError``."""
    write_private(home.leader_file, address)


def led_node_from(home: Home, address: str) -> None:
    """Ray here belongs to that host; with an empty address to nobody. Raises ``SettingsError``."""
    if address:
        write_private(home.node_leader_file, address)
    else:
        home.node_leader_file.unlink(missing_ok=True)


def _read_leader(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


_RAYS_OWN = ("RAY_", "PHALANX_", "REDIS_", "PYTHONPATH", "OMP_NUM_THREADS", "SPT_NOENV")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamIdentity:
    """Whose team it is."""

    team_id: str
    address: str
    """Of the host with the supervisor."""


def prepare_home(home: Home, leader: TeamIdentity) -> None:
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


def write_environment(home: Home, environment: dict[str, str]) -> None:
    """Raises ``SettingsError``."""
    write_private(home.environment_file, json.dumps(environment))


def read_environment(home: Home) -> dict[str, str]:
    """Raises ``SettingsError`` that says what to do when the file is missing or damaged."""
    try:
        return _checked(json.loads(home.environment_file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{home.environment_file}, with the environment that agents run with, cannot be read: {error}. Agents that "
            "live go on, but none can be started. Put a copy of the file back; or run phalanx down, then phalanx up "
            "--resume: that writes it anew."
        ) from error


def _checked(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise TypeError("it is no list of variables")
    return found
