"""The settings that can change while the team runs, and profiles for teams of each size.

``SettingsService`` calls ``LiveSettings.change``; the owner of each cap, cache, pool or batcher subscribes once and
hears of a change at once. All in the supervisor's event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, Self

from supervisor.settings import Settings
from supervisor.settings.sources import TUNABLE

Profile = Literal["small", "medium", "large", "very-large"]

_SMALL = {
    "max_concurrent_spawns": 5,
    "max_concurrent_git_ops": 3,
    "message_batch_size": 10,
    "message_batch_delay": 100,
    "cache_size": 1000,
    "worktree_pool_size": 0,
    "prewarm_instances": 1,
}
PROFILES: Mapping[Profile, Mapping[str, Any]] = MappingProxyType(
    {
        "small": _SMALL,
        "medium": {**_SMALL, "worktree_pool_size": 5, "prewarm_instances": 5},
        "large": {
            "max_concurrent_spawns": 10,
            "max_concurrent_git_ops": 5,
            "message_batch_size": 20,
            "message_batch_delay": 200,
            "cache_size": 2000,
            "worktree_pool_size": 20,
            "prewarm_instances": 20,
        },
        "very-large": {
            "max_concurrent_spawns": 20,
            "max_concurrent_git_ops": 8,
            "message_batch_size": 50,
            "message_batch_delay": 500,
            "cache_size": 5000,
            "worktree_pool_size": 50,
            "prewarm_instances": 30,
        },
    }
)
"""For teams of up to 10, 50, 100 and more instances, as the guide advises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunableValues:
    """The values as they apply at one time. Times are in ms."""

    max_concurrent_spawns: int
    max_concurrent_git_ops: int
    message_batch_size: int
    message_batch_delay: float
    cache_size: int
    cache_ttl: float
    worktree_pool_size: int
    prewarm_instances: int
    auto: bool = False
    """The spawn cap tunes itself; ``max_concurrent_spawns`` is where it begins."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(**{name: getattr(settings, name) for name in TUNABLE}, auto=settings.tuned.auto)


Subscriber = Callable[[TunableValues, TunableValues], None]
"""Takes what applied before and what applies now. Must neither fail nor block."""


class LiveSettings:
    """The values that apply now, and the subscribers that hear of a change."""

    def __init__(self, tuning: TunableValues) -> None:
        self._current = tuning
        self._subscribers: list[Subscriber] = []

    @property
    def current(self) -> TunableValues:
        return self._current

    def subscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.append(subscriber)

    def change(self, tuning: TunableValues) -> None:
        before, self._current = self._current, tuning
        if tuning != before:
            for subscriber in self._subscribers:
                subscriber(before, tuning)
