"""How a setting is declared, and the kinds of values that need more than a type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, JsonValue, StringConstraints
from pydantic.fields import FieldInfo

SECRET = frozenset({"env", "redis_url", "redis_host"})
"""Settings whose values are never shown: whoever gets redis_host wrong may have put a password there."""


def _absolute(directory: Path) -> Path:
    expanded = directory.expanduser()
    if not expanded.is_absolute():
        raise ValueError("not absolute")
    return expanded


def setting(default: Any, variable: str, unit: str, allowed: str, meaning: str, **limits: Any) -> Any:
    given: dict[str, JsonValue] = {"variable": variable, "unit": unit, "allowed": allowed}
    return Field(default=default, description=meaning, json_schema_extra=given, **limits)


def extra(field: FieldInfo, key: str) -> str:
    """What ``setting`` was given under ``key``."""
    given = field.json_schema_extra
    return str(given[key]) if isinstance(given, dict) else ""


Directory = Annotated[Path, AfterValidator(_absolute)]
VariableValue = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
