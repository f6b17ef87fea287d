"""The door of an instance: its detached, named Ray actor, and the handle by which the supervisor calls it.

An actor has a name of its own: it is made before anybody knows which instance it will follow, or for one that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from actors.agents.catalog import AgentCatalog
from actors.instance.inbox import BatchLimits
from actors.instance.instance import InstanceConfig, InstanceServer
from actors.instance.reports import Report
from actors.instance.responding import AnsweredPrompt, Reply
from actors.instance.transcript import PageQuery, TranscriptPage
from actors.lean import Lean
from actors.messages import Message
from actors.ray_client import (
    actor_class,
    actor_names,
    answer_of,
    answer_when_back,
    end_actor,
    make_actor,
    meet,
    on_host,
)

START_S = 120.0
"""Many actors that start at once on few cores wait for each other."""
CALL_S = 15.0
ADOPT_S = 30.0
"""It may have to wait for an earlier actor's end and for tmux, and reads all that the agent has written so far."""
READ_S = 30.0
POLL_MARGIN_S = 10.0
SlotsOf = Callable[[str], int]
_PREFIX = "instance-"

# A class of no module, which Ray sends by value, with the attribute.
InstanceActor = actor_class(type("InstanceServer", (InstanceServer,), {"lean": Lean()}))


class InstanceHandle:
    """Calls an ``InstanceActor``; see ``InstanceServer`` and ``Instance`` for what each method does."""

    def __init__(self, name: str, actor: Any) -> None:
        self._name = name
        self._actor = actor

    async def vacant(self) -> bool:
        return bool(await self._ask(self._actor.vacant.remote()))

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        self._name = config.instance_id
        what = f"The actor of {self._name}"
        return str(await answer_when_back(lambda: self._actor.adopt.remote(config, pane_id, pid), what, ADOPT_S))

    async def tune(self, limits: BatchLimits) -> None:
        await self._ask(self._actor.tune.remote(limits))

    async def deliver(self, messages: Sequence[Message]) -> None:
        await self._ask(self._actor.deliver.remote(messages))

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        await self._ask(self._actor.withdraw.remote(message_ids, reason))

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        call = self._actor.reports.remote(after, timeout_s, incarnation)
        report: Report = await self._ask(call, timeout_s + POLL_MARGIN_S)
        return report

    async def page(self, query: PageQuery) -> TranscriptPage:
        page: TranscriptPage = await self._ask(self._actor.page.remote(query), READ_S)
        return page

    async def screen(self, lines: int) -> str:
        return str(await self._ask(self._actor.screen.remote(lines)))

    async def respond(self, reply: Reply) -> AnsweredPrompt:
        answered: AnsweredPrompt = await self._ask(self._actor.respond.remote(reply))
        return answered

    async def interrupt(self, timeout_s: float) -> bool:
        return bool(await self._ask(self._actor.interrupt.remote(timeout_s), timeout_s + CALL_S))

    async def expect_end(self, coming_back: bool = False) -> None:
        await self._ask(self._actor.expect_end.remote(coming_back))

    async def _ask(self, call: Any, timeout_s: float = CALL_S) -> Any:
        return await answer_of(call, f"The actor of {self._name}", timeout_s)


class RayInstances:
    """Finds, makes and ends instance actors by their names, so that a supervisor that came back has them all."""

    def __init__(self, catalog: AgentCatalog, own_address: str = "", slots: SlotsOf = lambda _address: 0) -> None:
        """``own_address``: in a cluster, the host on which actors are that name no other one (``NAME@ADDRESS``).

        ``slots``: how many an actor takes on the host with this address.
        """
        self._catalog = catalog
        self._own_address = own_address
        self._slots = slots

    async def create(self, name: str) -> InstanceHandle:
        """The actor of this name, made if there is none; returns when it answers."""
        address = name.partition("@")[2] or self._own_address
        options = on_host(address, self._slots(address)) if address else {}
        actor = await make_actor(InstanceActor, _PREFIX + name, self._catalog, **options)
        await meet(actor, f"The actor {name}", START_S)
        return InstanceHandle(name, actor)

    async def running(self) -> tuple[str, ...]:
        """The names of all that there are."""
        return tuple(name.removeprefix(_PREFIX) for name in await actor_names(_PREFIX))

    async def destroy(self, name: str) -> None:
        """Ends the actor for good; no-op when there is none. The agent that it follows is not touched."""
        await end_actor(_PREFIX + name)
