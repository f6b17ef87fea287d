"""The settings as a table, for the documentation and ``phalanx doctor``."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic.fields import FieldInfo

from supervisor.settings.fields import extra
from supervisor.settings.model import Settings
from supervisor.settings.place import DEFAULT_HOME, HOME_VARIABLE


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
        default="" if field.default in ((), {}) else str(field.default),
        meaning=field.description or "",
    )
