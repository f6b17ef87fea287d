"""What else to say to who typed a command that cannot be understood. Loaded only then."""

from __future__ import annotations

import re
from typing import Any

_SETTING = re.compile(r"([A-Za-z_]+)=([^\s)]+)")


def hint(command: Any, message: str) -> str:
    """What probably was meant, from the parameters of the command; empty where nobody can tell."""
    parameters = {each.name: each for each in command.params}
    for name, value in _SETTING.findall(message):
        meant = next((each for key, each in parameters.items() if _plain(key) == _plain(name)), None)
        if meant is not None:
            return f"Did you mean {meant.opts[0]} {value}?"
    if "text" in parameters:
        return 'Give a text of several words in quotes, and one that begins with a dash after --: -- "-1 is wrong".'
    return ""


def _plain(name: str) -> str:
    """Without what differs between the name of a setting in settings, in tools and here."""
    return name.replace("_", "").lower()
