"""Claude Code as an agent: how it is started, with which options and settings.

``AgentCatalog`` makes a ``ClaudeAgent``; the host starts it and the instance follows it. What Claude Code says is read
by the ``claude_*`` modules. The demo program takes the same options and the same settings file. Values that a caller
chose are checked here, so that none can be taken for an option.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from actors.agents import hook
from actors.agents.base import AgentStart, Launch, LaunchRequest, command_words, mode_named
from actors.agents.claude_records import EVENT_KINDS, ClaudeRecords
from actors.agents.claude_servers import may_be_given_servers, server_names
from actors.agents.claude_trust import approvals_of, ensure_trusted
from actors.agents.names import AgentName
from actors.errors import InvalidRequestError
from actors.marks import TEAM_SERVER

_MATCHERS: Mapping[str, str] = {
    **dict.fromkeys(("PermissionRequest", "PostToolUse", "PostToolUseFailure"), "*"),
    # Not the two that come although it waits for nothing but its next turn: each idle agent would run a program.
    "Notification": "^(?!idle_prompt$|auth_success$)",
}
"""Of tools, and of kinds of notification."""
_PERMISSION_TIMEOUT_S = 2_000_000
"""23 days; a timer of Claude Code's runtime overflows, and fires at once, a little above 24."""
_MODE_SETTINGS: dict[str, dict[str, object]] = {
    # The caller that asked for the mode was warned; at the agent's terminal no person would answer.
    "bypassPermissions": {"skipDangerousModePermissionPrompt": True},
    "auto": {"skipAutoPermissionPrompt": True},
    # Newer versions offer at their start to make auto mode the default instead.
    "default": {"disableAutoMode": "disable"},
}
_ENDPOINT_HOST = "127.0.0.1"
_NO_PROXY = ("NO_PROXY", "no_proxy")
_OWN_SERVER = "phalanx"
"""As ``phalanx mcp add`` registers the entry for the user's own Claude."""
_OWN_PLUGIN = "phalanx@phalanx"
"""Its tools, its monitor and its skill are for a lead outside of the team."""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@\[\]-]{0,199}")
_PERMISSION_MODE = re.compile(r"[A-Za-z]{1,40}")
_LONGEST_SYSTEM_PROMPT_BYTES = 100_000
"""Linux takes at most 128 KiB in one argument."""

_ENVIRONMENT = {
    # The program must stay the one that was started, and its input box must hold only what was typed.
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION": "false",
    "CLAUDE_CODE_DISABLE_FEEDBACK_SURVEY": "1",
    # One press of Left at an empty prompt would give the conversation to a daemon, which outlives its pane.
    "CLAUDE_CODE_DISABLE_AGENT_VIEW": "1",
    # Else newer versions mostly begin the first turn before they know the tools of the team; under load some still do.
    "MCP_CONNECTION_NONBLOCKING": "0",
}


@dataclass(frozen=True, slots=True)
class ClaudeAgent(ClaudeRecords):
    """``command`` starts Claude Code and may hold arguments; ``python`` runs the hooks."""

    command: str
    python: str

    @property
    def name(self) -> AgentName:
        return "claude"

    @property
    def program(self) -> str:
        return self.command

    def prepare(self, start: AgentStart, environment: Mapping[str, str]) -> LaunchRequest:
        """Trusts the start's directories; takes on what was approved in the checkout that the last of them is.

        Claude Code sends its token to the team itself, whatever proxy the user has.
        """
        for directory in start.trusted_directories:
            ensure_trusted(directory, {**environment, **start.request.environment})
        approvals = approvals_of(start.trusted_directories[-1]) if start.trusted_directories else {}
        request = start.request if may_be_given_servers() else replace(start.request, team_url="")
        if has_team_tools(request):
            around = past_proxies({**environment, **request.environment})
            request = replace(request, environment={**request.environment, **around})
        return replace(request, approvals=approvals)

    def check(self, start: AgentStart, environment: Mapping[str, str]) -> None:
        wanted = start.request.mcp_servers
        if not wanted:
            return
        known = server_names(
            {**environment, **start.request.environment}, start.working_directory, start.trusted_directories
        )
        if unknown := sorted(set(wanted) - known):
            there = ", ".join(sorted(known)) or "none"
            raise InvalidRequestError(
                f"mcpServers names {', '.join(unknown)}, which Claude Code does not have in "
                f"{start.trusted_directories[-1] if start.trusted_directories else start.working_directory}: it has "
                f"{there}. Correct the name, or add the server with claude mcp add first."
            )

    def launch(self, request: LaunchRequest) -> Launch:
        return Launch(
            argv=(*command_words(self.command, "PHALANX_CLAUDE_COMMAND"), *start_options(request)),
            environment={**_ENVIRONMENT, **request.environment},
            files=start_files(self.python, request),
        )


def past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep requests to the team from a proxy that ``environment`` names, beside what they hold.

    Claude Code sends requests to the loopback interface through ``HTTP_PROXY`` too, with their tokens.
    """
    direct = [environment[name] for name in _NO_PROXY if environment.get(name)]
    return dict.fromkeys(_NO_PROXY, ",".join(dict.fromkeys([*direct, _ENDPOINT_HOST])))


def start_files(python: str, request: LaunchRequest) -> Mapping[Path, str]:
    """What ``start_options`` names. ``python`` runs the hooks."""
    directory = request.instance_directory
    files = {settings_file(directory): settings_text(python, request)}
    return {**files, mcp_file(directory): mcp_text(request)} if has_team_tools(request) else files


def settings_file(instance_directory: Path) -> Path:
    return instance_directory / "settings.json"


def mcp_file(instance_directory: Path) -> Path:
    return instance_directory / "mcp.json"


def has_team_tools(request: LaunchRequest) -> bool:
    return bool(request.token and request.team_url)


def mcp_text(request: LaunchRequest) -> str:
    """The MCP server of the team, which knows the agent by its token."""
    server = {
        "type": "http",
        "url": request.team_url,
        "headers": {"Authorization": f"Bearer {request.token}"},
        # Claude Code shows tools of other servers to its model only when that searches for them.
        "alwaysLoad": True,
    }
    return json.dumps({"mcpServers": {TEAM_SERVER: server}}, indent=1)


def settings_text(python: str, request: LaunchRequest) -> str:
    """The settings of one agent: it runs ``hook.py`` for every event that Phalanx uses, and is no lead itself."""
    settings: dict[str, object] = {
        **request.approvals,
        **_servers(request),
        "hooks": _hooks(python, request.instance_directory),
        "disableAllHooks": False,  # a user or a project may have set it for hooks of their own
        # Its own tools of the team need no process; the user's entry would take 70 MB and half a second of CPU.
        "deniedMcpServers": [{"serverName": _OWN_SERVER}],
        "enabledPlugins": {_OWN_PLUGIN: False},
        **_MODE_SETTINGS.get(mode_named(request.permission_mode), {}),
    }
    return json.dumps(settings, indent=1)


def _servers(request: LaunchRequest) -> dict[str, object]:
    """Which MCP servers it gets, and that it calls the team without asking: what it may do there the team decides."""
    settings: dict[str, object] = {}
    if has_team_tools(request):
        approved = request.approvals.get("permissions", {})
        allowed = approved.get("allow")
        rules = allowed if isinstance(allowed, list) else []
        settings["permissions"] = {**approved, "allow": [*rules, f"mcp__{TEAM_SERVER}__*"]}
    if request.mcp_servers is not None:
        settings["allowedMcpServers"] = [{"serverName": name} for name in (*request.mcp_servers, TEAM_SERVER)]
    return settings


def _hooks(python: str, instance_directory: Path) -> dict[str, object]:
    words = (python, "-I", "-S", str(Path(hook.__file__).resolve()), str(instance_directory))
    # The shell becomes the hook, so that the hook's parent is the agent itself.
    command = "exec " + shlex.join(words)
    hooks: dict[str, object] = {}
    for event in EVENT_KINDS:
        run: dict[str, object] = {"type": "command", "command": f"{command} {event}"}
        if event == "PermissionRequest":
            run["timeout"] = _PERMISSION_TIMEOUT_S
        matcher = _MATCHERS.get(event)
        hooks[event] = [{"matcher": matcher, "hooks": [run]} if matcher else {"hooks": [run]}]
    return hooks


def start_options(request: LaunchRequest) -> tuple[str, ...]:
    """The options of one start. Raises ``InvalidRequestError`` for a value that cannot be one."""
    if not _UUID.fullmatch(request.session_id):
        raise InvalidRequestError(f"The session id {request.session_id!r} is no UUID in lower case.")
    options = ["--resume" if request.resume else "--session-id", request.session_id]
    options += ["--settings", str(settings_file(request.instance_directory))]
    if has_team_tools(request):
        options += ["--mcp-config", str(mcp_file(request.instance_directory))]
        if request.mcp_servers == ():  # holds also where the user's own settings allow some by name
            options.append("--strict-mcp-config")
    if request.system_prompt:
        options += ["--append-system-prompt", _checked_system_prompt(request.system_prompt)]
    if request.model is not None:
        options += ["--model", _checked("model", request.model, _MODEL)]
    options += ["--permission-mode", _checked("permissionMode", mode_named(request.permission_mode), _PERMISSION_MODE)]
    return tuple(options)


def _checked(name: str, value: str, pattern: re.Pattern[str]) -> str:
    if not pattern.fullmatch(value):
        raise InvalidRequestError(f"{name} {value!r} is not one: it must match {pattern.pattern}")
    return value


def _checked_system_prompt(text: str) -> str:
    length_bytes = len(text.encode(errors="surrogatepass"))
    if length_bytes > _LONGEST_SYSTEM_PROMPT_BYTES or "\0" in text:
        raise InvalidRequestError(
            f"The instance's role and rules have {length_bytes} bytes; at most {_LONGEST_SYSTEM_PROMPT_BYTES} without "
            "a NUL are possible. Say the rest in a message."
        )
    return text
