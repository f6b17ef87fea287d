"""The settings with which a team was brought up, kept in its home (0600) as long as it lives.

The supervisor and the runtime bring a part of the team back with these: edits of the configuration count from the next
``phalanx up`` on, and a fault in them harms no team that is coming back.
"""

from __future__ import annotations

import json
import logging

from actors.errors import SettingsError
from actors.files import write_private
from actors.home import Home
from supervisor.settings.model import Settings
from supervisor.settings.sources import read_tuned

logger = logging.getLogger(__name__)


def keep_settings(home: Home, settings: Settings) -> None:
    """Only what was given: a default may contradict it. What was changed while a team ran is kept elsewhere already.

    Raises ``SettingsError``.
    """
    write_private(home.settings_file, settings.configured.model_dump_json(exclude_unset=True))


def waiting_settings(home: Home, settings: Settings) -> list[str]:
    """Names of those that a team that runs does not know yet: they are read when it is brought up anew."""
    kept = kept_settings(home)
    if kept is None:
        return []
    known, now = kept.configured, settings.configured
    return [name for name in Settings.model_fields if getattr(known, name) != getattr(now, name)]


def kept_settings(home: Home) -> Settings | None:
    """With what was changed while the team ran. None when there are none that can be read. What only another version
    of Phalanx knows is left out."""
    try:
        given = json.loads(home.settings_file.read_text())
        settings = Settings(**{name: value for name, value in given.items() if name in Settings.model_fields})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    try:
        return settings.with_tuned(read_tuned(home))
    except (SettingsError, ValueError) as error:
        logger.warning("the team comes back without the settings that were changed while it ran: %s", error)
        return settings
