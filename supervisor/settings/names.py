"""Which variables of the environment are Phalanx's, so that none that is only nearly so passes in silence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from actors.agents.demo.options import VARIABLES as DEMO_VARIABLES
from actors.errors import SettingsError
from actors.marks import MARKS
from supervisor.settings.place import HOME_VARIABLE
from supervisor.settings.table import setting_variables

_OURS = "PHALANX_"


def check_variables(names: Iterable[str]) -> None:
    """Raises ``SettingsError`` for variables that begin as ours do and are none: with a typo a setting has no effect.

    For who brings a team up; one that is coming back must not fail because of what somebody has set meanwhile.
    """
    settings = setting_variables() | {HOME_VARIABLE}
    known = settings | DEMO_VARIABLES | MARKS
    told = [_unknown(name, settings) for name in sorted(names) if name.startswith(_OURS) and name not in known]
    if told:
        ours = ", ".join(sorted(name for name in settings if name.startswith(_OURS)))
        raise SettingsError("\n".join([*told, f"Unset or correct it. Known are: {ours}."]))


def _unknown(name: str, settings: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted({*settings, *DEMO_VARIABLES}), n=1)
    return f"{name} is no known variable.{f' Did you mean {close[0]}?' if close else ''}"
