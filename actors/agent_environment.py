"""The environment that agents run with, as the home keeps it: written by the runtime, read on the host itself.

It may hold secrets, so it stays on the machine and never passes through Ray.
"""

from __future__ import annotations

import json
from typing import Any

from actors.errors import SettingsError
from actors.home import Home
from actors.private_files import write_private


def write_environment(home: Home, environment: dict[str, str]) -> None:
    """Raises ``SettingsError``."""
    write_private(home.environment_file, json.dumps(environment))


def read_environment(home: Home) -> dict[str, str]:
    """Raises ``SettingsError`` that says what to do when the file is missing or damaged."""
    try:
        return _checked(json.loads(home.environment_file.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            f"{home.environment_file}, with the environment that agents run with, cannot be read: {error}. Agents that "
            "live go on, but none can be started. Put a copy of the file back; or run phalanx down, then phalanx up "
            "--resume: that writes it anew."
        ) from error


def _checked(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise TypeError("it is no list of variables")
    return found
