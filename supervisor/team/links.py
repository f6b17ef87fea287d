"""The links to the actors of instances: for each the port to call it and the loop that polls its reports.

``Adopter`` begins a link; ``Team`` and the verbs call through it. The loop is a long poll, so nothing is polled in
vain. It notices a restarted actor by its new incarnation and a lost one by its silence: in both cases the listener has
the actor take its agent over again and returns a fresh port.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from actors.errors import FencedError, PhalanxError, UnavailableError, VersionError
from actors.instance.instance import Instance
from actors.instance.reports import Report
from supervisor.team.registry import COMING_BACK

logger = logging.getLogger(__name__)

POLL_S = 30.0
SILENCE_S = 5.0
"""Ray brings an actor back within about a second; one that is silent for longer is searched for."""
_RETRY_S = 0.3


class ReportListener(Protocol):
    async def on_report(self, instance_id: str, report: Report) -> None:
        """Takes a report in; when this raises, the same report comes again."""
        ...

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        """The instance has not answered for a while; empty ``reason``: it answers again."""
        ...

    async def find_again(self, instance_id: str) -> tuple[Instance, str]:
        """Has the instance's actor take over its agent again; returns the port and the actor's incarnation."""
        ...


class InstanceLinks:
    def __init__(self, changed: Callable[[str], None] = lambda _: None) -> None:
        """``changed`` is called with the id of an instance that is followed from now on, or is not any more."""
        self._changed = changed
        self._pollers: dict[str, _ReportPoller] = {}

    def port(self, instance_id: str) -> Instance:
        """Raises ``UnavailableError`` when the instance has no actor now."""
        try:
            return self._pollers[instance_id].port
        except KeyError:
            raise UnavailableError(
                f"{instance_id} has no running actor: either it was stopped (restart it to go on with it), or "
                f"{COMING_BACK}, and the call works in a moment."
            ) from None

    def has(self, instance_id: str) -> bool:
        """Whether the instance can be reached: false while it is only being started."""
        return instance_id in self._pollers

    def heard_at(self, instance_id: str) -> float | None:
        """When its last report came, as monotonic time; None when it is not followed. What it answered later has not
        renewed its lease (see ``deliverer.Lease``)."""
        poller = self._pollers.get(instance_id)
        return None if poller is None else poller.heard_at

    @property
    def any(self) -> bool:
        """Whether any instance can be reached."""
        return bool(self._pollers)

    def follow(self, instance_id: str, port: Instance, incarnation: str, listener: ReportListener) -> None:
        """Begins to follow an instance whose actor, in this incarnation, has just adopted its agent."""
        earlier = self._pollers.get(instance_id)
        if earlier is not None:
            earlier.task.cancel()
        self._pollers[instance_id] = _ReportPoller(instance_id, port, incarnation, listener)
        self._changed(instance_id)

    async def leave(self, instance_id: str) -> None:
        """Stops following; no-op when it is not followed."""
        poller = self._pollers.pop(instance_id, None)
        if poller is not None:
            self._changed(instance_id)
            poller.task.cancel()
            await asyncio.gather(poller.task, return_exceptions=True)

    async def leave_all(self) -> None:
        await asyncio.gather(*map(self.leave, tuple(self._pollers)))


class _ReportPoller:
    """Polls the reports of one instance until its task is cancelled or the supervisor is fenced."""

    def __init__(self, instance_id: str, port: Instance, incarnation: str, listener: ReportListener) -> None:
        self.port = port
        self._instance_id = instance_id
        self._incarnation = incarnation
        self._listener = listener
        self._sequence = 0
        self._answer = 0
        self.heard_at = time.monotonic()
        self._told_silence = False
        self.task = asyncio.create_task(self._run(), name=f"reports of {instance_id}")

    async def _run(self) -> None:
        while True:
            try:
                await self._next()
            except FencedError:
                logger.warning("%s is not followed any more: another supervisor has the state", self._instance_id)
                return
            except (UnavailableError, VersionError) as error:
                logger.warning("%s does not answer: %s", self._instance_id, error)
                await asyncio.sleep(_RETRY_S)
                await self._bear_silence(str(error))
            except Exception:
                logger.exception("a report of %s could not be taken in", self._instance_id)
                await asyncio.sleep(_RETRY_S)

    async def _next(self) -> None:
        # The first answer is not waited for: without one the instance has no lease.
        wait_s = POLL_S if self._answer else 0.0
        report = await self.port.reports(self._sequence, wait_s, self._incarnation, self._answer)
        if report.incarnation != self._incarnation:
            await self._find_again()
            return
        self.heard_at, self._answer = time.monotonic(), report.answer
        if self._told_silence:
            await self._listener.on_unreachable(self._instance_id, "")
            self._told_silence = False
        await self._listener.on_report(self._instance_id, report)
        self._sequence = report.sequence

    async def _bear_silence(self, reason: str) -> None:
        if time.monotonic() - self.heard_at < SILENCE_S:
            return
        try:
            if not self._told_silence:
                await self._listener.on_unreachable(self._instance_id, reason)
                self._told_silence = True
            await self._find_again()
        except PhalanxError as error:
            logger.warning("%s could not be taken over again yet: %s", self._instance_id, error)
        except Exception:
            logger.exception("%s could not be taken over again", self._instance_id)

    async def _find_again(self) -> None:
        self.port, self._incarnation = await self._listener.find_again(self._instance_id)
        self._sequence = self._answer = 0
