"""``phalanx mcp add`` and ``phalanx mcp remove``: Phalanx as an MCP server of Claude Code.

The registration is made by Claude Code's own command. Its permission rule for Phalanx's tools is written here, because
it has no command for that: into the settings of the same scope, in one rename, and all else in them stays as it was.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.agents.base import command_words
from actors.errors import AgentError, SettingsError
from actors.files import in_words, replace_file
from actors.home import HOME_VARIABLE, home_from
from mcp_entry.cli.doctor import claude_config
from mcp_entry.cli.output import plain
from mcp_entry.cli.session import CliSession, CommandContext
from supervisor.settings import Settings

NAME = "phalanx"
RULE = f"mcp__{NAME}"
"""Claude Code's permission rule for all tools of the server."""
_PROGRAM = "phalanx-mcp"
_OF_PROJECT = Path(".mcp.json")
"""Where Claude Code keeps the servers of the project in which it is called."""
_INDENT = re.compile(rb'\n([ \t]+)"')
"""Of the first line that has one."""
_ALLOWED = (
    f"The rule {RULE} in {{file}} lets your Claude call every tool of Phalanx without asking you: it may start and end "
    "instances, merge their branches, and answer what they ask permission for (respond), so what it allows there runs "
    f'as if you had allowed it. To be asked for that alone, add "{RULE}__respond" to the rules "ask" there.'
)
_ASKS = (
    f"Claude asks you before each tool of Phalanx; `phalanx mcp add --allow` writes the rule {RULE}, which allows all."
)


class Scope(StrEnum):
    """Whose Claude has the server, in Claude Code's words."""

    USER = "user"
    LOCAL = "local"
    PROJECT = "project"


_WHERE: Mapping[Scope, str] = {
    Scope.USER: "for all your projects",
    Scope.LOCAL: "for you in this directory",
    Scope.PROJECT: "for everybody who works in this directory",
}
ScopeOption = Annotated[
    Scope,
    typer.Option(
        "--scope",
        help="user: all your projects; local: this directory; project: this directory, shared by its .mcp.json.",
    ),
]


def add(
    team: CliSession,
    *,
    scope: ScopeOption = Scope.USER,
    allow: Annotated[
        bool, typer.Option("--allow", help="Let Claude call all tools of Phalanx without asking you, respond too.")
    ] = False,
) -> None:
    """Register Phalanx with Claude Code. May be repeated."""
    program, environment = _entry_program(team, scope), _home_variable(team)
    claude = _claude(team)
    settings = _ClaudeSettings.of(scope, team.context.environment)
    settings.read()  # refused before anything is done
    found = _registered(scope, team.context.environment)
    done = "already registered"
    if not _is_registered(found, program, environment):
        if found is not None:
            _run(team.context, [*claude, "mcp", "remove", "--scope", scope, NAME])
        # The name must come before ``-e``, which takes all words that follow as variables.
        variables = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        _run(team.context, [*claude, "mcp", "add", "--scope", scope, NAME, *variables, "--", program])
        done = "registered again" if found is not None else "registered"
    if allow:
        settings.allow()
    allowed = settings.allows
    undo = f"{shlex.join(claude)} mcp remove --scope {scope} {NAME}"
    document = {
        "done": done,
        "scope": scope,
        "program": program,
        "environment": environment,
        "allowed": allowed,
        "settings": str(settings.path),
        "undo": undo,
    }
    told = (
        f"Phalanx is {done} with Claude Code {_WHERE[scope]}: {program}\n"
        f"{_ALLOWED.format(file=settings.path) if allowed else _ASKS}\n"
        f"Start claude anew and ask it to lead a team. To undo: phalanx mcp remove --scope {scope}, or {undo}"
    )
    team.output.show(document, plain(told))


def remove(team: CliSession, *, scope: ScopeOption = Scope.USER) -> None:
    """Take Phalanx out of Claude Code again, with its permission rule. A team that runs goes on."""
    settings = _ClaudeSettings.of(scope, team.context.environment)
    settings.read()
    was_registered = _registered(scope, team.context.environment) is not None
    if was_registered:
        _run(team.context, [*_claude(team), "mcp", "remove", "--scope", scope, NAME])
        if scope is Scope.PROJECT:
            _remove_if_empty(_OF_PROJECT)
    was_allowed = settings.allows
    if was_allowed:
        settings.disallow()
    document = {
        "scope": scope,
        "wasRegistered": was_registered,
        "wasAllowed": was_allowed,
        "settings": str(settings.path),
    }
    words = "Phalanx is no longer" if was_registered else "Phalanx was not"
    rule = f" Its rule {RULE} is out of {settings.path}." if was_allowed else ""
    team.output.show(document, plain(f"{words} registered with Claude Code {_WHERE[scope]}.{rule}"))


class _ClaudeSettings:
    """The settings of Claude Code for one scope, and in them the rule for Phalanx."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found = b""
        """What the file held when it was last read."""

    @classmethod
    def of(cls, scope: Scope, environment: Mapping[str, str]) -> _ClaudeSettings:
        match scope:
            case Scope.USER:
                named = environment.get("CLAUDE_CONFIG_DIR")
                directory = Path(named) if named else Path(environment.get("HOME") or Path.home()) / ".claude"
                return cls(directory / "settings.json")
            case Scope.LOCAL:
                return cls(Path.cwd() / ".claude" / "settings.local.json")
            case Scope.PROJECT:
                return cls(Path.cwd() / ".claude" / "settings.json")

    @property
    def allows(self) -> bool:
        return RULE in self.read().get("permissions", {}).get("allow", [])

    def allow(self) -> None:
        """Raises ``SettingsError``."""
        content = self.read()
        rules = content.setdefault("permissions", {}).setdefault("allow", [])
        if RULE not in rules:
            rules.append(RULE)
            self._write(content)

    def disallow(self) -> None:
        """Leaves nothing empty behind that may have come with the rule. Raises ``SettingsError``."""
        content = self.read()
        permissions = content["permissions"]
        permissions["allow"] = [each for each in permissions["allow"] if each != RULE]
        if not permissions["allow"]:
            del permissions["allow"]
        if not permissions:
            del content["permissions"]
        if content or self.path.is_symlink():
            self._write(content)
        else:
            self._remove()

    def read(self) -> dict[str, Any]:
        """Raises ``SettingsError`` when what is there is not Claude Code's."""
        try:
            self._found = self.path.read_bytes()
            content = json.loads(self._found)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be read: {error.strerror}. Nothing was changed.") from error
        except ValueError as error:
            raise SettingsError(
                f"{self.path} is not JSON ({error}). Repair it or move it away, then repeat. Nothing was changed."
            ) from None
        settings: dict[str, Any] = content if isinstance(content, dict) else {"permissions": None}
        permissions = settings.get("permissions", {})
        if not isinstance(permissions, dict) or not isinstance(permissions.get("allow", []), list):
            raise SettingsError(
                f"{self.path} does not have the form of Claude Code's settings: permissions.allow is to be a list in "
                "an object. Repair it or move it away, then repeat. Nothing was changed."
            )
        return settings

    def _remove(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be removed: {in_words(error)}") from error

    def _write(self, content: Mapping[str, Any]) -> None:
        target = self.path.resolve()  # a link to a file that is kept elsewhere stays a link
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
            replace_file(target, _text_like(self._found, content), mode=mode, durable=True)
        except OSError as error:
            raise SettingsError(f"{self.path} cannot be written: {in_words(error)}") from error


def _text_like(found: bytes, content: Mapping[str, Any]) -> str:
    """The content as JSON, indented as what was there before."""
    indented = _INDENT.search(found)
    indent = indented[1].decode() if indented else "  "
    text = json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair, which JSON can escape and UTF-8 cannot hold
        text = json.dumps(content, indent=indent) + "\n"
    return text


def _registered(scope: Scope, environment: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The registration in this scope; None when there is none, or it cannot be read."""
    config = claude_config(environment).content
    servers: Any
    match scope:
        case Scope.USER:
            servers = config.get("mcpServers")
        case Scope.LOCAL:
            servers = _of_directory(config.get("projects"), Path.cwd())
        case Scope.PROJECT:
            try:
                servers = json.loads(_OF_PROJECT.read_bytes()).get("mcpServers")
            except (OSError, ValueError, AttributeError):
                servers = None
    found = servers.get(NAME) if isinstance(servers, dict) else None
    return found if isinstance(found, dict) else None


def _remove_if_empty(path: Path) -> None:
    """Claude Code leaves a file with an empty list of servers, also where there was none before."""
    with suppress(OSError, ValueError):
        if json.loads(path.read_bytes()) == {"mcpServers": {}}:
            path.unlink()


def _of_directory(projects: Any, directory: Path) -> Any:
    """The servers of the directory. In a git repository Claude Code keeps them for its top."""
    for each in (directory, *directory.parents):
        project = projects.get(str(each)) if isinstance(projects, dict) else None
        if isinstance(project, dict) and NAME in (project.get("mcpServers") or ()):
            return project["mcpServers"]
        if (each / ".git").exists():
            break
    return None


def _is_registered(found: Mapping[str, Any] | None, program: str, environment: Mapping[str, str]) -> bool:
    return (
        found is not None
        and found.get("command") == program
        and not found.get("args")
        and (found.get("env") or {}) == environment
    )


def _entry_program(team: CliSession, scope: Scope) -> str:
    """The absolute path; for others who share the project, the name alone where that finds it."""
    program = Path(sys.executable).with_name(_PROGRAM)
    if not program.is_file():
        raise SettingsError(f"{program} is missing. Install the package into this environment, then repeat.")
    found = shutil.which(_PROGRAM, path=team.context.environment.get("PATH"))
    if scope is Scope.PROJECT and found and Path(found).resolve() == program.resolve():
        return _PROGRAM
    return str(program)


def _home_variable(team: CliSession) -> dict[str, str]:
    """The variable that names the home, unless the server finds this home by default."""
    ordinary = home_from({name: value for name, value in team.context.environment.items() if name != HOME_VARIABLE})
    return {} if team.home == ordinary else {HOME_VARIABLE: str(team.home.root)}


def _claude(team: CliSession) -> list[str]:
    """The path of Claude Code's program, with the arguments of the setting."""
    command = Settings.load(team.home, team.context.environment).claude_command
    program, *arguments = command_words(command, "PHALANX_CLAUDE_COMMAND")
    found = shutil.which(program, path=team.context.environment.get("PATH"))
    if found is None:
        raise SettingsError(
            f"Claude Code ({program}) is not on PATH. Install it with `npm install -g @anthropic-ai/claude-code`, "
            "or set PHALANX_CLAUDE_COMMAND to its path."
        )
    return [found, *arguments]


def _run(context: CommandContext, command: Sequence[str]) -> None:
    try:
        ended = context.run(command, context.environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AgentError(f"`{' '.join(command)}` could not be run: {error}") from error
    if ended.returncode != 0:
        reason = (ended.stderr or ended.stdout).strip()
        raise AgentError(f"`{' '.join(command)}` failed with status {ended.returncode}: {reason}")
