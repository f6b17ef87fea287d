"""The home of a team (``PHALANX_HOME``): its paths, its format on disk, its leader and the environment of its agents.

``Home`` knows paths, permissions and path limits. The runtime creates the home; supervisor, host and instances get it
as a value. Two homes on one machine are two teams that never meet. Standard library only, because every client reads
it.

- Format: the tag file says that a directory is a home, so no other directory is ever taken for one. Format 1 is an
  empty tag. Format 2 is JSON with the format and a random identity. An unknown format is refused and left untouched.
- Leader: on a worker host, files name the host of the supervisor, so nobody here starts a second team.
- Environment: the runtime writes what agents run with. It may hold secrets, so it stays on its machine and never passes
  through Ray.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.errors import SettingsError
from actors.files import FileLock, in_words, write_private
from actors.marks import TEAM_MARK

HOME_VARIABLE = "PHALANX_HOME"
DEFAULT_HOME = "~/.phalanx"
TAG_NAME = "phalanx-home"
FORMAT = 2
_LOCK_PATIENCE_S = 10.0
_Tag = dict[str, Any]
_UNIX_PATH_LIMIT_BYTES = 107
_LONGEST_SOCKET = "/ray/t/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""Ray makes the longest socket path below the home."""
_RAY_PREFIXES = ("RAY_", "PHALANX_", "REDIS_", "PYTHONPATH", "OMP_NUM_THREADS", "SPT_NOENV")


class _Below:
    """A path below the root of a home."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, home: Home, _owner: type[Home]) -> Path:
        return home.root / self._path


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below ``root`` (``PHALANX_HOME``), all private to the user."""

    root: Path

    @property
    def identity(self) -> str:
        """A random name for what the home keeps elsewhere. Raises ``SettingsError`` before ``create``."""
        try:
            return str(_read_tag(self.root)["identity"])
        except (FileNotFoundError, KeyError):
            raise SettingsError(f"{self.root} is not the home of a team yet: `phalanx up` creates it.") from None

    config_file = _Below("config.toml")
    settings_file = _Below("settings.json")
    """The settings of the running team, as JSON; they may hold a password."""
    gateway_socket = _Below("phalanx.sock")
    git_socket = _Below("git.sock")
    """The host actor serves the supervisor's git calls on it."""
    tmux_socket = _Below("tmux.sock")
    command_socket = _Below("commands.sock")
    """The command server runs short commands here; see ``mcp_entry.cli.command_server``."""
    command_lock_file = _Below("commands.lock")
    """Held (flock) by the command server."""
    ray_directory = _Below("ray/t")
    """In a private directory, because Ray makes its own directories readable for everybody, whatever the umask."""
    ray_token_file = _Below("ray-token")
    environment_file = _Below("environment.json")
    """The environment of ``phalanx up``, as JSON; agents run with it."""
    tuned_file = _Below("tuned.json")
    """Settings that were changed while a team ran, as JSON."""
    team_file = _Below("team.json")
    """What the runtime knows of the team that it started, as JSON."""
    lock_file = _Below("team.lock")
    """Held (flock) while the team starts or stops."""
    revive_lock_file = _Below("revive.lock")
    """Held (flock) by the entry that restores a lost team; the other entries wait for it."""
    state_file = _Below("state.db")
    """The team's records (SQLite)."""
    in_use_file = _Below("state-in-use")
    """Says that a team has saved its state here and was not brought down since. The supervisor makes it."""
    worktrees = _Below("worktrees")
    instances = _Below("instances")
    travel = _Below("travel")
    """Mirrors of other hosts' repositories, and transfers in progress."""
    leader_file = _Below("leader")
    """On a worker host of a team: the address of the supervisor's host."""
    node_directory = _Below("node")
    """Files of the Ray that the cluster launcher starts on this host; it outlives teams."""
    node_leader_file = _Below("node/leader")
    """On a worker of a launched Ray cluster, with or without a team: the address of its head."""
    drained_file = _Below("drained-hosts.json")
    """The hosts of a cluster that take no new instances, as JSON."""
    login_file = _Below("login-environment.json")
    """The environment of the user's login shell on a worker host of a cluster, as JSON: agents run with it."""
    web_file = _Below("web.json")
    """The port of the endpoint at which the instances call the team, as JSON; kept, because the agents know it."""
    web_socket = _Below("web.sock")
    """The endpoint's process gives its listening socket to the host's actor here."""
    web_lock_file = _Below("web.lock")
    """Held (flock) by the endpoint's process."""
    web_sessions = _Below("web-sessions")
    """One-time links and signed-in browsers of the team's page, by hash; see ``mcp_entry.web.sign_in``."""
    allowed_files = _Below("allowed-team-files")
    """A file for each content of a team file that the user has allowed; see ``mcp_entry.team_file.consent``."""
    metrics_token_file = _Below("metrics-token")
    """By this secret Prometheus reads the team's figures; see ``supervisor.metrics.scrape_token``."""
    logs = _Below("logs")

    def instance_directory(self, instance_id: str) -> Path:
        return self.instances / instance_id

    def create(self) -> None:
        """Makes the directories, 0700, and brings a home of an earlier version up to date.

        Raises ``SettingsError`` when the path is too long, not writable, in use by something else, or a home of a newer
        version.
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
        """Refuses a directory of something else: a home is made private, and parts of it are removed."""
        tag = self.root / TAG_NAME
        ours = {path.name for path in (self.config_file, self.worktrees, self.instances, self.logs)}
        foreign = sorted(
            path.name for path in self.root.iterdir() if path.name not in ours and not path.name.startswith(TAG_NAME)
        )
        # Checked after the listing: a process that claims the home at the same time writes the tag first.
        if foreign and not tag.exists():
            raise SettingsError(
                f"PHALANX_HOME {self.root} is a directory of something else (it holds {foreign[0]}). "
                "Set PHALANX_HOME to a directory of its own, or to one that does not exist yet."
            )
        bring_up_to_date(self.root)


def home_from(environment: Mapping[str, str]) -> Home:
    """The home that ``PHALANX_HOME`` names, else the default one; its path is absolute."""
    given = environment.get(HOME_VARIABLE) or DEFAULT_HOME
    user_home = environment.get("HOME")
    if user_home and (given == "~" or given.startswith("~/")):
        given = user_home + given[1:]
    return Home(Path(os.path.normpath(Path(given).expanduser().absolute())))


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamIdentity:
    """A team as its worker hosts know it. ``address`` is that of the supervisor's host."""

    team_id: str
    address: str


def bring_up_to_date(root: Path) -> None:
    """Tags a new home and upgrades an older one. Waits for another process that does the same.

    Raises ``SettingsError`` for a home of a newer version, one whose tag is damaged, and one that cannot be written.
    """
    if _read_if_there(root).get("format") == FORMAT:
        return
    with _locked(root):
        tag = _read_if_there(root)
        if tag.get("format") != FORMAT:
            tag = {**tag, "format": FORMAT, "identity": secrets.token_hex(16)}
            write_private(root / TAG_NAME, json.dumps(tag))


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
def _locked(root: Path) -> Iterator[None]:
    """Locks the directory itself, because it exists before any file of the home."""
    lock = FileLock(root, is_directory=True)
    if not lock.acquire(_LOCK_PATIENCE_S):
        raise SettingsError(
            f"Another process has kept {root} locked for {_LOCK_PATIENCE_S:.0f} s: end it, then try again."
        )
    try:
        yield
    finally:
        lock.release()


def leader_of(home: Home) -> str:
    """The address of the host that runs, or would run, the supervisor; empty when that is this host."""
    if leader := team_leader_of(home):
        return leader
    return "" if home.team_file.exists() else _read_leader(home.node_leader_file)


def team_leader_of(home: Home) -> str:
    """``leader_of`` for a team that has already run here."""
    return _read_leader(home.leader_file)


def away_words(leader: str) -> str:
    """The error text when the supervisor on ``leader`` does not answer."""
    return (
        f"The team of this host is led from {leader}, and its supervisor does not answer: that host is away, or the "
        "team is down. `phalanx up` there brings it back."
    )


def led_team_from(home: Home, address: str) -> None:
    """Notes that a team of that host has instances here. Raises ``SettingsError``."""
    write_private(home.leader_file, address)


def led_node_from(home: Home, address: str) -> None:
    """Notes that Ray here belongs to that host, or to none if ``address`` is empty. Raises ``SettingsError``."""
    if address:
        write_private(home.node_leader_file, address)
    else:
        home.node_leader_file.unlink(missing_ok=True)


def _read_leader(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def prepare_home(home: Home, leader: TeamIdentity) -> None:
    """Prepares this machine's home for agents of a team whose supervisor is on another host.

    Agents get the environment of the user's login shell here, as far as it is known, and the team's mark; nothing comes
    from the supervisor's machine. Raises ``SettingsError``.
    """
    home.create()
    write_environment(home, {**_login_environment(home), TEAM_MARK: leader.team_id})
    led_team_from(home, leader.address)
    home.lock_file.touch(mode=0o600)  # scripts/host stop looks for it


def _login_environment(home: Home) -> dict[str, str]:
    """The environment saved when Ray was started here; else this process's own without Ray's variables."""
    try:
        return dict(json.loads(home.login_file.read_text()))
    except (OSError, ValueError, TypeError):
        return {name: value for name, value in os.environ.items() if not name.startswith(_RAY_PREFIXES)}


def write_environment(home: Home, environment: dict[str, str]) -> None:
    """Raises ``SettingsError``."""
    write_private(home.environment_file, json.dumps(environment))


def read_environment(home: Home) -> dict[str, str]:
    """Raises ``SettingsError`` that says what to do when the file is missing or damaged."""
    try:
        return _check_variables(json.loads(home.environment_file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"The agents' environment in {home.environment_file} cannot be read: {error}. Running agents go on, but "
            "none can be started. Put a copy of the file back; or run phalanx down, then phalanx up --resume, which "
            "writes it again."
        ) from error


def _check_variables(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise TypeError("it does not map names to values")
    return found
