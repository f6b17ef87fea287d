from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from actors.errors import InvalidRequestError, StoreError
from supervisor.api.requests import SendBatchRequest
from supervisor.messaging.send import MessageSender, SendOutcome
from supervisor.store import keys
from supervisor.team.team import Team
from tests.fakes.clock import turns
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing

ID = "spec_0_0_1"


class Desk:
    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.team = Team(store)
        self._sending = MessageSender(self.team)

    async def send(self, *texts: str, request_id: str | None = "r1") -> Sequence[SendOutcome]:
        messages = [{"instanceId": ID, "message": text} for text in texts]
        request = SendBatchRequest.model_validate({"messages": messages, "requestId": request_id})
        return await self._sending.send(request, request_id, [outgoing(text) for text in texts], "lead")

    async def stored(self) -> int:
        return len(await self.store.load(keys.MESSAGE_PREFIX))

    async def again(self) -> Desk:
        later = Desk(self.store)
        await later.team.load()
        return later


@pytest.fixture
async def service() -> Desk:
    made = Desk(MemoryStore())
    await add_member(made.team)
    return made


async def test_a_call_that_is_repeated_gives_the_same_and_stores_nothing_again(service: Desk) -> None:
    first = await service.send("one", "\x07", "two")
    assert [one.error is None for one in first] == [True, False, True]
    assert await service.send("one", "\x07", "two") == first
    assert await service.stored() == 2


async def test_it_is_the_same_after_a_restart(service: Desk) -> None:
    first = await service.send("one", "\x07", "two")
    later = await service.again()
    assert await later.send("one", "\x07", "two") == first
    assert await later.stored() == 2
    with pytest.raises(InvalidRequestError, match="another call"):
        await later.send("three")


async def test_two_at_once_are_one(service: Desk) -> None:
    service.store.gate.clear()
    calls = [asyncio.create_task(service.send("one")) for _ in range(2)]
    await turns()
    assert service.store.waiting == 1
    service.store.gate.set()
    first, second = await asyncio.gather(*calls)
    assert first == second
    assert await service.stored() == 1


async def test_who_repeats_a_call_that_was_cut_off_while_it_was_being_stored_sends_nothing_twice(service: Desk) -> None:
    service.store.gate.clear()
    first = asyncio.create_task(service.send("one"))
    await turns()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    again = asyncio.create_task(service.send("one"))
    await turns()
    assert not again.done()
    service.store.gate.set()
    (sent,) = await again
    assert list(await service.store.load(keys.MESSAGE_PREFIX)) == [keys.message(sent.message_id)]


async def test_a_call_that_was_cut_off_and_could_not_be_stored_is_new_when_it_is_repeated(service: Desk) -> None:
    service.store.gate.clear()
    service.store.fails()
    first = asyncio.create_task(service.send("one"))
    await turns()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    again = asyncio.create_task(service.send("one"))
    await turns()
    service.store.gate.set()
    await turns(1)
    service.store.error = None
    with suppress(StoreError):
        await again
    (sent,) = await service.send("one")
    assert list(await service.store.load(keys.MESSAGE_PREFIX)) == [keys.message(sent.message_id)]


@pytest.mark.parametrize("error", [StoreError("no space left"), RuntimeError("a fault of ours")])
async def test_what_could_not_be_stored_was_not_sent_and_its_repetition_is_a_first_call(
    service: Desk, error: Exception
) -> None:
    service.store.error = error
    with pytest.raises(type(error)):
        await service.send("one")
    assert await service.stored() == 0
    service.store.error = None
    (sent,) = await service.send("one")
    assert list(await service.store.load(keys.MESSAGE_PREFIX)) == [keys.message(sent.message_id)]


async def test_a_repetition_of_what_a_hanging_disk_wrote_after_all_is_sent_once(service: Desk) -> None:
    service.store.fails("whether this was written is not known")
    service.store.writes_all_the_same = True
    with pytest.raises(StoreError):
        await service.send("one")
    service.store.error = None
    first = await service.send("one")
    later = await service.again()
    assert await later.send("one") == first
    assert await later.stored() == 1


async def test_another_call_takes_back_what_a_hanging_disk_wrote_with_what_was_known_of_it(service: Desk) -> None:
    service.store.fails("whether this was written is not known")
    service.store.writes_all_the_same = True
    with pytest.raises(StoreError):
        await service.send("refused")
    service.store.error = None
    await service.send("another", request_id="r2")
    later = await service.again()
    (sent,) = await later.send("refused")
    assert keys.message(sent.message_id) in await service.store.load(keys.MESSAGE_PREFIX)
    assert await later.stored() == 2


async def test_a_call_cut_off_between_two_writes_cannot_be_for_there_is_one(service: Desk) -> None:
    before = service.store.saves
    await service.send(*(f"{number}" for number in range(50)))
    assert service.store.saves == before + 1
