"""A desk: one further subject of the team with verbs of its own, beside the instances that the supervisor knows itself.

The supervisor takes its desks as collaborators, hands each call of one of their verbs to it, and begins and ends them.
A desk's verbs stand in ``supervisor.verbs.VERBS`` like all others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from supervisor.results import Result
from supervisor.verbs import Caller

Handler = Callable[[Any, Caller], Awaitable[Result]]
"""Runs one verb: takes a request of the verb's type and who asks."""


class Desk(Protocol):
    @property
    def verbs(self) -> Mapping[str, Handler]: ...

    async def begin(self) -> None:
        """Called once, when the state has been loaded and before the first verb."""
        ...

    async def end(self) -> None:
        """Stops what the desk does by itself; what it has made stays."""
        ...
