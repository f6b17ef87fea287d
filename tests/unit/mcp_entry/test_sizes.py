"""What the answers of the tools cost a lead: in tokens, estimated by characters, as the entry sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.status import Status
from mcp_entry import sizes
from supervisor.api import results
from supervisor.api.requests import Request
from supervisor.api.verbs import ProgressCallback
from supervisor.metrics.health import HealthFinding
from tests.fakes.gateway import (
    ARGUMENTS,
    FakeClient,
    batch,
    entry,
    git_done,
    git_outcome,
    info,
    listing,
    performance,
    refused,
    sends,
    sent,
)
from tests.fakes.lead import lead, structured, text_of

TEAM = 200
MOST_TOKENS = 20_000
LONG = "the last turn failed: API Error 529 overloaded, request req_011CTxyz; " * 6
HOME = "/home/someone/.phalanx"
ERROR = results.ErrorInfo(code="workspace", message=f"A worktree could not be made: {LONG}")


def tokens(text: str) -> int:
    return round(len(text) / sizes.CHARACTERS_A_TOKEN)


def costs(result: types.CallToolResult) -> tuple[int, int]:
    """Of the structured content and of the text."""
    return round(sizes.size_of(result.structured_content) / sizes.CHARACTERS_A_TOKEN), tokens(text_of(result))


def member(number: int, **changes: Any) -> results.InstanceInfo:
    """As a real one looks that has worked for a while."""
    name = f"spec_1_12_{number}"
    fields: dict[str, Any] = {
        "name": f"checkout-{number}",
        "parent_id": "mgr_1_12",
        "agent": "claude",
        "working_directory": f"{HOME}/worktrees/{name}",
        "branch": f"phalanx/{name}",
        "host": "workstation",
        "tokens": results.Tokens(input=123456, output=34567, cache_read=9876543, cache_creation=234567),
        **changes,
    }
    return info(name, **fields)


def asking(number: int) -> results.InstanceInfo:
    tool_input = {"file_path": f"/src/{number}.py", "content": "x = 1\n" * 20_000}
    permission = results.Permission(permission_id="4be0" * 8, tool="Write", input=tool_input)
    return member(number, status=Status.WAITING_PERMISSION, permission=permission, needs_attention=True, unread=3)


def team(kind: str) -> list[results.InstanceInfo]:
    makers: dict[str, Callable[[int], results.InstanceInfo]] = {
        "idle": member,
        "unread": lambda number: member(number, unread=3, queued_messages=2, status=Status.BUSY),
        "asking": asking,
        "failed": lambda number: member(number, status=Status.FAILED, reason=LONG, needs_attention=True),
    }
    return [makers[kind](number) for number in range(1, TEAM + 1)]


def git(kind: str) -> results.GitBatchResult:
    files = [{"path": f"src/package/module_{number}.py", "added": 10, "deleted": 2} for number in range(300)]
    made: dict[str, dict[str, Any]] = {
        "diff": {"files": files, "patch": "+ a line that was added\n" * 4_000, "truncated": False},
        "log": {"commits": [{"commit": "0" * 40, "author": "A", "subject": "Change something"}] * 1000},
        "status": {"branch": "main", "changes": files},
    }
    return git_done(*[git_outcome(type=kind, result=made[kind])] * TEAM)


def ended(number: int) -> results.TerminatedInstance:
    name = f"spec_1_12_{number}"
    return results.TerminatedInstance(
        instance_id=name,
        status=Status.STOPPED,
        workspace_removed=False,
        kept=f"The worktree {HOME}/worktrees/{name} is kept: phalanx/{name} has 3 commits that are not merged.",
        saved_ref=f"refs/phalanx/saved/{name}",
        repository="/home/someone/projects/shop/.git",
    )


def long_performance() -> results.GetPerformanceResult:
    trouble = HealthFinding(code="memory", category="machine", severity="error", points=30, message=LONG)
    made = performance(*[trouble] * 300)
    (host,) = made.metrics.hosts
    hosts = [host.model_copy(update={"host": f"host-{number}.example.org"}) for number in range(TEAM)]
    metrics = made.metrics.model_copy(update={"hosts": hosts})
    return made.model_copy(update={"metrics": metrics, "history": made.history * 30})


def answers() -> dict[str, tuple[str, Any]]:
    spawned = results.SpawnOutcome(
        success=True,
        instance_id="spec_1_12_100",
        session_name="spec_1_12_100",
        working_directory=f"{HOME}/worktrees/spec_1_12_100",
        branch="phalanx/spec_1_12_100",
        notes=["The repository has changes that are not committed: they are not in the worktree."],
    )
    batched = batch().model_copy(update={"instances": [spawned] * TEAM})
    lists = {f"list, all {kind}": ("list", listing(*team(kind))) for kind in ("idle", "unread", "asking", "failed")}
    waits = {
        f"wait, all {kind}": ("wait", results.WaitResult(reached=True, instances=team(kind)))
        for kind in ("idle", "unread", "asking", "failed")
    }
    return {
        **lists,
        **waits,
        **{f"git_batch, {kind}": ("git_batch", git(kind)) for kind in ("diff", "log", "status")},
        "git_batch, refused": ("git_batch", git_done(*[git_outcome(success=False, error=ERROR)] * 1000)),
        "spawn_batch": ("spawn_batch", batched),
        "spawn_batch, failed": ("spawn_batch", batch(*[ERROR] * TEAM)),
        "send_batch": ("send_batch", sends(*[sent("spec_1_12_100")] * 1000)),
        "send_batch, refused": ("send_batch", sends(*[refused(ERROR)] * 1000)),
        "terminate": (
            "terminate",
            results.TerminateResult(success=True, terminated=[ended(number) for number in range(TEAM)]),
        ),
        "get_performance": ("get_performance", long_performance()),
        "recycle": (
            "recycle",
            results.RecycleResult(instance_id="spec_1_12_1", status=Status.READY, summary="x" * 1_000_000),
        ),
        "respond": ("respond", FakeClient().replies["respond"]),
    }


@pytest.mark.parametrize("what", answers())
async def test_no_answer_of_a_team_of_two_hundred_is_too_long_for_claude_code(what: str) -> None:
    tool, reply = answers()[what]
    async with lead(FakeClient(**{tool: reply})) as client:
        (described,) = [each for each in (await client.list_tools()).tools if each.name == tool]
        result = await client.call_tool(tool, ARGUMENTS[tool])
    assert not result.is_error
    jsonschema.validate(result.structured_content, described.output_schema)
    structured, text = costs(result)
    assert structured + text < MOST_TOKENS, (structured, text)


async def test_a_wait_for_a_hundred_of_which_two_have_settled_costs_little() -> None:
    waited = results.WaitResult(
        reached=False,
        reason="The time ran out: 98 are still at work.",
        instances=[member(1, unread=1), member(2, unread=1)],
        others={"busy": 98},
    )
    async with lead(FakeClient(wait=waited)) as client:
        result = await client.call_tool("wait", {})
    structured, text = costs(result)
    assert structured <= 120
    assert structured + text <= 200


async def test_a_list_is_in_brief_above_twenty_and_in_full_for_those_that_are_named() -> None:
    small, large = listing(*team("idle")[:20]), listing(*team("idle"))
    in_full = await structured("list", {}, FakeClient(list=small))
    assert in_full["instances"][0]["workingDirectory"] == f"{HOME}/worktrees/spec_1_12_1"
    assert "brief" not in in_full
    brief = await structured("list", {}, FakeClient(list=large))
    assert brief["brief"]
    assert brief["counts"] == {"ready": TEAM}
    assert len(brief["instances"]) == TEAM
    assert brief["instances"][0] == {
        "instanceId": "spec_1_12_1",
        "name": "checkout-1",
        "role": "specialist",
        "status": "ready",
    }
    fake = FakeClient(list=listing(*team("asking")[:1]))
    named = await structured("list", {"instanceIds": ["spec_1_12_1"]}, fake)
    (one,) = named["instances"]
    assert one["tokens"]["cacheRead"] == 9876543
    assert len(one["permission"]["input"]["content"]) > 30_000
    assert one["permission"]["leftOut"] == 120_000 - len(one["permission"]["input"]["content"])


async def test_more_than_can_be_shown_are_counted_with_those_that_need_somebody_first() -> None:
    many = [asking(1), *[member(number) for number in range(2, 1001)]]
    async with lead(FakeClient(list=listing(*many))) as client:
        result = await client.call_tool("list", {})
    content = result.structured_content or {}
    assert content["leftOut"] == 1000 - sizes.MOST_ROWS
    assert content["instances"][0]["status"] == "waiting_permission"
    assert f"Only {sizes.MOST_ROWS} are shown." in text_of(result)
    assert sum(costs(result)) < MOST_TOKENS


async def test_a_diff_that_is_too_long_is_cut_and_says_so_and_short_answers_beside_it_stay_whole() -> None:
    patch = "+ a line\n" * 20_000
    long = git_outcome(type="diff", result={"files": [{"path": "a", "added": 1}], "patch": patch, "truncated": False})
    short = git_outcome(result={"branch": "main", "upstream": None})
    async with lead(FakeClient(git_batch=git_done(long, short))) as client:
        result = await client.call_tool("git_batch", ARGUMENTS["git_batch"])
    first, second = (result.structured_content or {})["results"]
    assert first["result"]["files"] == [{"path": "a", "added": 1}]
    assert first["result"]["truncated"]
    assert first["leftOut"] == len(patch) - len(first["result"]["patch"])
    assert second["result"] == {"branch": "main", "upstream": None}
    assert "leftOut" not in second


async def test_a_log_keeps_whole_commits() -> None:
    async with lead(FakeClient(git_batch=git("log"))) as client:
        result = await client.call_tool("git_batch", ARGUMENTS["git_batch"])
    for outcome in (result.structured_content or {})["results"]:
        assert all(set(commit) == {"commit", "author", "subject"} for commit in outcome["result"]["commits"])
        assert outcome["leftOut"] > 0


@pytest.mark.parametrize("as_input", [False, True])
async def test_one_entry_that_is_read_in_whole_comes_in_parts_that_make_it_up(as_input: bool) -> None:
    text = "".join(f"{number:09}\n" for number in range(12_000))
    whole = entry("", "tool_call", input={"content": text}) if as_input else entry(text)
    asked: list[str | None] = []

    async def read(request: Request, on_progress: ProgressCallback) -> results.ReadResult:
        asked.append(getattr(request, "full", None))
        return results.ReadResult(instance_id="spec_1_1_1", source="conversation", entries=[whole])

    parts, full = "", "3f2a:7:0"
    async with lead(FakeClient(read=read)) as client:
        while full:
            result = await client.call_tool("read", {"instanceId": "spec_1_1_1", "full": full})
            assert max(costs(result)) < MOST_TOKENS
            (shown,) = (result.structured_content or {})["entries"]
            parts += shown["text"]
            full = shown.get("full", "")
    assert parts == (json.dumps({"content": text}) if as_input else text)
    assert set(asked) == {"3f2a:7:0"}


async def test_a_screen_that_is_too_long_is_shown_from_its_end() -> None:
    screen = results.ReadResult(instance_id="spec_1_1_1", source="screen", screen="x" * 400_000 + "❯")
    async with lead(FakeClient(read=screen)) as client:
        result = await client.call_tool("read", {"instanceId": "spec_1_1_1", "source": "screen", "lines": 2000})
    assert max(costs(result)) < MOST_TOKENS
    assert (result.structured_content or {})["screen"].endswith("❯")


@given(st.lists(st.integers(0, 10_000), max_size=50), st.integers(0, 50_000))
def test_shares_give_nobody_too_much_and_never_more_than_there_is(wanted: list[int], total: int) -> None:
    given_ = sizes.shares(wanted, total)
    assert all(0 <= got <= want for got, want in zip(given_, wanted, strict=True))
    assert sum(given_) <= total
    assert sum(given_) == sum(wanted) or sum(given_) > total - len(wanted)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=40,
)


@given(st.dictionaries(st.text(max_size=10), JSON, max_size=5), st.integers(0, 3_000))
def test_what_is_shortened_keeps_its_form_and_counts_what_is_missing(value: dict[str, Any], most: int) -> None:
    kept, left_out = sizes.shortened(value, most)
    assert kept.keys() == value.keys()
    assert (left_out == 0) == (kept == value)
    json.dumps(kept)


def test_an_answer_that_is_too_long_in_spite_of_everything_loses_the_end_of_its_longest_list_and_says_so() -> None:
    content = {"results": [{"success": True}] * 10_000, "few": [1, 2]}
    guarded = sizes.guarded(content)
    assert sizes.size_of(guarded) <= sizes.MOST_STRUCTURED
    assert guarded["few"] == [1, 2]
    missing = 10_000 - len(guarded["results"])
    assert guarded["notAllShown"] == f"results is too long for one answer: {missing} of 10000 are not shown."
    assert sizes.guarded({"results": [1]}) == {"results": [1]}


async def test_what_a_lead_pays_before_it_begins_stays_small() -> None:
    async with lead(FakeClient(), mode="legacy") as client:
        tools = (await client.list_tools()).tools
        instructions = client.instructions or ""
    listed = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]
    assert tokens(instructions + json.dumps(listed, ensure_ascii=False, separators=(",", ":"))) < 5_000
    assert all(tool.output_schema for tool in tools)


async def test_what_only_people_look_at_is_no_part_of_a_lead_s_answers() -> None:
    shown = info(task="Write tests.", activity="Bash: npm test", model="claude-x", context_tokens=5, context_window=9)
    (row,) = (await structured("list", {}, FakeClient(list=listing(shown))))["instances"]
    assert (row["task"], row["activity"]) == ("Write tests.", "Bash: npm test")
    assert not {"model", "contextTokens", "contextWindow", "activityAt"} & row.keys()
    asked = entry("hello", "question", messages=[results.SubmittedReceipt(message_id="msg_1", sender="lead")])
    read = results.ReadResult(instance_id="spec_1_1_1", source="conversation", entries=[asked])
    (question,) = (await structured("read", ARGUMENTS["read"], FakeClient(read=read)))["entries"]
    assert "messages" not in question
