"""Where the values of settings come from: ``config.toml``, the environment, changes of a running team.

``Settings`` declares its fields with ``setting`` and is read with ``read``, which reports a fault with its place and
what is allowed. ``SettingsService`` writes the changes of a running team into the home, so that they hold for the next
team too; they are read last and win until they are reset.
"""

from __future__ import annotations

import difflib
import json
import os
import reprlib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, Field, JsonValue, StringConstraints, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from actors.errors import SettingsError
from actors.files import write_private
from actors.home import Home

_WITH_REASON = "with_reason"
"""The type of the validation errors whose message is for people."""
_SECRET = frozenset({"env", "redis_url", "redis_host"})
"""Settings whose values are never shown: a wrong redis_host may hold a password."""

VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_ModelT = TypeVar("_ModelT", bound=BaseModel)

TUNABLE = (
    "max_concurrent_spawns",
    "max_concurrent_git_ops",
    "message_batch_size",
    "message_batch_delay",
    "cache_size",
    "cache_ttl",
    "worktree_pool_size",
    "prewarm_instances",
)
"""Settings that can be changed while the team runs."""
_AUTO = "auto"
_GONE: Mapping[str, str] = dict.fromkeys(
    ("spare_actors", "PHALANX_SPARE_ACTORS"),
    "Earlier versions had it: the processes that follow agents start so fast now that no spare ones are kept.",
)
"""Settings that there were, by their names and variables, with what to say of them."""
HOW_TO_RESET = "`phalanx tune --reset` takes it back"


def _absolute(directory: Path) -> Path:
    expanded = directory.expanduser()
    if not expanded.is_absolute():
        raise ValueError("not absolute")
    return expanded


def setting(default: Any, variable: str, unit: str, allowed: str, meaning: str, **limits: Any) -> Any:
    given: dict[str, JsonValue] = {"variable": variable, "unit": unit, "allowed": allowed}
    return Field(default=default, description=meaning, json_schema_extra=given, **limits)


def whole_number(default: int, variable: str, unit: str, least: int, most: int, meaning: str) -> Any:
    return setting(default, variable, unit, f"a whole number from {least} to {most}", meaning, ge=least, le=most)


def number(default: float, variable: str, unit: str, least: int, most: int, meaning: str) -> Any:
    return setting(default, variable, unit, f"a number from {least} to {most}", meaning, ge=least, le=most)


def setting_fault(reason: str) -> PydanticCustomError:
    """For a validator of a setting to raise: ``read`` tells people the reason."""
    return PydanticCustomError(_WITH_REASON, "{reason}", {"reason": reason})


def extra(field: FieldInfo, key: str) -> str:
    """What ``setting`` was given under ``key``."""
    given = field.json_schema_extra
    return str(given[key]) if isinstance(given, dict) else ""


Directory = Annotated[Path, AfterValidator(_absolute)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsSources:
    """Where settings come from; what stands later here wins."""

    config: Path
    environment: Mapping[str, str]
    tuned: Mapping[str, Any]
    tuned_file: Path
    """Where ``tuned`` was read."""


def read(model: type[_ModelT], sources: SettingsSources) -> _ModelT:
    """The model with what the sources give. Raises ``SettingsError`` with the place, the value and what is allowed.

    A fault needs a setting to name, so a rule over several settings is a validator of the last of them, as that of
    ``redis_db``. It sees those that come before it in the model.
    """
    in_file = _read_config(sources.config, model)
    in_environment = _read_environment(sources.environment, model)
    try:
        return model(**{**in_file, **in_environment, **sources.tuned})
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise SettingsError("\n".join(_in_words(each, model, sources, in_environment) for each in faults)) from None


def _read_environment(environment: Mapping[str, str], model: type[BaseModel]) -> dict[str, Any]:
    """An empty variable counts as not set."""
    given: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        text = environment.get(extra(field, "variable"), "")
        if text:
            given[name] = tuple(filter(None, text.split(os.pathsep))) if isinstance(field.default, tuple) else text
    return given


def _read_config(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}. Correct it there.") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}. Make it a file that you can read.") from error
    for key in config:
        if key not in model.model_fields:
            raise SettingsError(_unknown(key, path, tuple(model.model_fields)))
    return config


def _unknown(key: str, path: Path, known: Sequence[str]) -> str:
    return f"{path}: {key} is no known setting. {hint(key.lower(), known, known)}"


def hint(unknown: str, possible: Sequence[str], known: Sequence[str]) -> str:
    """Why it is gone, or the nearest of the possible names; all known ones where none is near."""
    if unknown in _GONE:
        return _GONE[unknown]
    close = difflib.get_close_matches(unknown, possible, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(known)}."


def _in_words(
    fault: ErrorDetails, model: type[BaseModel], sources: SettingsSources, in_environment: Collection[str]
) -> str:
    name = str(fault["loc"][0])
    field = model.model_fields[name]
    if name in sources.tuned:
        place = f"{sources.tuned_file}: {name}"
    else:
        place = extra(field, "variable") if name in in_environment else f"{sources.config}: {name}"
    steps = [step for step in fault["loc"][1:] if step != "[key]"]
    inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    given = "as it is" if name in _SECRET else reprlib.repr(fault["input"])
    reason = f": {fault['msg']}" if fault["type"] == _WITH_REASON else ""
    unit = extra(field, "unit")
    allowed = f"{extra(field, 'allowed')}{f' ({unit})' if unit else ''}"
    return f"{place}{inner} cannot be {given}{reason}. Allowed: {allowed}."


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedChanges:
    """What was changed of the settings while a team ran."""

    values: Mapping[str, Any]
    """By the names of ``TUNABLE``; only what was changed."""
    auto: bool = False
    """The supervisor tunes the spawn cap by itself."""

    @property
    def in_words(self) -> str:
        """For people; empty when nothing was changed."""
        parts = [f"{name} = {value:g}" for name, value in self.values.items()]
        if self.auto:
            parts.append("the spawn cap tunes itself")
        return f"changed while a team ran: {', '.join(parts)}; {HOW_TO_RESET}" if parts else ""


def read_tuned(home: Home) -> SavedChanges:
    """Raises ``SettingsError`` for a file that is damaged."""
    path = home.tuned_file
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        auto = found.pop(_AUTO, False)
        strange = [name for name, value in found.items() if name not in TUNABLE or not isinstance(value, int | float)]
    except FileNotFoundError:
        return SavedChanges(values={})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): remove it, then the configuration applies.") from None
    if strange or not isinstance(auto, bool):
        raise SettingsError(
            f"{path} holds {strange or auto!r}, which this version of Phalanx does not know: remove it."
        )
    return SavedChanges(values=found, auto=auto)


def write_tuned(home: Home, tuned: SavedChanges) -> None:
    """Raises ``SettingsError``; then it is as it was before."""
    write_private(home.tuned_file, json.dumps({**tuned.values, _AUTO: tuned.auto}, indent=2) + "\n")
