"""The verbs of hosts, and the connections to them.

The service of the hosts: lists and drains them, and keeps going what moves instances and work between them.

Connects to every host of the cluster as soon as Ray runs there: then people and Claudes there can reach the team.

An elastic host is connected to only when it is needed, and let go of again when nothing of the team is on it: Ray would
take none for idle on which an actor lives. All in the supervisor's event loop. A host that cannot be connected to is
tried again, and holds up no other.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import InvalidRequestError, PhalanxError
from actors.home import Home
from actors.nodes import Node
from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.cluster.migration import Drainer, Failover, WorkSync, read_drained, write_drained
from supervisor.cluster.scheduler import HostScheduler
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_AGAIN = Backoff(first_s=30.0, longest_s=30.0)
LET_GO_S = 60.0
"""So long after the last that was on an elastic host."""


class HostConnector:
    def __init__(self, scheduler: HostScheduler) -> None:
        self._scheduler = scheduler
        self._work = TaskSet("greet the hosts")
        self._greeting: set[str] = set()
        self._tries = RetrySchedule[str](_AGAIN)
        self._empty_since: dict[str, float] = {}

    def begin(self) -> None:
        self._work.begin(every(_LOOK_S, self._look, "the hosts cannot be seen now", at_once=True))

    async def end(self) -> None:
        await self._work.end()

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        linked = self._scheduler.linked()
        for node in await self._scheduler.nodes():
            if node.elastic:
                await self._consider(node.name, now, linked=node.name in linked)
                continue
            new = node.name not in linked and node.name not in self._greeting
            if new and self._tries.may(node.name, now):
                self._greeting.add(node.name)
                self._work.begin(self._greet(node.name))

    async def _consider(self, name: str, now: float, *, linked: bool) -> None:
        """Whether an elastic host is let go of now."""
        if not linked or not self._scheduler.is_empty(name):
            self._empty_since.pop(name, None)
        elif now - self._empty_since.setdefault(name, now) >= LET_GO_S:
            logger.info("nothing is on %s any more: it is let go of", name)
            await self._scheduler.release_host(name)

    async def _greet(self, name: str) -> None:
        try:
            await self._scheduler.link(name)
        except PhalanxError as error:
            self._tries.failed(name, asyncio.get_running_loop().time())
            logger.warning("the host %s cannot be connected to yet: %s", name, error)
        finally:
            self._greeting.remove(name)


_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsParts:
    """Of a team with many hosts."""

    scheduler: HostScheduler
    work_sync: WorkSync
    failover: Failover
    drainer: Drainer
    connector: HostConnector

    @property
    def running(self) -> tuple[WorkSync | Failover | Drainer | HostConnector, ...]:
        return self.work_sync, self.failover, self.drainer, self.connector


class ClusterService:
    """All in the supervisor's event loop."""

    def __init__(self, home: Home, team: Team, parts: HostsParts | None) -> None:
        """``parts``: None on one machine."""
        self._home = home
        self._team = team
        self._parts = parts

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"hosts": self.hosts, "drain": self.drain}

    async def begin(self) -> None:
        if self._parts is None:
            return
        scheduler = self._parts.scheduler
        scheduler.drained = await asyncio.to_thread(read_drained, self._home)
        for member in self._team.registry.everyone():
            if member.record.host:
                scheduler.places.update(dict.fromkeys(member.record.names, member.record.host))
        for part in self._parts.running:
            part.begin()

    async def end(self) -> None:
        if self._parts is not None:
            for part in self._parts.running:
                await part.end()

    @property
    def _cluster(self) -> HostsParts:
        """Raises ``InvalidRequestError`` on one machine."""
        if self._parts is None:
            raise InvalidRequestError(
                f"This team is on one machine, {socket.gethostname()}. docs/cluster.md says how it gets more of them."
            )
        return self._parts

    async def hosts(self, request: requests.HostsRequest, caller: Caller) -> results.HostsResult:
        scheduler = self._cluster.scheduler
        nodes = {node.name: node for node in await scheduler.nodes()}
        counted = Counter(scheduler.holders().values())
        lost = [name for name in counted if name and name not in nodes]
        found = [self._info(node, counted.get(name, 0)) for name, node in sorted(nodes.items())]
        return results.HostsResult(hosts=[*found, *(_lost(name, counted[name]) for name in sorted(lost))])

    def _info(self, node: Node, instances: int) -> results.HostInfo:
        scheduler = self._cluster.scheduler
        return results.HostInfo(
            host=node.name,
            address=node.address,
            status="drained" if node.name in scheduler.drained else "up",
            instances=instances,
            slots=node.slots or 0,
            supervisor=node.name == scheduler.own,
            labels=dict(node.labels),
        )

    async def drain(self, request: requests.DrainRequest, caller: Caller) -> results.DrainResult:
        scheduler, drainer = self._cluster.scheduler, self._cluster.drainer
        names = {node.name for node in await scheduler.nodes()}
        if request.host not in names | scheduler.drained:
            known = ", ".join(sorted(names))
            raise InvalidRequestError(f"There is no host {request.host}. There are: {known}. See phalanx hosts.")
        drained = scheduler.drained - {request.host} if request.undo else scheduler.drained | {request.host}
        await asyncio.to_thread(write_drained, self._home, drained)
        scheduler.drained = drained
        if request.wait and not request.undo:
            await self._until_empty(request, caller)
        left = drainer.remaining(request.host)
        return results.DrainResult(
            host=request.host,
            drained=not request.undo,
            remaining=[results.Remaining(instance_id=each, why=why) for each, why in sorted(left.items())],
        )

    async def _until_empty(self, request: requests.DrainRequest, caller: Caller) -> None:
        drainer = self._cluster.drainer
        total = len(drainer.remaining(request.host))

        def empty() -> bool:
            left = drainer.remaining(request.host)
            words = "; ".join(f"{instance_id} {why}" for instance_id, why in sorted(left.items())[:_SHOWN])
            caller.progress(max(total - len(left), 0), total, words or "nothing of the team is there any more")
            return not left or request.host not in self._cluster.scheduler.drained

        await self._team.changes.until(empty, request.timeout_seconds)


def _lost(name: str, instances: int) -> results.HostInfo:
    return results.HostInfo(
        host=name, address="", status="away", instances=instances, slots=0, supervisor=False, labels={}
    )
