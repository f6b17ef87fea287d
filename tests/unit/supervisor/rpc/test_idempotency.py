from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from actors.errors import InvalidRequestError
from supervisor.api.requests import SendRequest
from supervisor.records import Unreadable
from supervisor.rpc import idempotency
from supervisor.rpc.idempotency import IdempotencyStore, check_same, fingerprint
from supervisor.store import keys
from tests.fakes.clock import turns


def request(message: str = "hello", **more: object) -> SendRequest:
    return SendRequest.model_validate({"instanceId": "spec_0_0_1", "message": message, "requestId": "r1", **more})


class Work:
    def __init__(self) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.runs


def remembered(known: IdempotencyStore, request_id: str, content: str = "content") -> dict[str, bytes]:
    noted = known.note(request_id, content, [{"instance_id": "spec_0_0_1"}])
    assert noted.delete == []
    known.keep(noted)
    return dict(noted.records)


async def test_a_repeated_call_joins_the_one_that_is_under_way() -> None:
    known, work = IdempotencyStore(), Work()
    calls = [asyncio.create_task(known.once(request(), "r1", work)) for _ in range(3)]
    await turns()
    work.gate.set()
    assert await asyncio.gather(*calls) == [1, 1, 1]
    assert work.runs == 1


async def test_other_content_under_the_same_id_is_refused_while_the_call_runs() -> None:
    known, work = IdempotencyStore(), Work()
    first = asyncio.create_task(known.once(request("one"), "r1", work))
    await turns()
    with pytest.raises(InvalidRequestError, match="another call"):
        await known.once(request("two"), "r1", work)
    work.gate.set()
    assert await first == 1


async def test_how_long_the_caller_waits_is_no_other_content() -> None:
    assert fingerprint(request()) == fingerprint(request(wait=True, timeoutSeconds=5, requestId="r2"))


async def test_calls_without_an_id_are_all_done() -> None:
    known, work = IdempotencyStore(), Work()
    work.gate.set()
    assert [await known.once(request(), None, work) for _ in range(2)] == [1, 2]


async def test_an_error_reaches_all_who_wait_and_the_next_call_begins_anew() -> None:
    known, work = IdempotencyStore(), Work()
    work.error = InvalidRequestError("no")
    calls = [asyncio.create_task(known.once(request(), "r1", work)) for _ in range(2)]
    await turns()
    work.gate.set()
    assert [str(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == ["no", "no"]
    work.error = None
    assert await known.once(request(), "r1", work) == 2


async def test_a_call_goes_on_while_one_of_those_who_wait_is_left_and_ends_with_the_last() -> None:
    known, work = IdempotencyStore(), Work()
    calls = [asyncio.create_task(known.once(request(), "r1", work)) for _ in range(2)]
    await turns()
    calls[0].cancel()
    await turns()
    assert not calls[1].done()
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await turns()
    work.gate.set()
    assert await known.once(request(), "r1", work) == 2


async def test_a_call_that_is_repeated_right_after_it_was_cancelled_finds_what_goes_on() -> None:
    known = IdempotencyStore()
    gate, begun = asyncio.Event(), list[str]()

    async def work() -> str:
        if not begun:
            begun.append("it")
            with suppress(asyncio.CancelledError):
                await asyncio.shield(gate.wait())
            await turns()  # it takes a while to leave what it has begun to itself
            raise asyncio.CancelledError
        return f"what came of {begun[0]}"

    first = asyncio.create_task(known.once(request(), "r1", work))
    await turns()
    first.cancel()
    second, third = (asyncio.create_task(known.once(request(), "r1", work)) for _ in range(2))
    with pytest.raises(InvalidRequestError, match="another call"):
        await known.once(request("other"), "r1", work)
    assert [await second, await third] == ["what came of it"] * 2
    assert first.cancelled()
    assert begun == ["it"]


def test_outcomes_are_bounded_by_their_size_too_and_the_last_is_kept_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "KEPT_BYTES", 1000)
    store: dict[str, bytes] = {}
    known = IdempotencyStore()

    def note(request_id: str, size: int) -> list[str]:
        noted = known.note(request_id, "content", ["x" * size])
        known.keep(noted)
        store.update(noted.records)
        for key in noted.delete:
            del store[key]
        return [key.removeprefix(keys.REQUEST_PREFIX) for key in noted.delete]

    assert [note(f"r{number}", 300) for number in range(4)] == [[], [], ["r0"], ["r1"]]
    assert note("r3", 500) == []
    assert note("large", 2000) == ["r2", "r3"]
    assert sum(map(len, store.values())) > 1000
    known = IdempotencyStore()
    known.restore(store, Unreadable())
    assert known.outcomes("large", "content") == ["x" * 2000]
    assert note("small", 10) == ["large"]
    assert [note(f"s{number}", 300) for number in range(2)] == [[], []]


def test_what_was_done_is_known_after_a_restart_and_belongs_to_one_content() -> None:
    records = remembered(IdempotencyStore(), "r1")
    later = IdempotencyStore()
    later.restore(records, Unreadable())
    assert later.outcomes("r1", "content") == [{"instance_id": "spec_0_0_1"}]
    assert later.outcomes("r2", "content") is None
    with pytest.raises(InvalidRequestError, match="another call"):
        later.outcomes("r1", "other content")


def test_a_call_that_could_not_be_stored_is_new_and_has_cost_no_other_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "KEPT", 2)
    known = IdempotencyStore()
    for request_id in ("r1", "r2"):
        remembered(known, request_id)
    assert known.note("r3", "content", []).delete == [keys.request("r1")]
    assert known.outcomes("r3", "content") is None
    assert known.outcomes("r1", "content") is not None


def test_calls_that_are_stored_at_the_same_time_leave_no_more_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "KEPT", 2)
    known = IdempotencyStore()
    for request_id in ("r1", "r2"):
        remembered(known, request_id)
    for noted in [known.note(request_id, "content", []) for request_id in ("r3", "r4")]:
        known.keep(noted)
    last = known.note("r5", "content", [])
    known.keep(last)
    assert last.delete == [keys.request("r2"), keys.request("r3")]
    kept = [number for number in range(1, 6) if known.outcomes(f"r{number}", "content") is not None]
    assert kept == [4, 5]


def test_only_the_latest_calls_are_kept_also_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "KEPT", 3)
    store: dict[str, bytes] = {}
    known = IdempotencyStore()
    for number in (9, 8, 7):
        store.update(remembered(known, f"r{number}"))
    known = IdempotencyStore()
    known.restore(dict(sorted(store.items())), Unreadable())
    noted = known.note("r1", "content", [])
    assert noted.delete == [keys.request("r9")]
    known.keep(noted)
    assert known.outcomes("r9", "content") is None
    assert known.outcomes("r8", "content") is not None


@pytest.mark.parametrize("damaged", [b"", b"\x02", b"\x01\xc1", b"\x01\x05", b"\x01\x80", b"\x01\x93abc"])
def test_a_call_whose_record_cannot_be_read_is_refused_and_not_done_again(damaged: bytes) -> None:
    known, unreadable = IdempotencyStore(), Unreadable()
    known.restore({keys.request("r1"): damaged, **remembered(IdempotencyStore(), "r2")}, unreadable)
    assert unreadable.keys == [keys.request("r1")]
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        known.outcomes("r1", "content")
    assert known.outcomes("r2", "content") is not None


def test_the_same_id_with_the_same_content_is_no_error() -> None:
    check_same("r1", "content", "content")
