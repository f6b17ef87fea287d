"""A team over a fake store: records, members, messages and receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from actors.messages import Message, MessageStatus, Receipt
from supervisor.api.requests import BatchMessage, Role
from supervisor.team.registry import InstanceRecord, InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY, FakeInstance, FakeListener
from tests.fakes.store import MemoryStore

FIRST, SECOND = "spec_0_0_1", "spec_0_0_2"


def record(number: int = 1, **changes: Any) -> InstanceRecord:
    fields: dict[str, Any] = {
        "instance_id": f"spec_0_0_{number}",
        "number": number,
        "executive": 0,
        "manager": 0,
        "role": Role.SPECIALIST,
        "parent_id": None,
        "name": None,
        "agent": "demo",
        "session_id": "s",
        "created_at": 1.0,
        "work_dir": Path("/project"),
        "stage": InstanceStage.RUNNING,
        **changes,
    }
    return InstanceRecord(**fields)


def outgoing(text: str = "hello", instance_id: str = FIRST) -> BatchMessage:
    return BatchMessage(instance_id=instance_id, message=text)


def receipt(message: Message, status: MessageStatus = MessageStatus.SUBMITTED, reason: str = "") -> Receipt:
    return Receipt(message_id=message.id, instance_id=message.instance_id, status=status, at=2.0, reason=reason)


def ids(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]


async def add_member(team: Team, number: int = 1, **changes: Any) -> Member:
    """A running instance that the store knows."""
    member = team.registry.restore(record(number, **changes), now=1.0)
    member.snapshot = READY
    await team.save(member.record.instance_id)
    return member


async def accept(team: Team, *texts: str, instance_id: str = FIRST) -> list[Message]:
    """Messages to the instance that the outbox has accepted."""
    checked = team.outbox.check([outgoing(text, instance_id) for text in texts], "lead", 1.0)
    messages = [message for message in checked if isinstance(message, Message)]
    await team.outbox.accept(messages)
    return messages


class OneInstanceTeam:
    """A team over a store, with one instance that can be reached. Its reports say nothing."""

    def __init__(self, store: MemoryStore, trouble: Callable[[], None] = lambda: None) -> None:
        """``trouble`` may raise in place of taking messages over."""
        self.store = store
        self.team = Team(store)
        self.outbox = self.team.outbox
        self.instance = FakeInstance(trouble)

    async def open(self) -> None:
        await add_member(self.team)
        self.reach()

    def reach(self) -> None:
        self.team.links.follow(FIRST, self.instance, "first", FakeListener())

    async def send(self, *texts: str) -> list[Message]:
        return await accept(self.team, *texts)

    async def stored(self, prefix: str) -> set[str]:
        return {key.removeprefix(prefix) for key in await self.store.load(prefix)}

    async def again(self) -> OneInstanceTeam:
        """The next supervisor's team over the same store."""
        await self.close()
        later = OneInstanceTeam(self.store)
        await later.team.load()
        return later

    async def close(self) -> None:
        await self.outbox.stop()
        await self.team.links.leave_all()
