"""What Claude Code keeps of a checkout: whether it is trusted, and what was approved there.

The host calls ``ensure_trusted`` before a start, and gives ``approvals_of`` to agents in worktrees of the checkout. The
command line asks ``is_trusted`` before it starts what somebody else's file says. All block, the first for at most about
15 seconds.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actors.errors import AgentError
from actors.files import replace_file

_STALE_LOCK_S = 10.0
"""A holder touches its lock more often than this, or it is dead."""
_LOCK_PATIENCE_S = 15.0
_LOCK_POLL_S = 0.02
_TRIES = 3

_APPROVALS = ("enableAllProjectMcpServers", "enabledMcpjsonServers", "disabledMcpjsonServers")
_RULES = ("allow", "deny", "ask", "additionalDirectories")


def ensure_trusted(parent: Path, environment: Mapping[str, str]) -> None:
    """Makes the Claude that runs with ``environment`` trust ``parent`` and all below it. Writes only when needed.

    Claude Code keeps what it trusts in one JSON file of the user, which every running Claude rewrites. So the change is
    made under the lock that Claude Code itself takes, in one rename, and checked afterwards. Raises ``AgentError`` when
    the file is not JSON, is locked for too long, or cannot be written.
    """
    path, directory = config_file(environment), str(parent.resolve())
    try:
        for _ in range(_TRIES):
            if _trusts(_read(path), directory):
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(path):
                config = _read(path)
                _trust(config, directory)
                _replace(path, config)
        if not _trusts(_read(path), directory):
            raise AgentError(f"Another program keeps undoing the trust in {directory} in {path}: end it and try again.")
    except OSError as error:
        raise AgentError(f"{path} cannot be changed so that Claude Code trusts {parent}: {error}.") from error


def is_trusted(directory: Path, environment: Mapping[str, str]) -> bool:
    """Whether the user lets Claude Code work here, or in a directory above in the same repository. Raises
    ``AgentError``."""
    config = _read(config_file(environment))
    for each in (directory, *directory.parents):
        if _trusts(config, str(each)):
            return True
        if (each / ".git").exists():
            break
    return False


def config_file(environment: Mapping[str, str]) -> Path:
    """The file in which the Claude of this environment keeps what it trusts."""
    home = Path(environment.get("HOME") or Path.home())
    named = environment.get("CLAUDE_CONFIG_DIR")
    legacy = (Path(named) if named else home / ".claude") / ".config.json"
    return legacy if legacy.exists() else (Path(named) if named else home) / ".claude.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise AgentError(
            f"{path} is not JSON ({error}): repair it or move it away, Phalanx does not touch it."
        ) from None
    if not isinstance(config, dict) or not isinstance(config.get("projects", {}), dict):
        raise AgentError(f"{path} is not a configuration of Claude Code: move it away, Phalanx does not touch it.")
    return config


def _trusts(config: Mapping[str, Any], directory: str) -> bool:
    project = config.get("projects", {}).get(directory)
    return isinstance(project, dict) and project.get("hasTrustDialogAccepted") is True


def _trust(config: dict[str, Any], directory: str) -> None:
    projects = config.setdefault("projects", {})
    project = projects.get(directory)
    projects[directory] = {**(project if isinstance(project, dict) else {}), "hasTrustDialogAccepted": True}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Claude Code's lock: a directory beside the file, whose making is atomic."""
    lock = Path(f"{path}.lock")
    touched_ns, touched_at = 0, time.monotonic()
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while not _made(lock):
        with contextlib.suppress(FileNotFoundError):
            if (now_ns := lock.stat().st_mtime_ns) != touched_ns:
                touched_ns, touched_at = now_ns, time.monotonic()
            # Also by our own clock: a lock from before the system's was set back would hold for as long as that.
            if max(time.time() - touched_ns / 1e9, time.monotonic() - touched_at) > _STALE_LOCK_S:
                lock.rmdir()
        if time.monotonic() > deadline:
            raise AgentError(f"{lock} is held by another program for {_LOCK_PATIENCE_S:.0f} s: try again later.")
        time.sleep(_LOCK_POLL_S)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            lock.rmdir()


def _made(lock: Path) -> bool:
    try:
        lock.mkdir()
    except FileExistsError:
        return False
    return True


def _replace(path: Path, config: Mapping[str, Any]) -> None:
    target = path.resolve()  # a link to a file that is kept elsewhere stays a link
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    replace_file(target, json.dumps(config, indent=2), mode=mode, durable=True)


def approvals_of(checkout: Path) -> dict[str, Any]:
    """The settings that hold a person's approvals; ``{}`` when there are none or they cannot be read.

    Claude Code keeps approvals in ``.claude/settings.local.json`` of the checkout, which git does not carry to a
    worktree. An agent gets them with its own settings file, so nothing is written into its worktree.
    """
    try:
        read = json.loads((checkout / ".claude" / "settings.local.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(read, dict):
        return {}
    found: dict[str, Any] = {name: read[name] for name in _APPROVALS if name in read}
    rules = read.get("permissions")
    if isinstance(rules, Mapping) and (kept := {name: rules[name] for name in _RULES if name in rules}):
        found["permissions"] = kept
    return found
