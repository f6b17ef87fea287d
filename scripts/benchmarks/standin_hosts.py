"""Hosts of a cluster without agents: a thousand real ones do not fit on a machine. ``thousand`` runs teams over them.

On each host of Ray's cluster one actor stands for the host and for all instances on it. It answers as they do: an agent
starts in ``START_S``, a message is proved ``PROOF_S`` after it was delivered, and makes its instance work for
``WORK_S``. All else is real: Ray's calls between the hosts, the supervisor, its store, its gateway and what looks at
them. Run as ``python -m scripts.benchmarks.standin_hosts HOME ADDRESS`` it is the supervisor of such a team; it prints
``ready`` when its gateway answers, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, cast

import ray

from actors.agents.base import AgentStart
from actors.agents.catalog import AgentCatalog
from actors.home import Home
from actors.host.cluster import RayCluster, own_address
from actors.host.host import Host
from actors.host.load import HostLoad
from actors.instance.deliverer import Lease
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.reports import InstanceSnapshot, Report, ReportLog
from actors.messages import Message, MessageStatus, Receipt
from actors.nodes import Node
from actors.ray_client import ActorProxy, actor_class, answer_of, answer_when_back, on_host
from actors.remote import remote_call
from actors.status import Status
from actors.tmux.pane import PaneInfo
from actors.versions import ACTOR_PROTOCOL, check_protocol
from actors.worktrees.model import Workspace, WorkspaceMode
from supervisor.build import build_supervisor
from supervisor.rpc.server import Gateway
from supervisor.settings import Settings
from supervisor.store.sqlite import SqliteStore
from tests.fakes.hosts import FakeHost, host_load

START_S = 0.5
PROOF_S = 0.1
WORK_S = 2.0
NAMESPACE = "thousand"
_MEMORY_MB = 1_000_000


class StandInInstance(Instance):
    """An instance whose agent is at work for a while after each message."""

    def __init__(self, incarnation: str) -> None:
        self._log = ReportLog(incarnation)
        self._lease = Lease(0.0)
        self._instance_id = ""
        self._proofs: list[asyncio.Task[None]] = []
        self._turn: asyncio.Task[None] | None = None

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        if self._instance_id != config.instance_id:
            self._instance_id = config.instance_id
            self._log.snapshot(InstanceSnapshot(status=Status.READY, since=time.time()))
        return self._log.incarnation

    async def tune(self, limits: BatchLimits, hold: str = "") -> None:
        """Nothing is batched here."""

    async def expect_end(self, coming_back: bool = False) -> None:
        """It is never watched for its end."""

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        """Every message is on its way at once."""

    async def deliver(self, messages: Sequence[Message]) -> None:
        self._proofs.append(asyncio.create_task(self._prove(messages)))

    async def _prove(self, messages: Sequence[Message]) -> None:
        await asyncio.sleep(PROOF_S)
        del self._proofs[0]
        now, task = time.time(), messages[-1].text[:80]
        self._log.snapshot(InstanceSnapshot(status=Status.BUSY, since=now, task=task, activity="Bash: npm test"))
        for message in messages:
            proved = MessageStatus.SUBMITTED
            self._log.receipt(Receipt(message_id=message.id, instance_id=message.instance_id, status=proved, at=now))
        if self._turn is not None:
            self._turn.cancel()
        self._turn = asyncio.create_task(self._work(now, task))

    async def _work(self, begun: float, task: str) -> None:
        await asyncio.sleep(WORK_S)
        answer = "Done: all tests pass."
        self._log.snapshot(
            InstanceSnapshot(
                status=Status.READY,
                since=time.time(),
                task=task,
                activity=answer,
                turn_at=begun,
                answer=answer,
                answer_characters=len(answer),
            )
        )

    async def reports(self, after: int, timeout_s: float, incarnation: str = "", answer: int = 0) -> Report:
        self._lease.confirm(answer)
        self._log.acknowledge(after, incarnation)
        return replace(await self._log.after(after, timeout_s, incarnation), answer=self._lease.answered())


class StandInHost(FakeHost):
    """A host and its instances, in one process."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._instances: dict[str, StandInInstance] = {}
        self._numbers = count(1)

    async def meet(self, protocol: int) -> None:
        check_protocol(protocol, "this host", "the supervisor", ACTOR_PROTOCOL)

    async def load(self) -> HostLoad:
        return host_load(host=await self.name(), available_mb=_MEMORY_MB)

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        return Workspace(mode="shared", directory=work_dir)

    async def start_agent(self, start: AgentStart) -> PaneInfo:
        await asyncio.sleep(START_S)
        number = next(self._numbers)
        self.add_agent(start.session_name, number)
        return PaneInfo(session_name=start.session_name, pane_id=f"%{number}", pid=number)

    async def make(self, name: str) -> None:
        """An instance actor of this name."""
        self._instances.setdefault(name, StandInInstance(f"{name}-{os.getpid()}"))

    async def made(self) -> list[str]:
        return list(self._instances)

    async def destroy(self, name: str) -> None:
        self._instances.pop(name, None)

    async def ask(self, name: str, method: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Calls a method of one instance."""
        return await getattr(self._instances[name], method)(*arguments, **named)


StandInHostActor = actor_class(StandInHost)


class StandInCluster(RayCluster):
    """Ray's real hosts, with a ``StandInHost`` on each; also the ``InstanceFactory`` of the instances there."""

    def __init__(self) -> None:
        self._by_address: dict[str, Any] = {}

    async def nodes(self) -> tuple[Node, ...]:
        self._offering: frozenset[str] = frozenset()
        return await super().nodes()

    async def connect(self, node: Node) -> Host:
        if node.address not in self._by_address:
            named = {"name": f"host-{node.name}", "lifetime": "detached", "get_if_exists": True}
            self._by_address[node.address] = StandInHostActor.options(**named, **on_host(node.address)).remote(
                node.name
            )
        return cast("Host", ActorProxy(self._by_address[node.address], Host, f"The host {node.name}"))

    async def leave(self, node: str) -> None:
        """They stay until Ray ends."""

    async def want_slots(self, count: int) -> None:
        """No machine comes by itself."""

    async def create(self, name: str) -> Instance:
        host = self._host_of(name)
        await answer_of(host.make.remote(name), name, 30.0)
        return cast("Instance", _InstanceOnHost(host, name))

    async def running(self) -> tuple[str, ...]:
        made = await asyncio.gather(*(host.made.remote() for host in self._by_address.values()))
        return tuple(name for names in made for name in names)

    async def destroy(self, name: str) -> None:
        await answer_of(self._host_of(name).destroy.remote(name), name, 30.0)

    def _host_of(self, name: str) -> Any:
        return self._by_address[name.partition("@")[2] or own_address()]


class _InstanceOnHost:
    """Calls one instance by the rules of ``Instance``."""

    def __init__(self, host: Any, name: str) -> None:
        self._host = host
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return partial(self._ask, method)

    async def _ask(self, method: str, /, *arguments: Any, **named: Any) -> Any:
        rule = remote_call(Instance, method)
        ask = partial(self._host.ask.remote, self._name, method, arguments, named)
        if rule.retry:
            return await answer_when_back(ask, self._name, rule.limit_s(arguments, named))
        return await answer_of(ask(), self._name, rule.limit_s(arguments, named))


async def lead(home: Home, address: str) -> None:
    """A supervisor until standard input ends."""
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    cluster = StandInCluster()
    nodes = await cluster.nodes()
    links = {node.address: await cluster.connect(node) for node in nodes}
    own = next(node for node in nodes if node.address == own_address())
    supervisor = build_supervisor(
        home,
        Settings(max_concurrent_spawns=50, agent="demo"),
        links[own.address],
        AgentCatalog(claude_command="claude", python=sys.executable),
        cluster,
        SqliteStore(home.state_file),
        cluster,
        own.name,
    )
    await supervisor.recover()
    gateway = Gateway(home.gateway_socket, supervisor)
    await gateway.start()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await gateway.stop()
    await supervisor.close()


if __name__ == "__main__":
    asyncio.run(lead(Home(Path(sys.argv[1])), sys.argv[2]))
