"""How findings name durations and instances; pure."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.performance.facts import Waiting

_MOST_NAMED = 3
_LONGEST_WHY = 120
_MINUTE_S = 60
_HOUR_S = 3600


def duration(seconds: float) -> str:
    """In its largest unit that shows at least two of them."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 2 * _HOUR_S else f"{seconds / _HOUR_S:.0f} h"


def who(waiting: Sequence[Waiting]) -> str:
    """A few of them, who has waited longest first, each once and with its reason."""
    reasons: dict[str, str] = {}
    for one in sorted(waiting, key=lambda one: -one.for_s):
        reasons.setdefault(one.instance_id, " ".join(one.why.split())[:_LONGEST_WHY].rstrip(". "))
    named = [f"{name} ({why})" if why else name for name, why in list(reasons.items())[:_MOST_NAMED]]
    more = [f"and {len(reasons) - _MOST_NAMED} more"] if len(reasons) > _MOST_NAMED else []
    return ", ".join([*named, *more])
