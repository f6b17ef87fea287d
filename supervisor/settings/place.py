"""Where the home of a team is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from actors.home import Home

HOME_VARIABLE = "PHALANX_HOME"
DEFAULT_HOME = "~/.phalanx"


def home_from(environment: Mapping[str, str]) -> Home:
    """The home that ``PHALANX_HOME`` names, else the default one; its path is absolute."""
    given = environment.get(HOME_VARIABLE) or DEFAULT_HOME
    user_home = environment.get("HOME")
    if user_home and (given == "~" or given.startswith("~/")):
        given = user_home + given[1:]
    return Home(Path(os.path.normpath(Path(given).expanduser().absolute())))
