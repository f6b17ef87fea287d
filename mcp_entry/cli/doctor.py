"""``phalanx doctor``: what a team needs of this machine and of Claude Code.

Claude Code's configuration file is only read; a value of an unexpected form counts as missing. ``OLDEST`` and
``NEWEST`` are the checked versions of Claude Code; ``requirements/claude`` pins the same two for the tests, and a test
compares them.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.table import Table
from rich.text import Text

from actors.agents.base import command_words
from actors.agents.claude import mcp_file
from actors.agents.claude_trust import config_file
from actors.agents.launch import REQUEST_NAME
from actors.errors import SettingsError
from actors.home import Home
from actors.host.endpoint import kept_port, kept_url
from actors.marks import INSTANCE_MARK, NODE_MARK, TEAM_SERVER
from actors.processes import mark_of, name_of, processes_with
from mcp_entry.cli.output import one_line, plain
from mcp_entry.cli.session import CliSession, CommandContext
from supervisor.api.results import SPARE_PREFIX
from supervisor.redis_url import without_secrets
from supervisor.runtime.parts import processes_of
from supervisor.settings import Settings, check_variables, setting_variables
from supervisor.team.file import read_team

_LOGIN_VARIABLES = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
)
OLDEST = "2.1.197"
NEWEST = "2.1.332"
"""All scenarios of ``scripts/claude-check`` pass with both."""
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_TRY = "Try it: `scripts/claude-check` in a checkout of Phalanx plays all scenarios with it, in a few minutes."
_UPGRADE = "Upgrade it: `claude update`, or `npm install -g @anthropic-ai/claude-code`."
State = Literal["ok", "missing", "note"]
_OLDEST_TMUX = (3, 2)
_CLAUDE_VARIABLE = "PHALANX_CLAUDE_COMMAND"
_INSTANCE_BYTES = 250_000_000
"""Memory of one Claude Code."""
_LEAST_DISK_BYTES = 2_000_000_000
_SET_UP_CLAUDE = Path(sys.prefix) / "claude/node_modules/.bin/claude"
"""Where ``scripts/setup --claude`` puts it, which is on no PATH."""
_REDIS_PROBE = Path(__file__).with_name("redis_probe.py")
_REDIS_PY = f"Install it into this environment: `{sys.executable} -m pip install 'redis[hiredis]'`."
_MOST_PORTS = 6
"""Of one kind that are listed one by one."""
_STYLES: Mapping[State, str] = {"ok": "green", "missing": "bold red", "note": "yellow"}


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """``remedy`` says how to get what is missing. A team runs in spite of a note."""

    what: str
    state: State
    found: str
    remedy: str = ""


def doctor(team: CliSession) -> int:
    """Look for what a team needs. Exits with 1 when something is missing."""
    findings = list(examine(team.home, team.context))
    healthy = all(finding.state != "missing" for finding in findings)
    team.output.show({"ok": healthy, "findings": [asdict(finding) for finding in findings]}, _view(findings))
    return 0 if healthy else 1


def examine(home: Home, context: CommandContext) -> Iterator[DoctorFinding]:
    yield DoctorFinding("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield _ray()
    yield _program(
        context, "tmux", ["-V"], "Install it: `apt install tmux`, `dnf install tmux` or `brew install tmux`."
    )
    yield _program(context, "git", ["--version"], "Install it: `apt install git` or `brew install git`.")
    yield _git_identity(context)
    yield from _settings_and_claude(home, context)
    yield _home(home)
    yield _disk(home)
    yield _memory()
    yield from _listening(home)
    yield from _old_addresses(home)


def _ray() -> DoctorFinding:
    """Reads the metadata: importing Ray takes a second and starts threads."""
    try:
        return DoctorFinding("ray", "ok", version("ray"))
    except PackageNotFoundError:
        remedy = f"Install it into this environment: `{sys.executable} -m pip install ray`."
        return DoctorFinding("ray", "missing", "it is not installed", remedy)


def _program(context: CommandContext, name: str, ask: list[str], remedy: str, what: str | None = None) -> DoctorFinding:
    what = what or name
    path = shutil.which(name, path=context.environment.get("PATH"))
    if path is None:
        return DoctorFinding(what, "missing", f"{name} is not on PATH", remedy)
    try:
        ended = context.run([path, *ask], context.environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return DoctorFinding(what, "missing", f"{path} does not run: {error}", remedy)
    words = one_line(ended.stdout or ended.stderr, 80)
    if ended.returncode != 0:
        return DoctorFinding(what, "missing", f"{path} fails: {words}", remedy)
    if name == "tmux" and _tmux_numbers(words) < _OLDEST_TMUX:
        return DoctorFinding(what, "missing", words, "tmux 3.2 or newer is needed.")
    return DoctorFinding(what, "ok", f"{words} at {path}")


def _tmux_numbers(words: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", words)
    return tuple(int(part) for part in found.groups()) if found else _OLDEST_TMUX


def _git_identity(context: CommandContext) -> DoctorFinding:
    """The author of agents' commits. Without one git refuses to commit, and an agent gets stuck."""
    what = "git identity"
    remedy = 'Tell git who you are: `git config --global user.name "…"` and `git config --global user.email "…"`.'
    try:
        asked = context.run(["git", "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"], context.environment)
    except (OSError, subprocess.TimeoutExpired):
        return DoctorFinding(what, "note", "git cannot be asked", remedy)
    if asked.returncode != 0:
        return DoctorFinding(what, "note", "none: agents cannot commit", remedy)
    who, _, _ = asked.stdout.partition(">")
    return DoctorFinding(what, "ok", one_line(f"{who}>", 120))


def _settings_and_claude(home: Home, context: CommandContext) -> Iterator[DoctorFinding]:
    try:
        check_variables(context.environment)
        settings = Settings.load(home, context.environment)
        words = command_words(settings.claude_command, _CLAUDE_VARIABLE)
    except SettingsError as error:
        yield DoctorFinding("settings", "missing", str(error), "Correct it, then look again.")
        return
    yield _settings(home, settings, context.environment)
    if settings.redis_address is not None:
        yield _redis(settings.redis_address, context)
    claude = _program(context, words[0], [*words[1:], "--version"], _claude_remedy(), what="claude")
    needed = settings.agent == "claude" or claude.state != "missing"
    yield claude if needed else replace(claude, state="note")
    if claude.state == "ok":
        yield version_finding(claude.found)
        config = claude_config(context.environment)
        yield _login_finding(config)
        yield _trust(config, home)


def _settings(home: Home, settings: Settings, environment: Mapping[str, str]) -> DoctorFinding:
    """Where they come from: names only, because some values are secret."""
    given = sorted(name for name in setting_variables() if environment.get(name))
    places = [
        *([str(home.config_file)] if home.config_file.exists() else []),
        *([f"the environment ({', '.join(given)})"] if given else []),
    ]
    changed = f"; {settings.tuned.in_words}" if settings.tuned.in_words else ""
    return DoctorFinding("settings", "ok", f"{' and '.join(places) or 'defaults'}{changed}")


def _redis(address: str, context: CommandContext) -> DoctorFinding:
    """A note when it does not answer, because the team then keeps its state in the home alone."""
    shown = without_secrets(address)
    try:
        asked = context.run([sys.executable, "-P", str(_REDIS_PROBE)], {**context.environment, "REDIS_URL": address})
    except (OSError, subprocess.TimeoutExpired):
        return DoctorFinding("redis", "note", f"{shown} could not be asked", "Look again.")
    words = one_line(asked.stdout, 200)
    if asked.returncode == 0:
        return DoctorFinding("redis", "ok", f"{shown}: {words}")
    if asked.returncode < 0:
        words = "it does not answer"
    if not words:
        last = one_line(asked.stderr.strip().rpartition("\n")[2], 200)
        return DoctorFinding("redis", "missing", f"redis-py does not work: {last}", _REDIS_PY)
    remedy = "Until it can be used, the team keeps its state in the home alone. Correct its address, or start Redis."
    return DoctorFinding("redis", "note", f"{shown}: {words}", remedy)


def _claude_remedy() -> str:
    there = f": `scripts/setup --claude` has put one at {_SET_UP_CLAUDE}" if _SET_UP_CLAUDE.exists() else ""
    return (
        f"Install it: `npm install -g @anthropic-ai/claude-code`; or set {_CLAUDE_VARIABLE} to its path{there}. To try "
        "a team without it: PHALANX_AGENT=demo."
    )


def version_finding(said: str) -> DoctorFinding:
    """What is known of a version as ``claude --version`` prints it, for example ``2.1.332 (Claude Code)``.

    Claude Code changes every few days, and what Phalanx reads of it is no stable interface.
    """
    what = "claude version"
    found = _VERSION.search(said)
    if found is None:
        return DoctorFinding(what, "note", "it does not say which version it is", _TRY)
    version, oldest, newest = (_version_numbers(each) for each in (found[0], OLDEST, NEWEST))
    if version in {oldest, newest}:
        return DoctorFinding(what, "ok", f"{found[0]} is one of the versions that were checked")
    if version < oldest:
        words = f"{found[0]} is older than {OLDEST}, the oldest that was checked: it may not be understood"
        return DoctorFinding(what, "note", words, _UPGRADE)
    if version > newest:
        words = f"{found[0]} is newer than {NEWEST}, the newest that was checked: it may not be understood"
        return DoctorFinding(what, "note", words, _TRY)
    return DoctorFinding(what, "ok", f"{found[0]} lies between {OLDEST} and {NEWEST}, which were checked")


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _login_finding(config: ClaudeConfig) -> DoctorFinding:
    if config.login and config.onboarded:
        return DoctorFinding("claude login", "ok", config.login)
    found = "no login can be seen" if not config.login else f"{config.login}, but its first start was never finished"
    return DoctorFinding("claude login", "note", found, "Run `claude` once and log in.")


def _trust(config: ClaudeConfig, home: Home) -> DoctorFinding:
    if config.trusts(home.worktrees):
        return DoctorFinding("claude trust", "ok", f"{home.worktrees} is trusted")
    return DoctorFinding("claude trust", "note", f"{home.worktrees} is not trusted yet; the first spawn sees to it")


def _listening(home: Home) -> Iterator[DoctorFinding]:
    """Where processes of the team take connections, and for what."""
    team = read_team(home)
    of_team = processes_of(home, team) if team is not None else []
    found: dict[tuple[str, bool], dict[str, None]] = {}
    for process in dict.fromkeys([*of_team, *processes_with(NODE_MARK, str(home.root))]):
        for address in _addresses(process):
            what = (_purpose(process, address, home), address.startswith(("127.", "::1", "::ffff:127.")))
            found.setdefault(what, {})[f"{address} (process {process.pid})"] = None
    for (purpose, is_private), places in found.items():
        more = f" and {len(places) - _MOST_PORTS} more" if len(places) > _MOST_PORTS else ""
        words = f"{', '.join(list(places)[:_MOST_PORTS])}{more}: {purpose}"
        if is_private:
            yield DoctorFinding("listens", "ok", words)
        else:
            yield DoctorFinding("listens", "note", words, "Other machines can reach this: let a firewall see to it.")


def _addresses(process: psutil.Process) -> list[str]:
    try:
        connections = process.net_connections("inet")
    except psutil.Error:
        return []
    listening = (each.laddr for each in connections if each.status == psutil.CONN_LISTEN)
    return sorted(f"{each.ip}:{each.port}" for each in listening)


def _purpose(process: psutil.Process, address: str, home: Home) -> str:
    if address.endswith(f":{kept_port(home)}"):  # of the endpoint's process, and of the host's actor beside it
        return "the tools of the instances, each by its token, and the page, by its link"
    if mark_of(process, INSTANCE_MARK):
        return f"a program of an agent ({name_of(process)})"
    return "Ray, by its token"


def _old_addresses(home: Home) -> Iterator[DoctorFinding]:
    """Agents that run and look for the team's tools elsewhere: each reads the address only when it starts, and the
    endpoint has another port when somebody else has taken its own."""
    url = kept_url(home)
    if not url:
        return
    running = {Path(mark_of(process, INSTANCE_MARK) or "/") for process in psutil.process_iter()}
    directories = [each for each in running if each.parent == home.instances and _team_url_in(each) not in ("", url)]
    names = sorted(map(_instance_in, directories))
    instances = [name for name in names if not name.startswith(SPARE_PREFIX)]
    before = f"from before the address of the team's tools became {url}"
    if instances:
        remedy = (
            f"When they are idle, start them again with their conversations: `phalanx restart {' '.join(instances)}`."
        )
        yield DoctorFinding("tools", "note", f"{before}: {', '.join(instances)}", remedy)
    if spares := len(names) - len(instances):
        remedy = "Let them go: `phalanx prewarm 0`. Then order them anew."
        yield DoctorFinding("tools", "note", f"{before}: spare agents ({spares})", remedy)


def _team_url_in(instance_directory: Path) -> str:
    """Where the agent looks for the team's tools; empty when it has none, or that cannot be read."""
    try:
        servers = json.loads(mcp_file(instance_directory).read_bytes())["mcpServers"]
        return str(servers[TEAM_SERVER]["url"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""


def _instance_in(directory: Path) -> str:
    """The id of the instance: one that was made of a spare agent keeps the directory of that."""
    try:
        return str(json.loads((directory / REQUEST_NAME).read_bytes())["request"]["instance_id"])
    except (OSError, ValueError, TypeError, KeyError):
        return directory.name


def _home(home: Home) -> DoctorFinding:
    """Creates the home, as ``phalanx up`` does, to see whether that is possible."""
    try:
        home.create()
    except SettingsError as error:
        return DoctorFinding("home", "missing", str(home.root), str(error))
    return DoctorFinding("home", "ok", f"{home.root}, private")


def _disk(home: Home) -> DoctorFinding:
    place = next(each for each in (home.root, *home.root.parents) if each.exists())
    free = shutil.disk_usage(place).free
    state: State = "ok" if free >= _LEAST_DISK_BYTES else "note"
    remedy = "" if state == "ok" else "Worktrees need room: free some, or set PHALANX_HOME elsewhere."
    return DoctorFinding("disk", state, f"{free / 1e9:.1f} GB free at {place}", remedy)


def _memory() -> DoctorFinding:
    free = psutil.virtual_memory().available
    instances = free // _INSTANCE_BYTES
    state: State = "ok" if instances >= 2 else "note"
    remedy = "" if state == "ok" else "An instance needs about 0.25 GB: close other programs."
    return DoctorFinding("memory", state, f"{free / 1e9:.1f} GB free, enough for {instances} instances", remedy=remedy)


def _view(findings: list[DoctorFinding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        words = plain(finding.found)
        if finding.remedy:
            words.append_text(plain(f"\n{finding.remedy}", "bold"))
        table.add_row(Text(finding.state, _STYLES[finding.state]), Text(finding.what), words)
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeConfig:
    content: Mapping[str, Any]
    login: str
    """Where a login was found; empty when none was found."""

    @property
    def onboarded(self) -> bool:
        return self.content.get("hasCompletedOnboarding") is True

    def trusts(self, directory: Path) -> bool:
        """Whether the directory or a parent of it is trusted."""
        projects = _mapping(self.content.get("projects"))
        return any(
            _mapping(projects.get(str(each))).get("hasTrustDialogAccepted") is True
            for each in (directory, *directory.parents)
        )


def claude_config(environment: Mapping[str, str]) -> ClaudeConfig:
    try:
        content = _mapping(json.loads(config_file(environment).read_bytes()))
    except (OSError, ValueError):
        content = {}
    return ClaudeConfig(content=content, login=_login_of(environment, content))


def _login_of(environment: Mapping[str, str], content: Mapping[str, Any]) -> str:
    found = next((name for name in _LOGIN_VARIABLES if environment.get(name)), "")
    if found:
        return f"{found} in the environment"
    named = environment.get("CLAUDE_CONFIG_DIR")
    credentials = Path(named or Path(environment.get("HOME") or Path.home()) / ".claude") / ".credentials.json"
    if credentials.is_file():
        return str(credentials)
    return "an account in Claude Code's configuration" if content.get("oauthAccount") else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def missing_agent(settings: Settings, environment: Mapping[str, str]) -> str:
    """What to do when the default agent's program is missing; empty when it is there. Raises ``SettingsError``."""
    if settings.agent != "claude":
        return ""
    program = command_words(settings.claude_command, _CLAUDE_VARIABLE)[0]
    if shutil.which(program, path=environment.get("PATH")):
        return ""
    return (
        f"Claude Code ({program}) is not found: only another agent can start, as with `phalanx spawn --agent demo`. "
        "Install it, or set PHALANX_CLAUDE_COMMAND to its path, and bring the team up anew. `phalanx doctor` says what "
        "else is missing."
    )
