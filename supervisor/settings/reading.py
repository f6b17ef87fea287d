"""Reads values from ``config.toml`` and the environment; a fault is told with its place and what is allowed."""

from __future__ import annotations

import difflib
import os
import reprlib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from actors.errors import SettingsError
from supervisor.settings.fields import extra
from supervisor.store.redis_url import WITH_REASON

_ModelT = TypeVar("_ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where settings come from; what stands later here wins."""

    config: Path
    environment: Mapping[str, str]
    tuned: Mapping[str, Any]
    tuned_file: Path
    """Where ``tuned`` was read."""


def read(model: type[_ModelT], places: Places, *, secret: Collection[str]) -> _ModelT:
    """The model with what the places give. ``secret``: settings whose values are never shown.

    Raises ``SettingsError`` that names the place, the value and what is allowed.
    """
    in_file = _read_config(places.config, model)
    in_environment = _read_environment(places.environment, model)
    try:
        return model(**{**in_file, **in_environment, **places.tuned})
    except ValidationError as error:
        told = _Faults(model, places, in_environment, secret)
        raise SettingsError("\n".join(map(told.tell, error.errors(include_url=False)))) from None


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


def _unknown(key: str, path: Path, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(key.lower(), known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"{path}: {key} is no known setting.{hint} Known are: {', '.join(known)}."


@dataclass(frozen=True, slots=True)
class _Faults:
    """Tells faults in words."""

    model: type[BaseModel]
    places: Places
    in_environment: Mapping[str, Any]
    secret: Collection[str]

    def tell(self, fault: ErrorDetails) -> str:
        name = str(fault["loc"][0])
        field = self.model.model_fields[name]
        place = self._place(name, extra(field, "variable"))
        steps = [step for step in fault["loc"][1:] if step != "[key]"]
        inner = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        given = "as it is" if name in self.secret else reprlib.repr(fault["input"])
        reason = f": {fault['msg']}" if fault["type"] == WITH_REASON else ""
        unit = extra(field, "unit")
        allowed = f"{extra(field, 'allowed')}{f' ({unit})' if unit else ''}"
        return f"{place}{inner} cannot be {given}{reason}. Allowed: {allowed}."

    def _place(self, name: str, variable: str) -> str:
        if name in self.places.tuned:
            return f"{self.places.tuned_file}: {name}"
        return variable if name in self.in_environment else f"{self.places.config}: {name}"
