"""A team over a store, and its outbox for one instance: what the tests of the outbox work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.instance.instance import Instance
from actors.instance.reports import Report
from actors.messages import Message, MessageStatus
from supervisor.team.team import Team
from tests.unit.supervisor.stand_ins import StandInInstance, TroubledStore, outgoing, recruit

ID = "spec_0_0_1"
ACCEPTED, BLOCKED, SUBMITTED = MessageStatus.ACCEPTED, MessageStatus.BLOCKED, MessageStatus.SUBMITTED
FAILED, UNCONFIRMED = MessageStatus.FAILED, MessageStatus.UNCONFIRMED


class Ear:
    """Follows nobody's reports: these tests give the receipts themselves."""

    async def on_report(self, instance_id: str, report: Report) -> None:
        raise AssertionError

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        raise AssertionError

    async def find_again(self, instance_id: str) -> tuple[Instance, str]:
        raise AssertionError


class Office:
    """A team over a store, with one instance that can be reached."""

    def __init__(self, store: TroubledStore, trouble: Callable[[], None] = lambda: None) -> None:
        self.store = store
        self.team = Team(store)
        self.outbox = self.team.outbox
        self.instance = StandInInstance(trouble)

    async def open(self) -> None:
        await recruit(self.team)
        self.reach()

    def reach(self) -> None:
        self.team.members.follow(ID, self.instance, "first", Ear())

    async def send(self, *texts: str) -> list[Message]:
        checked = self.outbox.check([outgoing(text) for text in texts], "lead", 1.0)
        messages = [message for message in checked if isinstance(message, Message)]
        await self.outbox.accept(messages)
        return messages

    async def stored(self, prefix: str) -> set[str]:
        return {key.removeprefix(prefix) for key in await self.store.load(prefix)}

    async def again(self) -> Office:
        """The next supervisor over the same store."""
        await self.close()
        later = Office(self.store)
        await later.team.load()
        return later

    async def close(self) -> None:
        await self.outbox.stop()
        await self.team.members.leave_all()


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]
