"""What was changed of the settings while a team ran, kept in the home so that it holds for the next team too.

``optimize_settings`` writes it; ``Settings.load`` reads it last, so it wins over the configuration until it is reset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actors.errors import SettingsError
from actors.files import write_private
from actors.home import Home

TUNABLE = (
    "max_concurrent_spawns",
    "max_concurrent_git_ops",
    "message_batch_size",
    "message_batch_delay",
    "cache_size",
    "cache_ttl",
    "worktree_pool_size",
    "prewarm_instances",
)
"""Settings that can be changed while the team runs."""
_AUTO = "auto"
HOW_TO_RESET = "`phalanx tune --reset` takes it back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    values: Mapping[str, Any]
    """By the names of ``TUNABLE``; only what was changed."""
    auto: bool = False
    """The supervisor tunes the spawn cap by itself."""

    @property
    def in_words(self) -> str:
        """For people; empty when nothing was changed."""
        parts = [f"{name} = {value:g}" for name, value in self.values.items()]
        if self.auto:
            parts.append("the spawn cap tunes itself")
        return f"changed while a team ran: {', '.join(parts)}; {HOW_TO_RESET}" if parts else ""


def read_tuned(home: Home) -> Tuned:
    """Raises ``SettingsError`` for a file that is damaged."""
    path = home.tuned_file
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        auto = found.pop(_AUTO, False)
        strange = [name for name, value in found.items() if name not in TUNABLE or not isinstance(value, int | float)]
    except FileNotFoundError:
        return Tuned(values={})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): remove it, then the configuration applies.") from None
    if strange or not isinstance(auto, bool):
        raise SettingsError(
            f"{path} holds {strange or auto!r}, which this version of Phalanx does not know: remove it."
        )
    return Tuned(values=found, auto=auto)


def write_tuned(home: Home, tuned: Tuned) -> None:
    """Raises ``SettingsError``; then it is as it was before."""
    write_private(home.tuned_file, json.dumps({**tuned.values, _AUTO: tuned.auto}, indent=2) + "\n")
