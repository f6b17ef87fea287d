"""Which hosts are missed since when, and how long each is waited for before its instances go on elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Collection

FENCE_S = 45.0
"""From when Ray takes a host for dead until its instances are started elsewhere."""
RETURN_S = 300.0
"""The same for a host that this supervisor has not seen yet: when the head comes back with a new Ray, the other hosts
join it one after the other, and their agents live."""


class Absences:
    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._since: dict[str, float] = {}

    def see(self, there: Collection[str]) -> list[str]:
        """Takes down who is there; returns those that were missed until now."""
        back = [host for host in self._since if host in there]
        for host in back:
            del self._since[host]
        self._seen.update(there)
        return back

    def miss(self, host: str, now: float) -> bool:
        """Takes down that it is not there; whether it is not waited for any more."""
        waited_s = now - self._since.setdefault(host, now)
        return waited_s >= (FENCE_S if host in self._seen else RETURN_S)
