"""The settings of a team: what each is, its unit, what is allowed, and the variable that sets it.

``Settings.load`` reads them where a process begins; everything below gets values. ``describe`` is the table for the
documentation and ``phalanx doctor``. ``check_variables`` refuses misspelled
variables, so that none passes in silence.

``keep_settings`` keeps those with which a team was brought up in its home (0600) as long as it lives. The supervisor
and the runtime bring a part of the team back with these: edits of the configuration count from the next ``phalanx up``
on, and a fault in them harms no team that is coming back.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, PrivateAttr, ValidationInfo
from pydantic.fields import FieldInfo

from actors.agents.demo.options import VARIABLES as DEMO_VARIABLES
from actors.agents.names import AGENT_NAMES, AgentName
from actors.errors import SettingsError
from actors.files import write_private
from actors.home import DEFAULT_HOME, HOME_VARIABLE, Home
from actors.marks import MARKS
from supervisor.api.requests import STORED_KINDS, EventKind, VariableName
from supervisor.redis_url import database_of, fault_in, from_parts
from supervisor.settings.sources import (
    Directory,
    SavedChanges,
    SettingsSources,
    VariableValue,
    extra,
    hint,
    number,
    read,
    read_tuned,
    setting,
    setting_fault,
    whole_number,
)

logger = logging.getLogger(__name__)

_OURS = "PHALANX_"


def _checked_redis_url(url: str) -> str:
    if url and (fault := fault_in(url)):
        raise setting_fault(fault)
    return url


def _checked_redis_db(database: int, others: ValidationInfo) -> int:
    """A number beside a URL that names another database would be ignored silently."""
    url = others.data.get("redis_url")
    if url and database_of(url) != database:
        raise setting_fault(
            "redis_url wins over it and names another database; write the number at the end of redis_url"
        )
    return database


def _check_command(line: str) -> str:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise setting_fault(f"it cannot be split into words: {error}") from None
    if not words or "\0" in line:
        raise setting_fault("it names no program")
    return line


def _check_notify_command(given: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if isinstance(given, str):
        return _check_command(given) if given else given
    if not given or not given[0] or any("\0" in word for word in given):
        raise setting_fault("it names no program")
    return given


CheckCommand = Annotated[str, AfterValidator(_check_command)]
NotifyCommand = Annotated[str | tuple[str, ...], AfterValidator(_check_notify_command)]


class Settings(BaseModel):
    """Frozen. Times and sizes are in the unit that ``describe`` gives for them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_concurrent_spawns: int = whole_number(
        5, "MAX_CONCURRENT_SPAWNS", "instances", 1, 100, "Most instances that start at the same time."
    )
    max_concurrent_git_ops: int = whole_number(
        3, "MAX_CONCURRENT_GIT_OPS", "operations", 1, 100, "Most git operations of git_batch that run at the same time."
    )
    message_batch_size: int = whole_number(
        10, "MESSAGE_BATCH_SIZE", "messages", 1, 1000, "Most messages that go to an instance in one paste."
    )
    message_batch_delay: float = number(
        100,
        "MESSAGE_BATCH_DELAY",
        "ms",
        0,
        60_000,
        "How long a message that came soon after another waits for more to join it.",
    )
    cache_size: int = whole_number(
        1000, "CACHE_SIZE", "answers", 0, 100_000, "Most answers of git that are kept; 0 keeps none."
    )
    cache_ttl: float = number(
        60_000,
        "CACHE_TTL",
        "ms",
        0,
        86_400_000,
        "How long an answer of git is kept at most; a change in the repository ends it at once.",
    )
    worktree_pool_size: int = whole_number(
        0,
        "WORKTREE_POOL_SIZE",
        "worktrees",
        0,
        500,
        "Spare worktrees that are kept ready for each repository that is worked on.",
    )
    prewarm_instances: int = whole_number(
        1,
        "PREWARM_INSTANCES",
        "instances",
        0,
        500,
        "Spare agents that are kept ready at their prompt where memory allows, of the kind that was spawned last; a "
        "Claude takes 140 MB. 0: none.",
    )
    agent_memory_mb: int = whole_number(
        300,
        "PHALANX_AGENT_MEMORY_MB",
        "MB",
        1,
        100_000,
        "Memory that an agent may take with its actor: one is started only when so much is free.",
    )
    memory_reserve_mb: int = whole_number(
        500, "PHALANX_MEMORY_RESERVE_MB", "MB", 0, 1_000_000, "Memory that starting agents leaves free."
    )
    agent: AgentName = setting(
        "claude",
        "PHALANX_AGENT",
        "",
        " or ".join(AGENT_NAMES),
        "Program of an instance for which spawn names none.",
    )
    claude_command: str = setting(
        "claude",
        "PHALANX_CLAUDE_COMMAND",
        "",
        "a path, or a name on PATH",
        "The program that is Claude Code.",
        pattern=r"^[^\x00]+$",
    )
    allow_bypass_permissions: bool = setting(
        False,
        "PHALANX_ALLOW_BYPASS_PERMISSIONS",
        "",
        "true or false",
        "Whether an instance may be spawned in the permission mode bypassPermissions, in which it asks for nothing.",
    )
    siblings_may_send: bool = setting(
        False,
        "PHALANX_SIBLINGS_MAY_SEND",
        "",
        "true or false",
        "Whether specialists that the same instance leads may send messages to each other.",
    )
    tell_leads: bool = setting(
        True,
        "PHALANX_TELL_LEADS",
        "",
        "true or false",
        "Whether an instance that leads others gets what happens to them as a message.",
    )
    continue_after_rate_limit: bool = setting(
        True,
        "PHALANX_CONTINUE_AFTER_RATE_LIMIT",
        "",
        "true or false",
        "Whether a turn that failed at a limit of the account is continued by itself when that has ended.",
    )
    demo_start_s: float = number(0.0, "PHALANX_DEMO_START_S", "s", 0, 600, "How long a demo agent takes to start.")
    spawn_timeout_s: float = number(
        90.0,
        "PHALANX_SPAWN_TIMEOUT_S",
        "s",
        1,
        3600,
        "Longest time from an agent's start to its first message; also how long a start waits for memory.",
    )
    on_agent_failure: Literal["report", "resume"] = setting(
        "report",
        "PHALANX_ON_AGENT_FAILURE",
        "",
        "report or resume",
        "What becomes of an agent that ended without having been asked to: it is shown as failed, or it is started "
        "again with its conversation.",
    )
    resume_limit: int = whole_number(
        3,
        "PHALANX_RESUME_LIMIT",
        "times",
        1,
        100,
        "How often in a row a failed agent is started again; each time after a longer pause.",
    )
    ray_address: str = setting(
        "",
        "PHALANX_RAY_ADDRESS",
        "",
        "ADDRESS:PORT of the head of a Ray cluster that runs on this machine, too",
        "A Ray cluster to join, on whose hosts instances are placed; without it the team has a Ray of its own, on this "
        "machine alone.",
        pattern=r"^(|\[?[0-9A-Za-z.:_-]+\]?:[0-9]{1,5})$",
    )
    host_instances: int = whole_number(
        0,
        "PHALANX_HOST_INSTANCES",
        "instances",
        0,
        1000,
        "In a cluster: most instances on one host; 0: as many as it offers slots.",
    )
    save_interval_s: float = number(
        60.0,
        "PHALANX_SAVE_INTERVAL_S",
        "s",
        0,
        86_400,
        "In a cluster: how often what an instance on another host has not committed is saved and carried to this one; "
        "0: never.",
    )
    recycle_context_tokens: int = whole_number(
        0,
        "PHALANX_RECYCLE_CONTEXT_TOKENS",
        "tokens",
        0,
        100_000_000,
        "An idle instance whose conversation has grown so long is handed over to a fresh one; 0: never.",
    )
    recycle_after_tasks: int = whole_number(
        0,
        "PHALANX_RECYCLE_AFTER_TASKS",
        "messages",
        0,
        1_000_000,
        "An idle instance that was given so many messages is handed over to a fresh one; 0: never.",
    )
    redis_url: Annotated[str, AfterValidator(_checked_redis_url)] = setting(
        "",
        "REDIS_URL",
        "",
        "redis://, unix://, redis+cluster://, redis+sentinel://, with TLS rediss:// and so on; with user and password",
        "A Redis that mirrors the team's state; wins over redis_host. It may hold a password.",
        repr=False,
    )
    redis_host: str = setting(
        "",
        "REDIS_HOST",
        "",
        "a host name or address, without port",
        "Host of such a Redis, without TLS and password.",
        pattern=r"^([^\s/@?#:\[\]\x00]*|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*\]?)$",
    )
    redis_port: int = whole_number(6379, "REDIS_PORT", "", 1, 65_535, "Port of redis_host.")
    redis_db: Annotated[int, AfterValidator(_checked_redis_db)] = whole_number(
        0, "REDIS_DB", "", 0, 9999, "Database on redis_host."
    )
    allowed_work_dirs: tuple[Directory, ...] = setting(
        (),
        "PHALANX_ALLOWED_WORK_DIRS",
        "directories",
        f"a list of absolute paths, in the environment joined by '{os.pathsep}'",
        "Instances may only work inside these; none given: in any directory but '/', the user's home directory itself "
        "and Phalanx's own home.",
    )
    merge_checks: tuple[CheckCommand, ...] = setting(
        (),
        "",
        "commands",
        "a list of command lines, split into words as a shell does but run without one",
        "Commands that a merge may be asked to run, such as the tests of a project.",
    )
    merge_check_timeout_s: float = number(
        600.0, "PHALANX_MERGE_CHECK_TIMEOUT_S", "s", 1, 3600, "How long one run of such a command may take."
    )
    notify_command: NotifyCommand = setting(
        "",
        "PHALANX_NOTIFY_COMMAND",
        "",
        "a command line, split into words as a shell does but run without one, or a list of words",
        "A command of yours that is run when something happens, with each event as a line of JSON on its stdin.",
    )
    notify_kinds: tuple[EventKind, ...] = setting(
        ("needs_attention", "failed", "limit_reached", "alert"),
        "PHALANX_NOTIFY_KINDS",
        "",
        f"a list of {', '.join(STORED_KINDS)}; in the environment joined by '{os.pathsep}'",
        "The events of which notify_command and desktop notices tell; of alerts those that are errors.",
    )
    desktop_notices: bool = setting(
        False,
        "PHALANX_DESKTOP_NOTICES",
        "",
        "true or false",
        "Whether they are shown on the desktop too, by notify-send, of whoever brought the team up.",
    )
    env: Mapping[VariableName, VariableValue] = setting(
        {},
        "",
        "",
        "a table of texts, named by letters, digits and '_'; PHALANX_ and RAY_ are reserved",
        "Environment variables for all agents, on top of the caller's.",
    )

    _tuned: SavedChanges = PrivateAttr(default=SavedChanges(values={}))
    _configured: Settings | None = PrivateAttr(default=None)

    @property
    def tuned(self) -> SavedChanges:
        """What was changed while a team ran; it stands in these settings already."""
        return self._tuned

    @property
    def configured(self) -> Settings:
        """The settings without that."""
        return self._configured or self

    @property
    def resumes(self) -> bool:
        return self.on_agent_failure == "resume"

    @property
    def notify_words(self) -> tuple[str, ...]:
        """The program to tell people by, and its arguments; none: there is none."""
        return tuple(shlex.split(self.notify_command)) if isinstance(self.notify_command, str) else self.notify_command

    @property
    def redis_address(self) -> str | None:
        """URL of the Redis that mirrors the state; None: there is none. Show it with ``without_secrets`` only."""
        if self.redis_url:
            return self.redis_url
        return from_parts(self.redis_host, self.redis_port, self.redis_db) if self.redis_host else None

    @classmethod
    def load(cls, home: Home, environment: Mapping[str, str]) -> Self:
        """The settings of a home, with what was changed while a team ran there.

        Raises ``SettingsError`` that names the place, the value and what is allowed.
        """
        tuned = read_tuned(home)
        sources = SettingsSources(
            config=home.config_file, environment=environment, tuned={}, tuned_file=home.tuned_file
        )
        configured = read(cls, sources)
        read(cls, replace(sources, tuned=tuned.values))  # tells a fault with its place
        return configured.with_tuned(tuned)

    def with_tuned(self, tuned: SavedChanges) -> Self:
        """These settings with what was changed while a team ran. Raises ``ValueError`` for values that cannot be."""
        if not tuned.in_words:
            return self
        settings = type(self)(**{**self.model_dump(exclude_unset=True), **tuned.values})
        settings._tuned, settings._configured = tuned, self
        return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInfo:
    """One row of ``describe``. ``name`` is the key in ``config.toml``; it or ``variable`` may be empty: not there."""

    name: str
    variable: str
    unit: str
    allowed: str
    default: str
    meaning: str


def describe() -> tuple[SettingInfo, ...]:
    """Every setting, in the order of the documentation; the home itself comes first."""
    home = SettingInfo(
        name="",
        variable=HOME_VARIABLE,
        unit="",
        allowed="a directory of its own, with a short path",
        default=DEFAULT_HOME,
        meaning="Where everything of one team lives; two homes are two teams.",
    )
    return (home, *(_row(name, field) for name, field in Settings.model_fields.items()))


def setting_variables() -> frozenset[str]:
    """The environment variables that ``load`` reads."""
    return frozenset(extra(field, "variable") for field in Settings.model_fields.values()) - {""}


def _row(name: str, field: FieldInfo) -> SettingInfo:
    return SettingInfo(
        name=name,
        variable=extra(field, "variable"),
        unit=extra(field, "unit"),
        allowed=extra(field, "allowed"),
        default=_shown(field.default),
        meaning=field.description or "",
    )


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ", ".join(default)
    return "" if default == {} else str(default)


def check_variables(names: Iterable[str]) -> None:
    """Raises ``SettingsError`` for variables that begin as ours do and are none: with a typo a setting has no effect.

    Called when a team is brought up, not when one comes back: that must not fail because of a later setting.
    """
    settings = setting_variables() | {HOME_VARIABLE}
    known = settings | DEMO_VARIABLES | MARKS
    unknown = [name for name in sorted(names) if name.startswith(_OURS) and name not in known]
    if unknown:
        told = [_unknown(name, settings) for name in unknown]
        raise SettingsError("\n".join([*told, "Unset or correct it."]))


def _unknown(name: str, settings: Iterable[str]) -> str:
    ours = sorted(each for each in settings if each.startswith(_OURS))
    return f"{name} is no known variable. {hint(name, sorted({*settings, *DEMO_VARIABLES}), ours)}"


def keep_settings(home: Home, settings: Settings) -> None:
    """Only what was given: a default may contradict it. What was changed while a team ran is kept elsewhere already.

    Raises ``SettingsError``.
    """
    write_private(home.settings_file, settings.configured.model_dump_json(exclude_unset=True))


def waiting_settings(home: Home, settings: Settings) -> list[str]:
    """Names of those that a team that runs does not know yet: they are read when it is brought up anew."""
    kept = kept_settings(home)
    if kept is None:
        return []
    known, now = kept.configured, settings.configured
    return [name for name in Settings.model_fields if getattr(known, name) != getattr(now, name)]


def kept_settings(home: Home) -> Settings | None:
    """With what was changed while the team ran. None when there are none that can be read. What only another version
    of Phalanx knows is left out."""
    try:
        given = json.loads(home.settings_file.read_text())
        settings = Settings(**{name: value for name, value in given.items() if name in Settings.model_fields})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    try:
        return settings.with_tuned(read_tuned(home))
    except (SettingsError, ValueError) as error:
        logger.warning("the team comes back without the settings that were changed while it ran: %s", error)
        return settings
