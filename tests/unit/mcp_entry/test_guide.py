"""The JSON examples of the performance guide are accepted as written, and what its examples read is in the answers.

The guide's calls stand here word for word, with the comments that its JSON has taken out, and also with its key
``tool`` among the arguments, as clients give it that take an example for the arguments of the tool.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from supervisor.api import requests
from tests.fakes.gateway import REPLIES, FakeClient
from tests.fakes.lead import BOTH_ERAS, lead, text_of

GUIDE = (
    """
{
  "tool": "spawn_batch",
  "instances": [
    {
      "role": "specialist",
      "workDir": "/project",
      "context": "Feature implementation",
      "workspaceMode": "isolated"
    }
  ]
}
""",
    """
{
  "tool": "send_batch",
  "messages": [
    {
      "instanceId": "spec_1_1_123456",
      "message": "Please implement the login feature",
      "immediate": false
    }
  ]
}
""",
    """
{
  "tool": "git_batch",
  "operations": [
    {
      "type": "status",
      "workspaceDir": "/project",
      "cacheKey": "project-status"
    },
    {
      "type": "branch",
      "workspaceDir": "/project",
      "params": { "branchName": "feature/login" }
    }
  ]
}
""",
    """
{
  "tool": "get_performance"
}
""",
    """
{
  "tool": "optimize_settings",
  "settings": {
    "maxConcurrentSpawns": 10,
    "messageBatchSize": 20,
    "messageBatchDelay": 200,
    "prewarmInstances": 5
  }
}
""",
    """
{
  "tool": "prewarm_resources",
  "instances": 10,
  "worktrees": true
}
""",
)
IN_PASSING: tuple[tuple[str, dict[str, Any]], ...] = (
    ("optimize_settings", {"maxConcurrentSpawns": 10}),
    ("optimize_settings", {"messageBatchDelay": 200}),
    ("optimize_settings", {"cacheSize": 500}),
    ("optimize_settings", {"maxConcurrentGitOps": 5}),
    ("optimize_settings", {"messageBatchDelay": 50}),
    ("prewarm_resources", {"worktrees": True}),
)
"""The calls in its text and its JavaScript."""


_NO_ID = {"request_id": None}


@BOTH_ERAS
@pytest.mark.parametrize("example", GUIDE, ids=lambda text: json.loads(text)["tool"])
async def test_each_call_of_the_guide_is_accepted_as_written(example: str, mode: str) -> None:
    written = json.loads(example)
    name = written["tool"]
    without = {key: value for key, value in written.items() if key != "tool"}
    fakes = FakeClient(), FakeClient()
    for fake, arguments in zip(fakes, (written, without), strict=True):
        async with lead(fake, mode=mode) as client:
            result = await client.call_tool(name, arguments)
        assert not result.is_error, text_of(result)
    with_key, plain = (fake.only_request().model_copy(update=_NO_ID) for fake in fakes)
    assert with_key == plain
    batches = ("instances", "messages", "operations")
    members = [each for batch in batches if isinstance(found := getattr(plain, batch, None), list) for each in found]
    assert not any(isinstance(member, requests.Malformed) for member in members)


@pytest.mark.parametrize(("name", "arguments"), IN_PASSING)
async def test_each_call_in_the_text_of_the_guide_is_accepted_as_written(name: str, arguments: dict[str, Any]) -> None:
    async with lead(FakeClient()) as client:
        result = await client.call_tool(name, arguments)
    assert not result.is_error, text_of(result)


async def test_the_name_of_another_tool_among_the_arguments_is_refused() -> None:
    async with lead(fake := FakeClient()) as client:
        result = await client.call_tool("get_performance", {"tool": "spawn"})
    assert result.is_error
    assert "tool is no known argument" in text_of(result)
    assert fake.asked == []


async def test_what_the_examples_of_the_guide_read_is_in_the_answer() -> None:
    answer: Any = REPLIES["get_performance"]
    busy = answer.model_copy(update={"messages": answer.messages.model_copy(update={"avg_batch_size": 2.5})})
    async with lead(FakeClient(get_performance=busy)) as client:
        metrics = (await client.call_tool("get_performance", {})).structured_content
    assert metrics is not None
    assert isinstance(metrics["performance"]["score"], int)
    assert isinstance(metrics["recommendations"], list)
    assert isinstance(metrics["performance"]["alerts"], list)
    assert isinstance(metrics["queues"]["spawn"]["pending"], int)
    assert isinstance(metrics["messages"]["avgBatchSize"], float)
    for figures in ("spawns", "messages", "git", "cache"):
        assert figures in metrics["metrics"]


async def test_a_team_that_delivered_nothing_has_no_batch_size_so_that_nobody_raises_the_delay_for_it() -> None:
    async with lead(FakeClient()) as client:
        (tool,) = [each for each in (await client.list_tools()).tools if each.name == "get_performance"]
        answer = (await client.call_tool("get_performance", {})).structured_content
    assert answer is not None
    jsonschema.validate(answer, tool.output_schema or {})
    assert "avgBatchSize" not in answer["messages"]
