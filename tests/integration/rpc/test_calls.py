"""Calls over a real socket: requests, answers, refusals, progress, cancelling, limits."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

import pytest

from actors import sockets
from actors.errors import (
    InvalidRequestError,
    PhalanxError,
    TooManyCallsError,
    UnavailableError,
    UnknownInstanceError,
    WorkspaceError,
)
from actors.home import Home
from actors.sockets import pack, read_frame
from supervisor.api.requests import ListRequest, ReadRequest, Request, SendRequest
from supervisor.api.results import ReadResult, Result, SendResult
from supervisor.api.verbs import VERBS, Caller, TeamVerbs
from supervisor.rpc import connection as connection_module
from supervisor.rpc import server
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import EVERY_S, Gateway
from tests.integration.rpc.conftest import SEND, STATUS, WAIT, WAITED, Held, ScriptedVerbs, gives, soon


async def refusal(home: Home, verb: str, params: Any) -> str:
    """With what a call is refused of a client that checks nothing itself."""
    reader, writer = await asyncio.open_unix_connection(home.gateway_socket)
    writer.write(pack({"hello": {"sender": "raw"}}) + pack({"id": 1, "verb": verb, "params": params}))
    async with asyncio.timeout(5):
        frame = await read_frame(reader)
    writer.close()
    assert frame is not None
    assert frame["error"]["code"] == InvalidRequestError.code
    return str(frame["error"]["message"])


async def test_the_request_the_sender_and_the_result_arrive_as_they_were(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    text = "✓ “quotes” $(no) \\ \x00 \n 日本語"
    sent = SendRequest(instance_id="spec_1_2", message=text, wait=True, request_id="mine")
    result = SendResult(success=True, instance_id="spec_1_2", message_id="m1", reason=text)
    verbs.answers["send"] = gives(result)

    assert await client.send(sent) == result
    assert verbs.calls == [("send", sent, "tester")]


async def test_who_is_cancelled_while_it_closes_is_cancelled(client: SupervisorClient) -> None:
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()


async def test_a_long_call_does_not_hold_up_a_short_one(client: SupervisorClient, verbs: ScriptedVerbs) -> None:
    verbs.answers["wait"] = held = Held(WAITED)
    waiting = asyncio.create_task(client.wait(WAIT))

    assert await soon(client.status()) == STATUS
    assert not waiting.done()
    held.go_on.set()
    assert await waiting == WAITED


@pytest.mark.parametrize(
    ("verb", "params", "words"),
    [
        ("send", {"instanceId": "spec_1", "message": "x", "wiat": True}, ["wiat", "wait"]),
        ("send", {"instanceId": "../x", "message": "x"}, ["instanceId", "../x"]),
        ("wait", {"instanceIds": ["spec_1"], "timeoutSeconds": 99999}, ["timeoutSeconds", "99999", "3600"]),
        ("read", {}, ["instanceId"]),
        ("list", [], ["object"]),
        ("fly", {}, ["fly", "spawn_batch"]),
    ],
)
async def test_a_wrong_call_is_refused_in_words_and_never_reaches_the_supervisor(
    home: Home, gateway: Gateway, verbs: ScriptedVerbs, verb: str, params: Any, words: list[str]
) -> None:
    told = await refusal(home, verb, params)

    assert all(word in told for word in words)
    assert "pydantic" not in told
    assert verbs.calls == []


async def test_a_wrong_value_is_shortened_in_the_refusal(home: Home, gateway: Gateway) -> None:
    assert len(await refusal(home, "send", {"instanceId": "x" * 100_000, "message": "x"})) < 500


async def test_a_number_that_cannot_even_be_sent_is_refused_by_its_name(client: SupervisorClient) -> None:
    with pytest.raises(InvalidRequestError, match="lines must be at most 2000"):
        await client.call_json(VERBS["read"], {"instanceId": "spec_1", "lines": 10**30})


@pytest.mark.parametrize("error", [UnknownInstanceError("no spec_9"), WorkspaceError("dirty"), PhalanxError("?")])
async def test_an_error_of_the_supervisor_arrives_as_what_it_is(
    client: SupervisorClient, verbs: ScriptedVerbs, error: PhalanxError
) -> None:
    verbs.answers["send"] = gives(error)

    with pytest.raises(type(error), match=re.escape(str(error))) as raised:
        await client.send(SEND)
    assert type(raised.value) is type(error)


@pytest.mark.parametrize("error", [KeyError("secret"), asyncio.CancelledError()])
async def test_a_failure_inside_is_logged_and_answered_without_its_inside(
    client: SupervisorClient, verbs: ScriptedVerbs, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        raise error

    verbs.answers["send"] = answer

    with caplog.at_level(logging.ERROR), pytest.raises(PhalanxError) as raised:
        await client.send(SEND)

    assert raised.value.code == "internal"
    assert "secret" not in str(raised.value)
    reference = re.search(r"reference ([0-9a-f]{8})", str(raised.value))
    assert reference
    assert reference[1] in caplog.text
    assert "Traceback" in caplog.text
    assert await client.status() == STATUS


async def test_fast_progress_is_thinned_out_but_its_last_word_arrives_before_the_answer(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        for done in range(1, 1001):
            caller.progress(done, 1000, f"spec_{done}")
            if done % 20 == 10:
                await asyncio.sleep(0.01)
        return WAITED

    verbs.answers["wait"] = answer
    seen: list[tuple[int, int, str]] = []
    begun = time.monotonic()

    await client.wait(WAIT, lambda *word: seen.append(word))

    assert seen[-1] == (1000, 1000, "spec_1000")
    assert 2 <= len(seen) <= (time.monotonic() - begun) / EVERY_S + 2
    assert seen == sorted(seen)


async def test_a_progress_callback_that_fails_fails_its_own_call_only(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    async def answer(request: Request, caller: Caller) -> Result:
        caller.progress(1, 2, "half")
        await asyncio.sleep(0.2)
        return WAITED

    def fail(_done: int, _total: int, _what: str) -> None:
        raise ZeroDivisionError

    verbs.answers["wait"] = answer
    well = asyncio.create_task(client.wait(WAIT))

    with pytest.raises(ZeroDivisionError):
        await client.wait(WAIT, fail)
    assert await well == WAITED


async def test_cancelling_a_call_cancels_it_in_the_supervisor_and_nothing_else(
    client: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    verbs.answers["send"] = held = Held(WAITED)
    call = asyncio.create_task(client.send(SEND))
    await held.begun()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await held.cancelled()
    assert await client.status() == STATUS


@pytest.mark.parametrize(("verb", "goes_on"), [("wait", False), ("send", True)])
async def test_after_a_timeout_only_a_call_that_changes_something_goes_on(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch, verb: str, goes_on: bool
) -> None:
    verbs.answers[verb] = held = Held(WAITED)

    with monkeypatch.context() as patched:
        patched.setattr(connection_module, "limit_s", lambda *_: 0.1)
        with pytest.raises(UnavailableError, match="not known" if goes_on else "Make the call again"):
            await (client.send(SEND) if goes_on else client.wait(WAIT))
    await client.status()  # answered in turn: by now the call, and its cancelling if there is any, has been seen
    assert held.under_way == goes_on
    held.go_on.set()
    await (held.done() if goes_on else held.cancelled())


async def test_an_answer_of_another_version_is_told_as_that(client: SupervisorClient, verbs: ScriptedVerbs) -> None:
    with pytest.raises(UnavailableError, match="another version"):
        await client.list(ListRequest())  # answered with a status


async def test_too_large_a_request_is_refused_before_it_is_sent(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 10_000)

    with pytest.raises(InvalidRequestError, match="in parts"):
        await client.send(SendRequest(instance_id="spec_1", message="x" * 20_000))

    assert verbs.calls == []
    assert await client.status() == STATUS


async def test_too_large_an_answer_becomes_an_error_of_that_call(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs.answers["read"] = gives(ReadResult(instance_id="spec_1", source="screen", screen="x" * 20_000))
    monkeypatch.setattr(sockets, "MAX_FRAME_BYTES", 10_000)

    with pytest.raises(PhalanxError, match="answer of read"):
        await client.read(ReadRequest(instance_id="spec_1"))
    assert await client.status() == STATUS


async def test_more_calls_at_once_than_allowed_are_refused_one_by_one(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CALLS", 3)
    go_on = asyncio.Event()

    async def answer(request: Request, caller: Caller) -> Result:
        await go_on.wait()
        return WAITED

    verbs.answers["wait"] = answer
    calls = [asyncio.create_task(client.wait(WAIT)) for _ in range(5)]
    refused, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION, timeout=5)
    go_on.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert refused
    assert [isinstance(outcome, TooManyCallsError) for outcome in outcomes] == [False] * 3 + [True] * 2


async def test_instances_that_call_through_one_client_have_each_a_limit_of_their_own(
    client: SupervisorClient, verbs: ScriptedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CALLS", 2)
    monkeypatch.setattr(server, "MAX_CLIENT_CALLS", 7)
    waiting, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def answer(request: Request, caller: Caller) -> Result:
        waiting.release()
        await go_on.wait()
        return WAITED

    async def ask(token: str | None) -> bool:
        try:
            await client.call_json(TeamVerbs.wait, {"instanceIds": ["spec_1"]}, token=token)
        except TooManyCallsError:
            return False
        return True

    verbs.answers["wait"] = answer
    calls = [asyncio.create_task(ask(token)) for token in ("a", "a", "b", "b", "c", "c")]
    async with asyncio.timeout(5):
        for _ in calls:
            await waiting.acquire()
        assert not await ask("a")
        users = asyncio.create_task(ask(None))
        await waiting.acquire()
        assert not await ask("d")  # all together are too many
    go_on.set()
    assert all(await asyncio.gather(*calls, users))
    assert await ask("a")


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
