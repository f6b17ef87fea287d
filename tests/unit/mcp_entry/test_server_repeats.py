"""Calls whose connection broke: which are made again, as which request, and what is told of the others."""

from __future__ import annotations

from typing import Any

import pytest

from actors.errors import UnavailableError
from supervisor.api import requests
from supervisor.api.verbs import ProgressCallback
from tests.fakes.gateway import ARGUMENTS, FakeClient
from tests.fakes.lead import lead, text_of


class BrokenClient(FakeClient):
    """Its connection breaks at the first call."""

    def __init__(self) -> None:
        super().__init__(**dict.fromkeys(ARGUMENTS, self.break_off))

    async def break_off(self, request: Any, on_progress: ProgressCallback) -> Any:
        self.lost = True
        raise UnavailableError("The connection to the supervisor broke.")


async def test_a_look_whose_connection_broke_is_made_again_over_a_new_one() -> None:
    async with lead(BrokenClient(), FakeClient()) as client:
        assert not (await client.call_tool("list", {})).is_error


@pytest.mark.parametrize("tool", ["spawn", "spawn_batch", "send", "send_batch", "git_batch"])
async def test_a_deed_whose_connection_broke_is_made_again_as_the_same_request(tool: str) -> None:
    first, second = BrokenClient(), FakeClient()
    async with lead(first, second) as client:
        assert not (await client.call_tool(tool, ARGUMENTS[tool])).is_error
    ((_, request),) = first.asked
    assert second.asked == [(tool, request)]
    assert request.request_id  # type: ignore[attr-defined]


async def test_every_deed_is_a_request_of_its_own_unless_the_caller_says_otherwise() -> None:
    fake = FakeClient()
    async with lead(fake) as client:
        for request_id in ({}, {}, {"requestId": "mine-1"}):
            await client.call_tool("send", {**ARGUMENTS["send"], **request_id})
    first, second, third = [request.request_id for _, request in fake.asked]  # type: ignore[attr-defined]
    assert len({first, second, third}) == 3
    assert third == "mine-1"


@pytest.mark.parametrize("tool", ["respond", "interrupt", "terminate", "restart"])
async def test_a_deed_without_request_id_whose_connection_broke_is_not_made_again(tool: str) -> None:
    second = FakeClient()
    async with lead(BrokenClient(), second) as client:
        result = await client.call_tool(tool, ARGUMENTS[tool])
        assert result.is_error
        assert "requestId" not in text_of(result)
        assert second.asked == []
        assert not (await client.call_tool(tool, ARGUMENTS[tool])).is_error


async def test_a_deed_whose_outcome_is_not_known_says_how_to_make_it_again_without_doing_it_twice() -> None:
    first = BrokenClient()
    async with lead(first, BrokenClient()) as client:
        result = await client.call_tool("send", ARGUMENTS["send"])
    request_id = first.only_request().request_id  # type: ignore[attr-defined]
    assert result.is_error
    assert f"The same call with requestId {request_id} is not done twice." in text_of(result)


async def test_a_request_id_belongs_to_a_batch_and_not_to_its_members() -> None:
    fake = FakeClient()
    member = {**ARGUMENTS["spawn"], "requestId": "mine-1"}
    async with lead(fake) as client:
        await client.call_tool("spawn_batch", {"instances": [member]})
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
    request = fake.only_request()
    assert isinstance(request, requests.SpawnBatchRequest)
    (malformed,) = request.instances
    assert isinstance(malformed, requests.Malformed)
    assert "requestId stands beside instances, one for the whole batch" in malformed.fault
    assert "requestId" not in tools["spawn_batch"]["properties"]["instances"]["items"]["properties"]
    assert {name for name, schema in tools.items() if "requestId" in schema["properties"]} == {
        "spawn",
        "spawn_batch",
        "send",
        "send_batch",
        "git_batch",
    }
