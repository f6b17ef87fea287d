"""The tools as an MCP client sees them: what they give, how they refuse, wait, are cancelled and made again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import anyio
import jsonschema  # type: ignore[import-untyped]
import pytest
from mcp.shared.exceptions import MCPError

from actors.errors import InvalidRequestError, UnavailableError, UnknownInstanceError
from mcp_entry.connection import OnStep
from supervisor.api import requests, results
from supervisor.api.validation import parse
from supervisor.api.verbs import ProgressCallback, Verb, ignore_progress
from tests.fakes.gateway import (
    ARGUMENTS,
    FakeClient,
    git_done,
    git_outcome,
    info,
    listing,
    refused,
    sends,
    sent,
    terminated_with_saved_work,
)
from tests.fakes.lead import BOTH_ERAS, lead, structured, text_of


@BOTH_ERAS
@pytest.mark.parametrize("tool", ARGUMENTS)
async def test_a_tool_answers_with_structured_content_of_its_schema_and_a_text(tool: str, mode: str) -> None:
    fake = FakeClient()
    async with lead(fake, mode=mode) as client:
        (described,) = [each for each in (await client.list_tools()).tools if each.name == tool]
        jsonschema.validate(ARGUMENTS[tool], described.input_schema)
        result = await client.call_tool(tool, ARGUMENTS[tool])
    assert not result.is_error
    assert described.output_schema is not None
    jsonschema.validate(result.structured_content, described.output_schema)
    assert result.structured_content
    assert text_of(result)
    assert [verb for verb, _ in fake.asked] == [tool]


async def test_a_tool_hands_on_its_arguments_as_the_typed_request() -> None:
    fake = FakeClient()
    async with lead(fake) as client:
        arguments = {"instanceId": "spec_1_1_1", "message": "$(x) `y`\n", "immediate": True, "requestId": "mine-1"}
        await client.call_tool("send", arguments)
    assert fake.only_request() == requests.SendRequest(
        instance_id="spec_1_1_1", message="$(x) `y`\n", immediate=True, request_id="mine-1"
    )


async def test_nulls_are_left_out_of_a_result_but_kept_in_the_input_of_a_permission() -> None:
    listed = await structured("list", {}, FakeClient())
    responded = await structured("respond", ARGUMENTS["respond"], FakeClient())
    assert "parentId" not in listed["instances"][0]
    assert responded["permission"]["input"] == {"command": "ls", "timeout": None}


async def test_everything_that_a_lead_reads_before_it_starts_fits_into_what_clients_show() -> None:
    async with lead(FakeClient(), mode="legacy") as client:
        tools = (await client.list_tools()).tools
        instructions = client.instructions or ""
    assert {tool.name for tool in tools} == set(ARGUMENTS)
    assert len(instructions) <= 2048
    assert all(0 < len(tool.description or "") <= 2048 for tool in tools)


async def test_the_few_tools_with_which_a_lead_begins_need_no_search() -> None:
    async with lead(FakeClient()) as client:
        tools = (await client.list_tools()).tools
    begins = {tool.name for tool in tools if (tool.meta or {}).get("anthropic/alwaysLoad")}
    assert begins == {"spawn", "spawn_batch", "send", "wait", "list", "read"}


async def test_the_schema_of_an_answer_names_its_fields() -> None:
    async with lead(FakeClient()) as client:
        (tool,) = [each for each in (await client.list_tools()).tools if each.name == "wait"]
    assert tool.output_schema == {
        "type": "object",
        "properties": {"reached": {}, "reason": {}, "instances": {}, "others": {}},
    }


async def test_tools_that_only_look_say_so_and_those_that_end_something_too() -> None:
    async with lead(FakeClient()) as client:
        hints = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    assert {name for name, hint in hints.items() if hint and hint.read_only_hint} == {
        "read",
        "list",
        "wait",
        "get_performance",
    }
    destructive = {name for name, hint in hints.items() if hint and hint.destructive_hint}
    assert destructive == {"respond", "interrupt", "terminate", "restart", "recycle"}


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("send", {"instanceId": "spec_1_1_1", "message": "x", "text": "y"}, "text is no known argument"),
        (
            "send",
            {"instanceId": "spec_1_1_1", "message": "x", "text": "y"},
            "instanceId, message, immediate, wait, timeoutSeconds",
        ),
        ("wait", {"instanceIds": ["spec_1_1_1", "../x"]}, "instanceIds[1] cannot be '../x'"),
        ("get_performance", {"tool": "spawn"}, "tool is no known argument"),
    ],
)
async def test_a_wrong_argument_is_refused_by_its_path_with_the_known_ones_and_nothing_is_asked(
    tool: str, arguments: dict[str, Any], words: str
) -> None:
    async with lead(fake := FakeClient()) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert words in text_of(result)
    assert fake.asked == []


@pytest.mark.parametrize(
    ("more", "words"), [({"agent": "demo"}, "leave agent out"), ({"prepare": {"setup": "make"}}, "leave it out")]
)
async def test_what_would_act_outside_of_the_permission_rules_of_a_lead_is_left_to_people(
    more: dict[str, Any], words: str
) -> None:
    member = {"role": "specialist", "workDir": "/src", "context": "x"}
    fake = FakeClient()
    async with lead(fake) as client:
        results = [
            await client.call_tool("spawn", {**member, **more}),
            await client.call_tool("spawn_batch", {"instances": [member, {**member, **more}]}),
        ]
    assert [words in text_of(result) for result in results] == [True, True]
    assert fake.asked == []


async def test_a_malformed_member_reaches_the_team_as_it_was_given_so_that_the_others_are_done() -> None:
    members = [*ARGUMENTS["spawn_batch"]["instances"], {"role": "boss", "workDir": "/src", "context": "x"}]
    fake = FakeClient()
    async with lead(fake) as client:
        result = await client.call_tool("spawn_batch", {"instances": members})
    assert not result.is_error
    passed_on = fake.only_request().model_dump(mode="json", by_alias=True)
    assert passed_on["instances"][2] == members[2]
    assert parse(requests.SpawnBatchRequest, passed_on) == fake.only_request()


@pytest.mark.parametrize(
    ("error", "words", "secret"),
    [
        (UnknownInstanceError("There is no instance spec_9."), "There is no instance spec_9.", "KeyError"),
        (InvalidRequestError("no such file: \udcff"), "no such file: ?", "\udcff"),
        (KeyError("secret"), "Phalanx failed inside (KeyError); its log is /home/logs/entry.log.", "secret"),
    ],
)
async def test_a_refusal_is_told_in_its_words_and_a_fault_inside_by_the_log_and_the_server_goes_on(
    error: Exception, words: str, secret: str
) -> None:
    async with lead(FakeClient(read=error)) as client:
        result = await client.call_tool("read", {"instanceId": "spec_9"})
        assert not (await client.call_tool("list", {})).is_error
    assert (result.is_error, result.structured_content) == (True, None)
    assert text_of(result).startswith(words)
    assert secret not in text_of(result)


async def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    async with lead(FakeClient()) as client:
        with pytest.raises(MCPError, match=r"no tool 'spwan'.*spawn_batch"):
            await client.call_tool("spwan", {})


async def test_a_failing_member_of_a_batch_is_no_tool_error() -> None:
    error = results.ErrorInfo(code="unknown_instance", message="No.")
    async with lead(FakeClient(send_batch=sends(sent(), refused(error)))) as client:
        result = await client.call_tool("send_batch", ARGUMENTS["send_batch"])
    assert not result.is_error
    assert result.structured_content is not None
    assert result.structured_content["results"][1]["error"] == {"code": "unknown_instance", "message": "No."}
    assert "messages[1]" in text_of(result)


async def test_what_is_wrong_with_the_team_itself_is_told_by_list() -> None:
    away = listing().model_copy(update={"warnings": ["Redis is away."]})
    async with lead(FakeClient(list=away)) as client:
        result = await client.call_tool("list", {})
    assert result.structured_content is not None
    assert result.structured_content["warnings"] == ["Redis is away."]
    assert "Redis is away." in text_of(result)


async def test_where_a_terminated_instance_has_its_saved_work_is_told() -> None:
    reply = results.TerminateResult(success=True, terminated=[terminated_with_saved_work("/src/my shop")])
    async with lead(FakeClient(terminate=reply)) as client:
        result = await client.call_tool("terminate", ARGUMENTS["terminate"])
    assert result.structured_content is not None
    assert result.structured_content["terminated"][0]["savedRef"] == "refs/phalanx/saved/spec_1_1_1"
    assert "git -C '/src/my shop' branch saved/spec_1_1_1 refs/phalanx/saved/spec_1_1_1" in text_of(result)


async def test_a_git_operation_that_failed_is_told_with_its_place_and_reason() -> None:
    error = results.ErrorInfo(code="workspace", message="main conflicts in 1 file(s): 'a'; nothing was touched.")
    failed = git_outcome(type="merge", success=False, error=error, result={"conflicts": ["a"]})
    async with lead(FakeClient(git_batch=git_done(git_outcome(), failed))) as client:
        result = await client.call_tool("git_batch", ARGUMENTS["git_batch"])
    assert not result.is_error
    assert "1 of 2 operations done" in text_of(result)
    assert "operations[1] merge in /src failed: main conflicts" in text_of(result)


@BOTH_ERAS
async def test_cancelling_a_call_ends_the_waiting_and_leaves_the_server_usable(mode: str) -> None:
    waiting, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: requests.WaitRequest, on_progress: ProgressCallback) -> results.WaitResult:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with lead(FakeClient(wait=wait), mode=mode) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "wait", ARGUMENTS["wait"])
            await waiting.wait()
            group.cancel_scope.cancel()
        async with asyncio.timeout(5):
            await ended.wait()
        assert not (await client.call_tool("list", {})).is_error


async def test_calls_run_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def wait(request: requests.WaitRequest, on_progress: ProgressCallback) -> results.WaitResult:
        await both.wait()
        return results.WaitResult(reached=True, instances=[info()])

    async with lead(FakeClient(wait=wait)) as client, asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(client.call_tool("wait", ARGUMENTS["wait"]))
        group.create_task(client.call_tool("wait", ARGUMENTS["wait"]))


async def test_while_the_team_starts_a_call_waits_and_says_so() -> None:
    told: list[str | None] = []
    starting = asyncio.Event()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(message)
        starting.set()

    async def bring_up(on_step: OnStep) -> None:
        await starting.wait()
        on_step("starting Ray")
        fake.running = True

    async with lead(fake := absent(), bring_up=bring_up) as client:
        result = await client.call_tool("send", ARGUMENTS["send"], progress_callback=on_progress)
    assert not result.is_error
    assert told == ["reaching the team, starting it if need be…", "starting Ray…"]


async def test_tools_are_listed_at_once_while_the_team_does_not_come_up() -> None:
    async def bring_up(on_step: OnStep) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(5), lead(absent(), bring_up=bring_up) as client:
        assert len((await client.list_tools()).tools) == len(ARGUMENTS)


def absent() -> FakeClient:
    """Of a team that does not run."""
    fake = FakeClient()
    fake.running = False
    fake.lose()
    return fake


class BreakingClient(FakeClient):
    """Its connection breaks during the first ``breaks`` calls."""

    def __init__(self, breaks: int = 1) -> None:
        super().__init__()
        self.breaks = breaks

    async def call_json(
        self,
        verb: Verb[Any, Any],
        arguments: Mapping[str, Any],
        on_progress: ProgressCallback = ignore_progress,
        token: str | None = None,
    ) -> dict[str, Any]:
        answer = await super().call_json(verb, arguments, on_progress, token)
        if self.breaks:
            self.breaks -= 1
            self.lose()
            raise UnavailableError("The connection to the supervisor broke.")
        return answer


@pytest.mark.parametrize("tool", ["list", "spawn", "spawn_batch", "send", "send_batch", "git_batch"])
async def test_a_call_whose_connection_broke_is_made_again_as_the_same_request(tool: str) -> None:
    async with lead(fake := BreakingClient()) as client:
        assert not (await client.call_tool(tool, ARGUMENTS[tool])).is_error
    first, second = fake.asked
    assert first == second
    assert tool == "list" or first[1].request_id  # type: ignore[attr-defined]


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
    async with lead(fake := BreakingClient()) as client:
        result = await client.call_tool(tool, ARGUMENTS[tool])
        assert result.is_error
        assert "requestId" not in text_of(result)
        assert len(fake.asked) == 1
        assert not (await client.call_tool(tool, ARGUMENTS[tool])).is_error


async def test_a_deed_whose_outcome_is_not_known_says_how_to_make_it_again_without_doing_it_twice() -> None:
    async with lead(fake := BreakingClient(breaks=2)) as client:
        result = await client.call_tool("send", ARGUMENTS["send"])
    request_id = fake.asked[0][1].request_id  # type: ignore[attr-defined]
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
    assert "requestId" not in json.dumps(tools)


async def test_an_argument_that_a_lead_is_not_shown_is_taken_all_the_same() -> None:
    arguments = {**ARGUMENTS["spawn_batch"]["instances"][0], "model": "opus", "env": {"A": "b"}}
    async with lead(fake := FakeClient()) as client:
        tools = {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}
        await client.call_tool("spawn_batch", {"instances": [arguments], "requestId": "mine-1"})
    assert "model" not in tools["spawn_batch"]["properties"]["instances"]["items"]["properties"]
    request = fake.only_request()
    assert isinstance(request, requests.SpawnBatchRequest)
    assert request.request_id == "mine-1"
    assert request.instances == [requests.SpawnRequest.model_validate(arguments)]
