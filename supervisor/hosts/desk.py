"""The desk of the hosts: lists them, drains them, and keeps what is carried home going."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Mapping

from actors.errors import InvalidRequestError
from actors.home import Home
from actors.nodes import Node
from supervisor import requests, results
from supervisor.closing import Closing
from supervisor.desk import Handler
from supervisor.hosts.carrier import Carrier
from supervisor.hosts.drained import read_drained, write_drained
from supervisor.hosts.greeter import Greeter
from supervisor.hosts.many import ManyHosts
from supervisor.hosts.mover import Mover
from supervisor.hosts.roster import Roster
from supervisor.registry import Stage
from supervisor.roll import Roll
from supervisor.staff import Staff
from supervisor.verbs import Caller


class HostsDesk:
    """All in the supervisor's event loop."""

    def __init__(self, home: Home, roll: Roll, staff: Staff, closing: Closing, save_every_s: float) -> None:
        self._home = home
        self._roll = roll
        self._roster = staff.roster
        self._parts: tuple[Carrier, Mover, Greeter] | None = None
        if staff.roster is not None:
            staff.roster.counted = self._counted
            hosts = ManyHosts(staff.roster, home.travel / "conversations")
            mover = Mover(roll, staff.roster, hosts, staff.factory, closing)
            self._parts = (Carrier(roll, hosts, save_every_s), mover, Greeter(staff.roster))

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"hosts": self.hosts, "drain": self.drain}

    async def begin(self) -> None:
        if self._roster is None or self._parts is None:
            return
        self._roster.drained = await asyncio.to_thread(read_drained, self._home)
        for member in self._roll.registry:
            if member.record.host:
                self._roster.places[member.record.instance_id] = member.record.host
        for part in self._parts:
            part.begin()

    async def end(self) -> None:
        for part in self._parts or ():
            await part.end()

    def _counted(self) -> Mapping[str, int]:
        """Who only starts counts as well."""
        taking = [each.record.host for each in self._roll.registry if each.alive or each.record.stage is Stage.STARTING]
        return Counter(taking)

    @property
    def _cluster(self) -> Roster:
        """Raises ``InvalidRequestError`` on one machine."""
        if self._roster is None:
            raise InvalidRequestError(
                f"This team is on one machine, {socket.gethostname()}. docs/cluster.md says how it gets more of them."
            )
        return self._roster

    async def hosts(self, request: requests.HostsRequest, caller: Caller) -> results.HostsResult:
        counted = self._counted()
        nodes = {node.name: node for node in await self._cluster.nodes()}
        lost = [name for name in counted if name and name not in nodes]
        found = [self._info(node, counted.get(name, 0)) for name, node in sorted(nodes.items())]
        return results.HostsResult(hosts=[*found, *(_lost(name, counted[name]) for name in sorted(lost))])

    def _info(self, node: Node, instances: int) -> results.HostInfo:
        return results.HostInfo(
            host=node.name,
            address=node.address,
            status="drained" if node.name in self._cluster.drained else "up",
            instances=instances,
            slots=node.slots or 0,
            supervisor=node.name == self._cluster.own,
            labels=dict(node.labels),
        )

    async def drain(self, request: requests.DrainRequest, caller: Caller) -> results.DrainResult:
        roster = self._cluster
        names = {node.name for node in await roster.nodes()}
        if request.host not in names | roster.drained:
            known = ", ".join(sorted(names))
            raise InvalidRequestError(f"There is no host {request.host}. There are: {known}. See phalanx hosts.")
        drained = roster.drained - {request.host} if request.undo else roster.drained | {request.host}
        await asyncio.to_thread(write_drained, self._home, drained)
        roster.drained = drained
        running = [each.record.instance_id for each in self._roll.registry if each.alive]
        there = [instance_id for instance_id in running if roster.places.get(instance_id) == request.host]
        return results.DrainResult(host=request.host, drained=not request.undo, still_running=there)


def _lost(name: str, instances: int) -> results.HostInfo:
    return results.HostInfo(
        host=name, address="", status="away", instances=instances, slots=0, supervisor=False, labels={}
    )
