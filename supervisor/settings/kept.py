"""The settings with which a team was brought up, kept in its home (0600) as long as it lives.

Whoever brings a part of it back later uses these: what somebody has edited or set meanwhile counts from the next
``phalanx up`` on, and a fault in it harms no team that is coming back.
"""

from __future__ import annotations

import json

from actors.home import Home
from actors.private_files import write_private
from supervisor.settings.model import Settings


def keep_settings(home: Home, settings: Settings) -> None:
    """Only what was given: a default may contradict it. Raises ``SettingsError``."""
    write_private(home.settings_file, settings.model_dump_json(exclude_unset=True))


def kept_settings(home: Home) -> Settings | None:
    """None when there are none that can be read. What only another version of Phalanx knows is left out."""
    try:
        given = json.loads(home.settings_file.read_text())
        return Settings(**{name: value for name, value in given.items() if name in Settings.model_fields})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
