"""The verbs ``hosts`` and ``drain``, and the loop that connects to the hosts of a cluster.

The supervisor begins and ends ``ClusterService`` with its other services; the service begins and ends the loops that
move instances and work between hosts. All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NoReturn

from actors.backoff import Backoff, RetrySchedule
from actors.concurrency import TaskSet, every
from actors.errors import InvalidRequestError, PhalanxError
from actors.files import write_private
from actors.home import Home
from actors.nodes import Node
from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.cluster.migration import Drainer, Failover, WorkSync
from supervisor.cluster.scheduler import HostScheduler
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

_LOOK_S = 2.0
_AGAIN = Backoff(first_s=30.0, longest_s=30.0)
LET_GO_S = 60.0
"""An elastic host that has been empty for so long is released."""
_MOST_NAMED = 3


class HostConnector:
    """Connects to every host as soon as Ray runs there, so that people and Claudes there can reach the team.

    An elastic host is connected to only when it is needed, and released when nothing of the team is on it: Ray takes no
    host for idle on which an actor lives. A host that cannot be connected to is tried again and holds up no other.
    """

    def __init__(self, scheduler: HostScheduler) -> None:
        self._scheduler = scheduler
        self._work = TaskSet("connect to the hosts")
        self._connecting: set[str] = set()
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
                await self._release_if_empty(node.name, now, linked=node.name in linked)
                continue
            new = node.name not in linked and node.name not in self._connecting
            if new and self._tries.may(node.name, now):
                self._connecting.add(node.name)
                self._work.begin(self._connect(node.name))

    async def _release_if_empty(self, name: str, now: float, *, linked: bool) -> None:
        if not linked or not self._scheduler.is_empty(name):
            self._empty_since.pop(name, None)
        elif now - self._empty_since.setdefault(name, now) >= LET_GO_S:
            logger.info("nothing is on %s any more: the host is released", name)
            await self._scheduler.release_host(name)

    async def _connect(self, name: str) -> None:
        try:
            await self._scheduler.link(name)
        except PhalanxError as error:
            self._tries.failed(name, asyncio.get_running_loop().time())
            logger.warning("the host %s cannot be connected to yet: %s", name, error)
        finally:
            self._connecting.remove(name)


class NoClusterService:
    """Refuses the verbs of hosts: the team is on one machine."""

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"hosts": self._refuse, "drain": self._refuse}

    async def begin(self) -> None:
        """Nothing runs."""

    async def end(self) -> None:
        """Nothing runs."""

    async def _refuse(self, request: requests.Request, caller: Caller) -> NoReturn:
        raise InvalidRequestError(
            f"This team is on one machine, {socket.gethostname()}. docs/cluster.md says how it gets more of them."
        )


class ClusterService:
    """Lists and drains the hosts of a cluster."""

    def __init__(
        self,
        home: Home,
        team: Team,
        scheduler: HostScheduler,
        drainer: Drainer,
        further_loops: Sequence[WorkSync | Failover | HostConnector],
    ) -> None:
        """The service begins and ends the drainer and the ``further_loops``."""
        self._home = home
        self._team = team
        self._scheduler = scheduler
        self._drainer = drainer
        self._loops = (*further_loops, drainer)

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"hosts": self.hosts, "drain": self.drain}

    async def begin(self) -> None:
        self._scheduler.drained = await asyncio.to_thread(_read_drained, self._home)
        for member in self._team.registry.everyone():
            if member.record.host:
                self._scheduler.places.update(dict.fromkeys(member.record.names, member.record.host))
        for loop in self._loops:
            loop.begin()

    async def end(self) -> None:
        for loop in self._loops:
            await loop.end()

    async def hosts(self, request: requests.HostsRequest, caller: Caller) -> results.HostsResult:
        nodes = {node.name: node for node in await self._scheduler.nodes()}
        counted = Counter(self._scheduler.instance_hosts().values())
        lost = sorted(name for name in counted if name and name not in nodes)
        found = [self._info(name, nodes.get(name), counted[name]) for name in (*sorted(nodes), *lost)]
        return results.HostsResult(hosts=found)

    def _info(self, name: str, node: Node | None, instances: int) -> results.HostInfo:
        """``node``: None for a host that is lost."""
        return results.HostInfo(
            host=name,
            address=node.address if node else "",
            status=("drained" if name in self._scheduler.drained else "up") if node else "away",
            instances=instances,
            slots=(node.slots or 0) if node else 0,
            supervisor=name == self._scheduler.own,
            labels=dict(node.labels) if node else {},
        )

    async def drain(self, request: requests.DrainRequest, caller: Caller) -> results.DrainResult:
        scheduler = self._scheduler
        names = {node.name for node in await scheduler.nodes()}
        if request.host not in names | scheduler.drained:
            known = ", ".join(sorted(names))
            raise InvalidRequestError(f"There is no host {request.host}. There are: {known}. See phalanx hosts.")
        drained = scheduler.drained - {request.host} if request.undo else scheduler.drained | {request.host}
        await asyncio.to_thread(_write_drained, self._home, drained)
        scheduler.drained = drained
        if request.wait and not request.undo:
            await self._until_empty(request, caller)
        left = self._drainer.remaining(request.host)
        return results.DrainResult(
            host=request.host,
            drained=not request.undo,
            remaining=[results.Remaining(instance_id=each, why=why) for each, why in sorted(left.items())],
        )

    async def _until_empty(self, request: requests.DrainRequest, caller: Caller) -> None:
        total = len(self._drainer.remaining(request.host))

        def empty() -> bool:
            left = self._drainer.remaining(request.host)
            words = "; ".join(f"{instance_id} {why}" for instance_id, why in sorted(left.items())[:_MOST_NAMED])
            caller.progress(max(total - len(left), 0), total, words or "nothing of the team is there any more")
            return not left or request.host not in self._scheduler.drained

        await self._team.changes.until(empty, request.timeout_seconds)


def _read_drained(home: Home) -> set[str]:
    """The drained hosts, which outlive the supervisor; empty when nothing is kept."""
    try:
        return set(map(str, json.loads(home.drained_file.read_text())))
    except (OSError, ValueError, TypeError):
        return set()


def _write_drained(home: Home, hosts: Collection[str]) -> None:
    """Raises ``SettingsError``."""
    write_private(home.drained_file, json.dumps(sorted(hosts)))
