"""What a person can set for a team: ``config.toml`` in the home, then the environment, which wins.

Read once where a process begins; everything below gets values. ``describe`` is the table for the documentation and
``phalanx doctor``. Keys in the file are the lower-case names below; a key that is not known is refused.
"""

from __future__ import annotations

import difflib
import os
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from actors.errors import SettingsError
from actors.home import Home
from supervisor.redis_address import WITH_REASON, RedisDatabase, RedisUrl, from_parts
from supervisor.requests import VariableName

HOME_VARIABLE = "PHALANX_HOME"
DEFAULT_HOME = "~/.phalanx"
_SECRET = frozenset({"env", "redis_url", "redis_host"})
"""Settings whose values are never shown: whoever gets redis_host wrong may have put a password there."""


def _absolute(directory: Path) -> Path:
    expanded = directory.expanduser()
    if not expanded.is_absolute():
        raise ValueError("not absolute")
    return expanded


def _setting(default: Any, variable: str, unit: str, allowed: str, meaning: str, **limits: Any) -> Any:
    extra: dict[str, JsonValue] = {"variable": variable, "unit": unit, "allowed": allowed}
    return Field(default=default, description=meaning, json_schema_extra=extra, **limits)


_Directory = Annotated[Path, AfterValidator(_absolute)]
_VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingInfo:
    """One row of ``describe``. ``name`` is the key in ``config.toml``; it or ``variable`` may be empty: not there."""

    name: str
    variable: str
    unit: str
    allowed: str
    default: str
    meaning: str


class Settings(BaseModel):
    """Frozen. Times and sizes are in the unit that ``describe`` gives for them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    max_concurrent_spawns: int = _setting(
        5,
        "MAX_CONCURRENT_SPAWNS",
        "instances",
        "a whole number from 1 to 100",
        "Most instances that start at the same time.",
        ge=1,
        le=100,
    )
    message_batch_size: int = _setting(
        10,
        "MESSAGE_BATCH_SIZE",
        "messages",
        "a whole number from 1 to 1000",
        "Most messages that go to an instance in one paste.",
        ge=1,
        le=1000,
    )
    message_batch_delay: float = _setting(
        100,
        "MESSAGE_BATCH_DELAY",
        "ms",
        "a number from 0 to 60000",
        "How long a message waits for others to join it.",
        ge=0,
        le=60_000,
    )
    agent: Literal["claude", "demo"] = _setting(
        "claude",
        "PHALANX_AGENT",
        "",
        "claude or demo",
        "Program of an instance for which spawn names none.",
    )
    claude_command: str = _setting(
        "claude",
        "PHALANX_CLAUDE_COMMAND",
        "",
        "a path, or a name on PATH",
        "The program that is Claude Code.",
        pattern=r"^[^\x00]+$",
    )
    demo_start_s: float = _setting(
        0.0,
        "PHALANX_DEMO_START_S",
        "s",
        "a number from 0 to 600",
        "How long a demo agent takes to start.",
        ge=0,
        le=600,
    )
    spawn_timeout_s: float = _setting(
        90.0,
        "PHALANX_SPAWN_TIMEOUT_S",
        "s",
        "a number from 1 to 3600",
        "Longest time from an agent's start to its first message.",
        ge=1,
        le=3600,
    )
    on_agent_failure: Literal["report", "resume"] = _setting(
        "report",
        "PHALANX_ON_AGENT_FAILURE",
        "",
        "report or resume",
        "What becomes of an agent that ended without having been asked to: it is shown as failed, or it is started "
        "again with its conversation.",
    )
    resume_limit: int = _setting(
        3,
        "PHALANX_RESUME_LIMIT",
        "times",
        "a whole number from 1 to 100",
        "How often in a row a failed agent is started again; each time after a longer pause.",
        ge=1,
        le=100,
    )
    redis_url: RedisUrl = _setting(
        "",
        "REDIS_URL",
        "",
        "redis://, unix://, redis+cluster://, with TLS rediss://, rediss+cluster://; with user and password if need be",
        "A Redis that keeps a second copy of the team's state; wins over redis_host. It may hold a password.",
        repr=False,
    )
    redis_host: str = _setting(
        "",
        "REDIS_HOST",
        "",
        "a host name or address, without port",
        "Host of such a Redis, without TLS and password.",
        pattern=r"^([^\s/@?#:\[\]\x00]*|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*\]?)$",
    )
    redis_port: int = _setting(
        6379, "REDIS_PORT", "", "a whole number from 1 to 65535", "Port of redis_host.", ge=1, le=65_535
    )
    redis_db: RedisDatabase = _setting(
        0, "REDIS_DB", "", "a whole number from 0 to 9999", "Database on redis_host.", ge=0, le=9999
    )
    allowed_work_dirs: tuple[_Directory, ...] = _setting(
        (),
        "PHALANX_ALLOWED_WORK_DIRS",
        "directories",
        f"a list of absolute paths, in the environment joined by '{os.pathsep}'",
        "Instances may only work inside these; none given: in any directory but '/', the user's home directory itself "
        "and Phalanx's own home.",
    )
    env: Mapping[VariableName, _VariableValue] = _setting(
        {},
        "",
        "",
        "a table of texts, named by letters, digits and '_'; PHALANX_ and RAY_ are reserved",
        "Environment variables for all agents, on top of the caller's.",
    )

    @property
    def redis_address(self) -> str | None:
        """URL of the Redis that keeps the second copy; None: there is none. Show it with ``without_secrets`` only."""
        if self.redis_url:
            return self.redis_url
        return from_parts(self.redis_host, self.redis_port, self.redis_db) if self.redis_host else None

    @classmethod
    def load(cls, home: Home, environment: Mapping[str, str]) -> Self:
        """The settings of a home. Raises ``SettingsError`` that names the place, the value and what is allowed."""
        in_file = _read_config(home.config_file)
        in_environment = _read_environment(environment)
        try:
            return cls(**{**in_file, **in_environment})
        except ValidationError as error:
            faults = [_tell(fault, home.config_file, in_environment) for fault in error.errors(include_url=False)]
            raise SettingsError("\n".join(faults)) from None


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


def home_from(environment: Mapping[str, str]) -> Home:
    """The home that ``PHALANX_HOME`` names, else the default one; its path is absolute."""
    given = environment.get(HOME_VARIABLE) or DEFAULT_HOME
    user_home = environment.get("HOME")
    if user_home and (given == "~" or given.startswith("~/")):
        given = user_home + given[1:]
    return Home(Path(os.path.normpath(Path(given).expanduser().absolute())))


def setting_variables() -> frozenset[str]:
    """The environment variables that ``load`` reads."""
    return frozenset(_extra(name, "variable") for name in Settings.model_fields) - {""}


def _row(name: str, field: FieldInfo) -> SettingInfo:
    return SettingInfo(
        name=name,
        variable=_extra(name, "variable"),
        unit=_extra(name, "unit"),
        allowed=_extra(name, "allowed"),
        default="" if field.default in ((), {}) else str(field.default),
        meaning=field.description or "",
    )


def _extra(name: str, key: str) -> str:
    extra = Settings.model_fields[name].json_schema_extra
    return str(extra[key]) if isinstance(extra, dict) else ""


def _read_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """An empty variable counts as not set."""
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        text = environment.get(_extra(name, "variable"), "")
        if text:
            given[name] = tuple(filter(None, text.split(os.pathsep))) if name == "allowed_work_dirs" else text
    return given


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}. Correct it there.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Make it a file that you can read.") from error
    for key in config:
        if key not in Settings.model_fields:
            raise SettingsError(_unknown(key, path))
    return config


def _unknown(key: str, path: Path) -> str:
    known = tuple(Settings.model_fields)
    close = difflib.get_close_matches(key.lower(), known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"{path}: {key} is no known setting.{hint} Known are: {', '.join(known)}."


def _tell(fault: ErrorDetails, config: Path, in_environment: Mapping[str, Any]) -> str:
    """One fault in words. A value that may be a secret is not shown."""
    name = str(fault["loc"][0])
    place = _extra(name, "variable") if name in in_environment else f"{config}: {name}"
    steps = [step for step in fault["loc"][1:] if step != "[key]"]
    inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    given = "as it is" if name in _SECRET else reprlib.repr(fault["input"])
    reason = f": {fault['msg']}" if fault["type"] == WITH_REASON else ""
    unit = _extra(name, "unit")
    allowed = f"{_extra(name, 'allowed')}{f' ({unit})' if unit else ''}"
    return f"{place}{inner} cannot be {given}{reason}. Allowed: {allowed}."
