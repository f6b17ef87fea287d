"""Clients and gateways of other versions, told by fake numbers over the real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import Field

from actors.errors import InvalidRequestError, VersionError
from actors.home import Home
from actors.sockets import pack, read_frame
from actors.versions import PROTOCOL
from supervisor.api.requests import SendRequest
from supervisor.rpc import client as client_module
from supervisor.rpc.client import SupervisorClient
from supervisor.rpc.server import Gateway
from supervisor.runtime.parts import gateway_answers
from supervisor.versions import VERSION
from tests.integration.rpc.conftest import SENT, STATUS, ScriptedVerbs, gives, soon


class NewerSend(SendRequest):
    """Of a version that knows one more."""

    priority: str = Field(default="normal")


@pytest.fixture
async def newer(home: Home, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SupervisorClient]:
    monkeypatch.setattr(client_module, "VERSION", "99.0")
    async with await SupervisorClient.connect(home) as client:
        yield client


@pytest.fixture
async def stranger(home: Home, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SupervisorClient]:
    """Its protocol is another one."""
    monkeypatch.setattr(client_module, "VERSION", "99.0")
    monkeypatch.setattr(client_module, "PROTOCOL", PROTOCOL + 1)
    async with await SupervisorClient.connect(home) as client:
        yield client


async def test_a_client_that_is_newer_by_one_optional_field_works_until_it_uses_that(
    newer: SupervisorClient, verbs: ScriptedVerbs
) -> None:
    verbs.answers["send"] = gives(SENT)
    assert await newer.send(NewerSend(instance_id="spec_1", message="hello")) == SENT
    with pytest.raises(InvalidRequestError, match="priority is no known argument") as raised:
        await newer.send(NewerSend(instance_id="spec_1", message="hello", priority="high"))
    assert f"This client is Phalanx 99.0, the team runs {VERSION}. `phalanx down`" in str(raised.value)
    assert len(verbs.calls) == 1


async def test_a_call_of_the_same_version_is_refused_without_a_word_on_versions(
    home: Home, client: SupervisorClient
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        await client.send(NewerSend(instance_id="spec_1", message="hello", priority="high"))
    assert "phalanx down" not in str(raised.value)


async def test_both_sides_notice_that_the_other_is_of_another_version(
    home: Home, gateway: Gateway, newer: SupervisorClient
) -> None:
    assert newer.version_note == ""
    await newer.status()
    assert newer.version_note.startswith(f"The team runs Phalanx {VERSION}, and this is 99.0. `phalanx down`")
    assert f"Clients of Phalanx 99.0 are connected, and the team runs {VERSION}" in gateway.warning
    await newer.close()
    async with asyncio.timeout(5):
        while gateway.warning:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_who_is_of_the_same_version_is_told_nothing(client: SupervisorClient, gateway: Gateway) -> None:
    await client.status()
    assert (client.version_note, gateway.warning) == ("", "")


async def test_each_call_of_another_protocol_has_one_clear_error_and_disturbs_nobody(
    stranger: SupervisorClient, verbs: ScriptedVerbs, home: Home, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        with pytest.raises(VersionError) as raised:
            await stranger.status()
        told = str(raised.value)
        assert f"this client (Phalanx 99.0) and the team (Phalanx {VERSION}) do not understand each other" in told
        assert "`phalanx down`, then `phalanx up --resume`" in told
    assert not stranger.closed
    assert verbs.calls == []
    monkeypatch.undo()
    async with await SupervisorClient.connect(home) as client:
        assert await client.status() == STATUS


async def test_a_team_that_understands_nobody_here_is_not_taken_for_one_that_is_away(
    home: Home, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody would bring up another one in its place."""
    monkeypatch.setattr(client_module, "PROTOCOL", PROTOCOL + 1)
    assert await asyncio.to_thread(gateway_answers, home)


async def test_a_client_of_before_protocols_had_numbers_is_answered_as_it_was(home: Home, gateway: Gateway) -> None:
    reader, writer = await asyncio.open_unix_connection(home.gateway_socket)
    writer.write(pack({"hello": {"sender": "old", "version": "0.1"}}) + pack({"id": 1, "verb": "status", "params": {}}))
    frame = await soon(read_frame(reader))
    assert frame is not None
    assert frame["id"] == 1
    assert "result" in frame
    assert "Clients of Phalanx 0.1" in gateway.warning
    writer.close()


@pytest.mark.parametrize(
    ("hello", "words"), [({}, "another version of Phalanx"), ({"hello": {"version": "0.1"}}, "Phalanx 0.1,")]
)
async def test_a_team_of_before_is_noticed_too(home: Home, hello: dict[str, object], words: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        if hello:
            writer.write(pack(hello))
        while (frame := await read_frame(reader)) is not None:
            result = STATUS.model_dump(mode="json", by_alias=True)
            writer.write(pack({"id": frame["id"], "result": result}))
        writer.close()

    server = await asyncio.start_unix_server(serve, str(home.gateway_socket))
    async with await SupervisorClient.connect(home) as client:
        await client.status()
        assert words in client.version_note
    server.close()
