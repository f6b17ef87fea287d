"""The tools as an MCP client sees them: what they are, what they give, how they refuse."""

from __future__ import annotations

import json

import jsonschema  # type: ignore[import-untyped]
import pytest
from mcp.shared.exceptions import MCPError

from actors.errors import InvalidRequestError, UnknownInstanceError
from supervisor.api import requests, results
from supervisor.api.validation import parse
from tests.fakes.gateway import ARGUMENTS, FakeClient, git_done, git_outcome, listing, sent, terminated_with_saved_work
from tests.fakes.lead import BOTH_ERAS, lead, text_of


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
    async with lead(FakeClient()) as client:
        listed = (await client.call_tool("list", {})).structured_content
        responded = (await client.call_tool("respond", ARGUMENTS["respond"])).structured_content
    assert listed is not None
    assert "parentId" not in listed["instances"][0]
    assert responded is not None
    assert responded["permission"]["input"] == {"command": "ls", "timeout": None}


async def test_everything_that_a_lead_reads_before_it_starts_fits_into_what_clients_show() -> None:
    async with lead(FakeClient(), mode="legacy") as client:
        tools = (await client.list_tools()).tools
        instructions = client.instructions or ""
    assert {tool.name for tool in tools} == set(ARGUMENTS)
    assert len(instructions) <= 2048
    for tool in tools:
        assert "Example:" in (tool.description or "")
        assert len(tool.description or "") <= 2048
        assert tool.title
        assert tool.annotations is not None
        assert tool.annotations.title == tool.title


async def test_the_example_in_a_description_is_a_call_that_the_tool_takes() -> None:
    async with lead(FakeClient()) as client:
        for tool in (await client.list_tools()).tools:
            example = (tool.description or "").rpartition("Example:")[2]
            jsonschema.validate(json.loads(" ".join(example.split())), tool.input_schema)


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


async def test_an_unknown_argument_is_refused_by_name_with_the_known_ones_and_nothing_is_asked() -> None:
    fake = FakeClient()
    async with lead(fake) as client:
        result = await client.call_tool("send", {"instanceId": "spec_1_1_1", "message": "x", "text": "y"})
    assert result.is_error
    assert "text is no known argument" in text_of(result)
    assert "instanceId, message, immediate, wait, timeoutSeconds" in text_of(result)
    assert fake.asked == []


async def test_a_wrong_argument_is_named_by_its_path() -> None:
    async with lead(FakeClient()) as client:
        result = await client.call_tool("wait", {"instanceIds": ["spec_1_1_1", "../x"]})
    assert result.is_error
    assert "instanceIds[1] cannot be '../x'" in text_of(result)


async def test_a_malformed_member_reaches_the_team_as_it_was_given_so_that_the_others_are_done() -> None:
    members = [*ARGUMENTS["spawn_batch"]["instances"], {"role": "boss", "workDir": "/src", "context": "x"}]
    fake = FakeClient()
    async with lead(fake) as client:
        result = await client.call_tool("spawn_batch", {"instances": members})
    assert not result.is_error
    sent = fake.only_request().model_dump(mode="json", by_alias=True)
    assert sent["instances"][2] == members[2]
    assert parse(requests.SpawnBatchRequest, sent) == fake.only_request()


async def test_what_the_supervisor_refuses_is_a_tool_error_in_its_words() -> None:
    refusal = UnknownInstanceError("There is no instance spec_9. list shows who is there.")
    async with lead(FakeClient(read=refusal)) as client:
        result = await client.call_tool("read", {"instanceId": "spec_9"})
    assert result.is_error
    assert text_of(result) == "There is no instance spec_9. list shows who is there."
    assert result.structured_content is None


async def test_an_internal_error_is_short_names_the_log_and_does_not_end_the_server() -> None:
    async with lead(FakeClient(read=KeyError("secret"))) as client:
        result = await client.call_tool("read", {"instanceId": "spec_9"})
        assert result.is_error
        assert "KeyError" in text_of(result)
        assert "/home/logs/entry.log" in text_of(result)
        assert "secret" not in text_of(result)
        assert not (await client.call_tool("list", {})).is_error


async def test_a_text_that_is_no_valid_unicode_is_answered_all_the_same() -> None:
    async with lead(FakeClient(read=InvalidRequestError("no such file: \udcff"))) as client:
        assert text_of(await client.call_tool("read", {"instanceId": "spec_1"})) == "no such file: ?"


async def test_an_unknown_tool_is_refused_with_the_known_ones() -> None:
    async with lead(FakeClient()) as client:
        with pytest.raises(MCPError, match=r"no tool 'spwan'.*spawn_batch"):
            await client.call_tool("spwan", {})


async def test_a_failing_member_of_a_batch_is_no_tool_error() -> None:
    failed = sent(
        success=False, message_id=None, status=None, error=results.ErrorInfo(code="unknown_instance", message="No.")
    )
    reply = results.SendBatchResult(
        success=False,
        results=[sent(), failed],
        performance=results.SendPerformance(total_messages=2, queued=1, immediate=0, avg_batch_size=1.0),
    )
    async with lead(FakeClient(send_batch=reply)) as client:
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
    refused = results.ErrorInfo(code="workspace", message="main conflicts in 1 file(s): 'a'; nothing was touched.")
    failed = git_outcome(type="merge", success=False, error=refused, result={"conflicts": ["a"]})
    async with lead(FakeClient(git_batch=git_done(git_outcome(), failed))) as client:
        result = await client.call_tool("git_batch", ARGUMENTS["git_batch"])
    assert not result.is_error
    assert "1 of 2 operations done" in text_of(result)
    assert "operations[1] merge in /src failed: main conflicts" in text_of(result)
