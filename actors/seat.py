"""What an instance actor is: a seat for one instance, empty when it is made.

``actors.actor`` puts it into a Ray actor. To start the process is what costs, so seats are made before anybody knows
for whom; ``adopt`` then says which agent to follow. A seat serves one instance in its life and never another.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from actors.agents.catalog import AgentCatalog
from actors.errors import UnavailableError, WrongStateError
from actors.following.pages import Page, PageQuery
from actors.following.reports import Report, Snapshot
from actors.instance import Instance, InstanceConfig
from actors.messages import Message
from actors.messaging.inbox import BatchLimits
from actors.responding import Answered, Reply
from actors.versions import check_protocol


class Seat:
    """All methods run in one event loop; see ``Instance`` for what each does."""

    def __init__(self, catalog: AgentCatalog) -> None:
        self._catalog = catalog
        self._instance: Instance | None = None

    async def meet(self, protocol: int) -> None:
        """Raises ``VersionError`` for a supervisor of another protocol."""
        check_protocol(protocol, "this actor", "the supervisor")

    async def vacant(self) -> bool:
        """Whether it follows nobody so far."""
        return self._instance is None

    async def adopt(self, config: InstanceConfig, pane_id: str, pid: int) -> str:
        """As ``Instance.adopt``; the same instance may come under another id, or in another conversation.

        Raises ``WrongStateError`` when it serves another instance, ``InvalidRequestError`` for an unknown agent.
        """
        if self._instance is None:
            self._instance = Instance(config, self._catalog.named(config.agent))
        elif self._instance.config.directory != config.directory:
            raise WrongStateError(
                f"This actor follows {self._instance.config.instance_id}, so not {config.instance_id} too."
            )
        self._instance.configure(config)
        return await self._instance.adopt(pane_id, pid)

    async def leave(self) -> None:
        """Stops following the agent, which goes on by itself."""
        if self._instance is not None:
            await self._instance.leave()

    async def deliver(self, messages: Sequence[Message]) -> None:
        await self._seated.deliver(messages)

    async def withdraw(self, message_ids: Collection[str], reason: str) -> None:
        await self._seated.withdraw(message_ids, reason)

    async def reports(self, after: int, timeout_s: float, incarnation: str = "") -> Report:
        """An empty seat answers at once, as an incarnation that nobody knows: whoever follows it has it adopt again."""
        if self._instance is None:
            return Report(incarnation="", sequence=0, snapshot=Snapshot(), receipts=())
        return await self._instance.reports(after, timeout_s, incarnation)

    async def tune(self, limits: BatchLimits) -> None:
        await self._seated.tune(limits)

    async def page(self, query: PageQuery) -> Page:
        return await self._seated.page(query)

    async def screen(self, lines: int) -> str:
        return await self._seated.screen(lines)

    async def respond(self, reply: Reply) -> Answered:
        return await self._seated.respond(reply)

    async def interrupt(self, timeout_s: float) -> bool:
        return await self._seated.interrupt(timeout_s)

    async def expect_end(self, coming_back: bool = False) -> None:
        await self._seated.expect_end(coming_back)

    @property
    def _seated(self) -> Instance:
        if self._instance is None:
            raise UnavailableError("This actor has just been started and follows no agent yet: try again.")
        return self._instance
