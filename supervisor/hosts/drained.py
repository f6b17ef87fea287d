"""Which hosts take no new instances, kept in the home so that it outlives the supervisor. Blocks."""

from __future__ import annotations

import json
from collections.abc import Collection

from actors.files import write_private
from actors.home import Home


def read_drained(home: Home) -> set[str]:
    """Empty when nothing is kept."""
    try:
        return set(map(str, json.loads(home.drained_file.read_text())))
    except (OSError, ValueError, TypeError):
        return set()


def write_drained(home: Home, hosts: Collection[str]) -> None:
    """Raises ``SettingsError``."""
    write_private(home.drained_file, json.dumps(sorted(hosts)))
