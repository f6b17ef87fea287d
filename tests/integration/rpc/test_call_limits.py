"""Limits of a connection: sizes of requests and answers, calls at once."""

from __future__ import annotations

import asyncio

import pytest

from actors import sockets
from actors.errors import InvalidRequestError, PhalanxError, UnavailableError
from supervisor.api.requests import ReadRequest, Request, SendRequest, WaitRequest
from supervisor.api.results import ReadResult, Result, SendResult, WaitResult
from supervisor.api.verbs import Caller
from supervisor.rpc import server
from supervisor.rpc.client import SupervisorClient
from tests.integration.rpc.conftest import ScriptedVerbs, status_result

WAIT = WaitRequest(instance_ids=["spec_1"])


async def test_too_large_a_request_is_refused_before_it_is_sent(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 10_000)

    with pytest.raises(InvalidRequestError, match="in parts"):
        await client.send(SendRequest(instance_id="spec_1", message="x" * 20_000))

    assert verbs.calls == []
    assert await client.status() == status_result()


async def test_too_large_an_answer_becomes_an_error_of_that_call(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        return ReadResult(instance_id="spec_1", source="screen", screen="x" * 20_000)

    verbs.answers["read"] = answer
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 10_000)

    with pytest.raises(PhalanxError, match="answer of read"):
        await client.read(ReadRequest(instance_id="spec_1"))
    assert await client.status() == status_result()


async def test_more_calls_at_once_than_allowed_are_refused_one_by_one(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CALLS", 3)
    go_on = asyncio.Event()

    async def answer(request: Request, caller: Caller) -> Result:
        await go_on.wait()
        return WaitResult(reached=True, instances=[])

    verbs.answers["wait"] = answer
    calls = [asyncio.create_task(client.wait(WAIT)) for _ in range(5)]
    refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
    go_on.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert refused
    assert [isinstance(outcome, UnavailableError) for outcome in outcomes] == [False] * 3 + [True] * 2


async def test_a_hundred_calls_at_once_each_get_their_own_answer(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        assert isinstance(request, SendRequest)
        await asyncio.sleep(0.001 * (int(request.message) % 7))
        return SendResult(success=True, instance_id="spec_1", message_id=request.message)

    verbs.answers["send"] = answer
    texts = [str(number) for number in range(100)]

    sent = await asyncio.gather(*(client.send(SendRequest(instance_id="spec_1", message=text)) for text in texts))

    assert [result.message_id for result in sent] == texts
