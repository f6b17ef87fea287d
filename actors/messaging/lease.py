"""Whether an instance on another host than the supervisor's may still be typed into.

When a host is cut off, its instances are started again elsewhere after a while. The copy there must not type a
message then that the other one gets as well: each question of the supervisor renews the lease, and without it nothing
is typed. The supervisor waits longer than a lease lasts. The lease runs out also while its machine is suspended.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CUT_OFF = "its host is cut off from the team: it may run elsewhere by now"
"""Why nothing is typed while the lease is not held."""


def _since_boot_s() -> float:
    """Of the clock that goes on while the machine is suspended, and that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    def __init__(self, lasts_s: float, clock: Callable[[], float] = _since_boot_s) -> None:
        """``lasts_s`` 0: for ever."""
        self._lasts_s = lasts_s
        self._clock = clock
        self._renewed_at = clock()

    def renew(self) -> None:
        self._renewed_at = self._clock()

    @property
    def held(self) -> bool:
        return not self._lasts_s or self._clock() - self._renewed_at < self._lasts_s
