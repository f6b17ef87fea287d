"""The live ends of the team: for each instance the port to its actor and the loop that follows its reports.

Following is a long poll, so nothing is polled in vain and an actor that was restarted is noticed by its new
incarnation: it is given its pane and its pending messages again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from actors.errors import UnavailableError
from actors.reports import Report
from supervisor.ports import InstancePort

logger = logging.getLogger(__name__)

POLL_S = 30.0
_RETRY_S = 0.5

ReportSink = Callable[[str, Report], Awaitable[None]]
Reviver = Callable[[str, InstancePort], Awaitable[None]]


@dataclass(slots=True)
class _End:
    port: InstancePort
    follower: asyncio.Task[None] | None = None


class Members:
    """``on_report`` takes in each report; ``revive`` gives a restarted actor what it has lost."""

    def __init__(self) -> None:
        self._ends: dict[str, _End] = {}

    def port(self, instance_id: str) -> InstancePort:
        """Raises ``UnavailableError`` when the instance has no actor now."""
        try:
            return self._ends[instance_id].port
        except KeyError:
            raise UnavailableError(
                f"{instance_id} has no running actor: it was stopped. Restart it to go on with it."
            ) from None

    def has(self, instance_id: str) -> bool:
        """Whether the instance can be reached: false while it is only being started."""
        return instance_id in self._ends

    def follow(self, instance_id: str, port: InstancePort, on_report: ReportSink, revive: Reviver) -> None:
        """Begins to follow an instance whose actor has just adopted its agent."""
        end = _End(port)
        earlier = self._ends.get(instance_id)
        if earlier is not None and earlier.follower is not None:
            earlier.follower.cancel()
        self._ends[instance_id] = end
        end.follower = asyncio.create_task(_follow(instance_id, port, on_report, revive))

    async def leave(self, instance_id: str) -> None:
        """Stops following; no-op when it is not followed."""
        end = self._ends.pop(instance_id, None)
        if end is not None and end.follower is not None:
            end.follower.cancel()
            await asyncio.gather(end.follower, return_exceptions=True)


async def _follow(instance_id: str, port: InstancePort, on_report: ReportSink, revive: Reviver) -> None:
    sequence = 0
    incarnation = ""
    while True:
        try:
            report = await port.reports(sequence, POLL_S, incarnation)
            if incarnation and report.incarnation != incarnation:
                await revive(instance_id, port)
                sequence = 0
            else:
                sequence = report.sequence
                await on_report(instance_id, report)
            incarnation = report.incarnation
        except UnavailableError as error:
            logger.warning("%s does not answer: %s", instance_id, error)
            await asyncio.sleep(_RETRY_S)
        except Exception:
            logger.exception("a report of %s could not be taken in", instance_id)
            await asyncio.sleep(_RETRY_S)
