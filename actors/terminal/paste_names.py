"""The names of pastes: each paste has one of its own, which is also the name of its tmux buffer."""

from __future__ import annotations

import os
import re

_NAME = re.compile(r"phalanx-[0-9a-f]{32}")


def paste_name() -> str:
    """A name that no other paste has."""
    return f"phalanx-{os.urandom(16).hex()}"


def checked(name: str) -> str:
    """The name, which holds nothing that tmux could take for a command. Raises ``ValueError`` for any other text."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not the name of a paste: {name!r} (take one from paste_name)")
    return name
