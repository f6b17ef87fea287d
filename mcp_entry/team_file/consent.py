"""What in a team's file counts only after the user has allowed it, and what was allowed.

A file that lies in a repository is somebody else's. Its commands, permission modes, models, variables and all else that
is not in ``_HARMLESS`` could do more than the user expects, and so could a repository in which the user has not worked
with Claude Code yet, because a start makes Claude Code trust it. So the user allows the very content of the file once,
with the texts that it names (``TeamFile.digest``): a text that is followed in the mode acceptEdits is as much as a
command. What a command calls in the repository is not part of it. Allowed contents are noted in the home, 0600.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from actors.agents.claude_trust import is_trusted
from actors.errors import SettingsError
from actors.files import in_words, write_private
from actors.home import Home
from mcp_entry.team_file.model import FileMember, TeamFile

_HARMLESS = {"name", "role", "parent", "context", "promptFile", "workspaceMode", "limits"}


def to_allow(file: TeamFile, environment: Mapping[str, str]) -> list[str]:
    """What the user is to allow, each in words; empty when there is nothing of that kind.

    ``environment`` tells where the user's Claude Code notes what it trusts. Raises ``AgentError`` when that is damaged.
    """
    by_words: dict[str, list[str]] = {}
    for member in file.members:
        for words in _of_member(file, member):
            by_words.setdefault(words, []).append(member.name)
    asked = [f"{', '.join(names)}: {words}" for words, names in by_words.items()]
    directories = {member.compared.work_dir: None for member in file.members if member.compared.agent != "demo"}
    asked += [
        f"Claude Code is to trust {directory}: the settings, hooks and servers that it has for Claude Code count"
        for directory in directories
        if not is_trusted(Path(directory), environment)
    ]
    # On one line each: a value must not look like further lines of what is asked, or push it off the screen.
    return [each if each.isprintable() else _as_json(each) for each in asked]


def _of_member(file: TeamFile, member: FileMember) -> Iterator[str]:
    for name, value in member.given.items():
        match name:
            case _ if name in _HARMLESS or value is None:
                continue
            case "workDir":
                directory = Path(member.compared.work_dir)
                if not directory.is_relative_to(file.path.parent.resolve()):
                    yield f"works on {directory}"
            case "prepare" if isinstance(value, dict):
                if value.get("copy"):
                    yield f"copies into its worktree: {', '.join(value['copy'])}"
                if value.get("setup"):
                    yield f"runs before it starts: {value['setup']}"
            case "env" if isinstance(value, dict):
                yield from (f"gets the variable {key}={_as_json(each)}" for key, each in value.items())
            case _:
                yield f"{name}: {value if isinstance(value, str) else _as_json(value)}"


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def is_allowed(home: Home, file: TeamFile) -> bool:
    return (home.allowed_files / file.digest).exists()


def allow(home: Home, file: TeamFile) -> None:
    """Raises ``SettingsError`` when it cannot be noted."""
    home.create()
    try:
        home.allowed_files.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{home.allowed_files} cannot be made: {in_words(error)}") from error
    note = {"file": str(file.path), "allowedAt": int(time.time())}
    _forget_older(home, file.path)
    write_private(home.allowed_files / file.digest, json.dumps(note))


def _forget_older(home: Home, path: Path) -> None:
    """An earlier content of the same file is not allowed for ever."""
    for noted in home.allowed_files.iterdir():
        with suppress(OSError, ValueError, TypeError, KeyError):
            if json.loads(noted.read_text())["file"] == str(path):
                noted.unlink()
