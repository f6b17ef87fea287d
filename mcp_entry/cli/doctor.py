"""``phalanx doctor``: what a team needs of this machine, what is missing, and how to get it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil
import typer
from rich.table import Table
from rich.text import Text

from actors.errors import SettingsError
from actors.home import Home
from mcp_entry.cli.claude_config import ClaudeConfig, claude_config, claude_words
from mcp_entry.cli.claude_versions import knowledge_of
from mcp_entry.cli.session import HomeOption, JsonOption, World, session
from mcp_entry.cli.terminal_text import one_line, plain
from supervisor.settings import Settings, check_variables, setting_variables
from supervisor.store.redis_url import without_secrets

State = Literal["ok", "missing", "note"]
_OLDEST_PYTHON = (3, 11)
_OLDEST_TMUX = (3, 2)
_INSTANCE_BYTES = 250_000_000
"""What one Claude Code keeps in memory."""
_LEAST_DISK_BYTES = 2_000_000_000
_SET_UP_CLAUDE = Path(sys.prefix) / "claude/node_modules/.bin/claude"
"""Where ``scripts/setup --claude`` puts it, which is on nobody's PATH."""
_REDIS_PROBE = Path(__file__).with_name("redis_probe.py")
_REDIS_PY = f"Install it into this environment: `{sys.executable} -m pip install 'redis[hiredis]'`."
_STYLES: Mapping[State, str] = {"ok": "green", "missing": "bold red", "note": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``remedy`` says how to get what is missing. A note does not keep a team from running."""

    what: str
    state: State
    found: str
    remedy: str = ""


def doctor(context: typer.Context, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Look for what a team needs. Exits with 1 when something is missing."""
    with session(context, home, as_json) as team:
        findings = list(examine(team.home, team.world))
        healthy = all(finding.state != "missing" for finding in findings)
        document = {"ok": healthy, "findings": [asdict(finding) for finding in findings]}
        team.output.show(document, _view(findings))
    if not healthy:
        raise typer.Exit(1)


def examine(home: Home, world: World) -> Iterator[Finding]:
    yield _python()
    yield _ray()
    yield _program(world, "tmux", ["-V"], "Install it: `apt install tmux`, `dnf install tmux` or `brew install tmux`.")
    yield _program(world, "git", ["--version"], "Install it: `apt install git` or `brew install git`.")
    yield _git_identity(world)
    yield from _settings_and_claude(home, world)
    yield _home(home)
    yield _disk(home)
    yield _memory()


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding(what="python", state="missing", found=found, remedy="Install Python 3.11 or newer.")
    return Finding(what="python", state="ok", found=f"{found} at {sys.executable}")


def _ray() -> Finding:
    """By its metadata: importing Ray takes a second and starts threads."""
    try:
        if find_spec("ray") is not None:
            return Finding(what="ray", state="ok", found=version("ray"))
    except PackageNotFoundError:
        pass
    remedy = f"Install it into this environment: `{sys.executable} -m pip install ray`."
    return Finding(what="ray", state="missing", found="cannot be imported", remedy=remedy)


def _program(world: World, name: str, ask: list[str], remedy: str, what: str | None = None) -> Finding:
    what = what or name
    path = shutil.which(name, path=world.environment.get("PATH"))
    if path is None:
        return Finding(what=what, state="missing", found=f"{name} is not on PATH", remedy=remedy)
    try:
        ended = world.run([path, *ask], world.environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what=what, state="missing", found=f"{path} does not run: {error}", remedy=remedy)
    words = one_line(ended.stdout or ended.stderr, 80)
    if ended.returncode != 0:
        return Finding(what=what, state="missing", found=f"{path} fails: {words}", remedy=remedy)
    if name == "tmux" and _numbers(words) < _OLDEST_TMUX:
        return Finding(what=what, state="missing", found=words, remedy="tmux 3.2 or newer is needed.")
    return Finding(what=what, state="ok", found=f"{words} at {path}")


def _git_identity(world: World) -> Finding:
    """Whose commits agents make here: git guesses no name, and an agent that cannot commit gets stuck at it."""
    what = "git identity"
    remedy = 'Tell git who you are: `git config --global user.name "…"` and `git config --global user.email "…"`.'
    try:
        asked = world.run(["git", "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"], world.environment)
    except (OSError, subprocess.TimeoutExpired):
        return Finding(what=what, state="note", found="git cannot be asked", remedy=remedy)
    if asked.returncode != 0:
        return Finding(what=what, state="note", found="none: agents cannot commit", remedy=remedy)
    who, _, _ = asked.stdout.partition(">")
    return Finding(what=what, state="ok", found=one_line(f"{who}>", 120))


def _numbers(words: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)", words)
    return tuple(int(part) for part in found.groups()) if found else _OLDEST_TMUX


def _settings_and_claude(home: Home, world: World) -> Iterator[Finding]:
    try:
        check_variables(world.environment)
        settings = Settings.load(home, world.environment)
        words = claude_words(settings.claude_command)
    except SettingsError as error:
        yield Finding(what="settings", state="missing", found=str(error), remedy="Correct it, then look again.")
        return
    yield _settings(home, settings, world.environment)
    if settings.redis_address is not None:
        yield _redis(settings.redis_address, world)
    claude = _program(world, words[0], [*words[1:], "--version"], _claude_remedy(), what="claude")
    yield claude if settings.agent == "claude" else _not_needed(claude)
    if claude.state == "ok":
        yield _claude_version(claude)
        config = claude_config(world.environment)
        yield _login(config)
        yield _trust(config, home)


def _claude_version(claude: Finding) -> Finding:
    """Claude Code changes every few days, and what Phalanx reads of it is no interface that anybody promised."""
    known = knowledge_of(claude.found)
    state: State = "ok" if known.checked else "note"
    return Finding(what="claude version", state=state, found=known.words, remedy=known.advice)


def _claude_remedy() -> str:
    there = f": `scripts/setup --claude` has put one at {_SET_UP_CLAUDE}" if _SET_UP_CLAUDE.exists() else ""
    return f"Install it: `npm install -g @anthropic-ai/claude-code`; or set PHALANX_CLAUDE_COMMAND to its path{there}."


def _settings(home: Home, settings: Settings, environment: Mapping[str, str]) -> Finding:
    """Where they come from; names only, since some are secret."""
    given = sorted(name for name in setting_variables() if environment.get(name))
    places = [
        *([str(home.config_file)] if home.config_file.exists() else []),
        *([f"the environment ({', '.join(given)})"] if given else []),
    ]
    changed = f"; {settings.tuned.in_words}" if settings.tuned.in_words else ""
    return Finding(what="settings", state="ok", found=f"{' and '.join(places) or 'defaults'}{changed}")


def _redis(address: str, world: World) -> Finding:
    """A note when it does not answer: the team then keeps its state in the home alone."""
    shown = without_secrets(address)
    try:
        asked = world.run([sys.executable, "-P", str(_REDIS_PROBE)], {**world.environment, "REDIS_URL": address})
    except (OSError, subprocess.TimeoutExpired):
        return Finding(what="redis", state="note", found=f"{shown} could not be asked", remedy="Look again.")
    words = one_line(asked.stdout, 200)
    if asked.returncode == 0:
        return Finding(what="redis", state="ok", found=f"{shown}: {words}")
    if asked.returncode < 0:
        words = "it does not answer"
    if not words:
        last = one_line(asked.stderr.strip().rpartition("\n")[2], 200)
        return Finding(what="redis", state="missing", found=f"redis-py does not work: {last}", remedy=_REDIS_PY)
    remedy = "Until it can be used, the team keeps its state in the home alone. Correct its address, or start Redis."
    return Finding(what="redis", state="note", found=f"{shown}: {words}", remedy=remedy)


def _not_needed(finding: Finding) -> Finding:
    return replace(finding, state="note") if finding.state == "missing" else finding


def _login(config: ClaudeConfig) -> Finding:
    if config.login and config.onboarded:
        return Finding(what="claude login", state="ok", found=config.login)
    found = "no login can be seen" if not config.login else f"{config.login}, but its first start was never finished"
    return Finding(what="claude login", state="note", found=found, remedy="Run `claude` once and log in.")


def _trust(config: ClaudeConfig, home: Home) -> Finding:
    if config.trusts(home.worktrees):
        return Finding(what="claude trust", state="ok", found=f"{home.worktrees} is trusted")
    return Finding(
        what="claude trust", state="note", found=f"{home.worktrees} is not trusted yet; the first spawn sees to it"
    )


def _home(home: Home) -> Finding:
    """Makes the home, as bringing a team up would: that shows whether it can be."""
    try:
        home.create()
    except SettingsError as error:
        return Finding(what="home", state="missing", found=str(home.root), remedy=str(error))
    return Finding(what="home", state="ok", found=f"{home.root}, private")


def _disk(home: Home) -> Finding:
    place = next(each for each in (home.root, *home.root.parents) if each.exists())
    free = shutil.disk_usage(place).free
    state: State = "ok" if free >= _LEAST_DISK_BYTES else "note"
    remedy = "" if state == "ok" else "Worktrees need room: free some, or set PHALANX_HOME elsewhere."
    return Finding(what="disk", state=state, found=f"{free / 1e9:.1f} GB free at {place}", remedy=remedy)


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    instances = free // _INSTANCE_BYTES
    state: State = "ok" if instances >= 2 else "note"
    remedy = "" if state == "ok" else "An instance needs about 0.25 GB: close other programs."
    return Finding(
        what="memory", state=state, found=f"{free / 1e9:.1f} GB free, enough for {instances} instances", remedy=remedy
    )


def _view(findings: list[Finding]) -> Table:
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
