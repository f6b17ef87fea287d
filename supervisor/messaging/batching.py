"""How many messages go to an instance at once, in every living instance, also after it was changed.

An actor that takes its agent over is told what applies; a change is told to all who can be reached, and to the others
once they report again.
"""

from __future__ import annotations

import logging

from actors.concurrency import Background
from actors.errors import PhalanxError
from actors.instance.inbox import BatchLimits
from supervisor.ports import InstancePort
from supervisor.settings.live import Tunables, Tuning
from supervisor.team.roll import Roll

logger = logging.getLogger(__name__)


class Batching:
    """All in the supervisor's event loop."""

    def __init__(self, tunables: Tunables, roll: Roll) -> None:
        self._roll = roll
        self._behind: set[str] = set()
        self._telling = Background("tell how to batch")
        self.limits = limits_of(tunables.current)
        tunables.subscribe(self._tuned)

    async def tell(self, instance_id: str, port: InstancePort) -> None:
        """Tells one instance; when it cannot be reached it is told later."""
        limits = self.limits
        try:
            await port.tune(limits)
        except PhalanxError as error:
            logger.info("%s learns how to batch later: %s", instance_id, error)
            self._behind.add(instance_id)
            return
        if limits == self.limits:
            self._behind.discard(instance_id)

    def reachable(self, instance_id: str) -> None:
        """The instance answers: it is told now what it could not be told before."""
        if instance_id in self._behind:
            self._behind.discard(instance_id)
            self._tell_soon(instance_id)

    def _tuned(self, before: Tuning, after: Tuning) -> None:
        self.limits = limits_of(after)
        if limits_of(before) == self.limits:
            return
        for member in self._roll.registry:
            self._tell_soon(member.record.instance_id)

    def _tell_soon(self, instance_id: str) -> None:
        if not self._roll.members.has(instance_id):  # it is told when it takes its agent over
            return
        self._telling.begin(self.tell(instance_id, self._roll.members.port(instance_id)))


def limits_of(tuning: Tuning) -> BatchLimits:
    return BatchLimits(size=tuning.message_batch_size, delay_s=tuning.message_batch_delay / 1000)
