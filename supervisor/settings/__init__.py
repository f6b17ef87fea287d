"""What a person can set for a team: ``config.toml`` in the home, then the environment, which wins.

Read once where a process begins; everything below gets values. ``describe`` is the table for the documentation and
``phalanx doctor``. Keys in the file are the lower-case names below; a key that is not known is refused.
"""

from __future__ import annotations

from supervisor.settings.model import (
    SettingInfo,
    Settings,
    check_variables,
    describe,
    keep_settings,
    kept_settings,
    setting_variables,
    waiting_settings,
)

__all__ = [
    "SettingInfo",
    "Settings",
    "check_variables",
    "describe",
    "keep_settings",
    "kept_settings",
    "setting_variables",
    "waiting_settings",
]
