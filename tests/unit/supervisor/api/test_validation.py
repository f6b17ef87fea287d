from __future__ import annotations

import json
from typing import Any

import pytest

from actors.errors import InvalidRequestError
from supervisor.api.requests import (
    GitBatchRequest,
    Malformed,
    Request,
    RespondRequest,
    RestartRequest,
    SendBatchRequest,
    SendRequest,
    SpawnBatchRequest,
    SpawnRequest,
    TerminateRequest,
    WaitRequest,
)
from supervisor.api.validation import parse

SPAWN = {"role": "specialist", "workDir": "/w", "context": "c"}


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (
            SpawnRequest,
            {**SPAWN, "workdir": "/w"},
            ["workdir is no known argument", "Did you mean workDir?", "parentId"],
        ),
        (SpawnRequest, {**SPAWN, "work_dir": "/w"}, ["Did you mean workDir?"]),
        (SpawnRequest, {**SPAWN, "role": "king"}, ["role", "'king'", "'executive', 'manager' or 'specialist'"]),
        (SpawnRequest, {**SPAWN, "context": ""}, ["context must not be empty"]),
        (SpawnRequest, {**SPAWN, "name": "-x"}, ["name cannot be '-x'. At most 40 letters", "first a letter or digit"]),
        (SpawnRequest, {**SPAWN, "env": {"a b": "x"}}, ["a name in env"]),
        (SpawnRequest, {**SPAWN, "env": {"A": 1}}, ["env.A must be a text, not 1"]),
        (SpawnRequest, {**SPAWN, "limits": {"token": 1}}, ["limits.token is no", "Did you mean tokens?", "depth"]),
        (SpawnRequest, {**SPAWN, "limits": '{"tokens": 0}'}, ["limits.tokens must be at least 1, not 0"]),
        (SpawnRequest, {}, ["role is missing", "workDir is missing", "context is missing"]),
        (SpawnBatchRequest, {"instances": [SPAWN], "parallel": 3}, ["parallel is no known argument"]),
        (SpawnBatchRequest, {"instances": SPAWN}, ["instances must be a list"]),
        (SendBatchRequest, {"messages": [], "wait": True}, ["messages has 0 items", "at least 1"]),
        (SpawnBatchRequest, {"instances": []}, ["instances has 0 items", "at least 1"]),
        (SpawnBatchRequest, {"instances": [SPAWN] * 201}, ["201 items", "at most 200"]),
        (WaitRequest, {"instanceIds": "spec_1"}, ["instanceIds must be a list, not 'spec_1'"]),
        (WaitRequest, {"instanceIds": "[spec_1]"}, ["instanceIds must be a list, not '[spec_1]'"]),
        (WaitRequest, {"instanceIds": ["../x"]}, ["instanceIds[0] cannot be '../x'. Id or name of an instance"]),
        (WaitRequest, {"instanceIds": '["../x"]'}, ["instanceIds[0] cannot be '../x'"]),
        (TerminateRequest, {}, ["give instanceId for one, or instanceIds for several"]),
        (TerminateRequest, {"instanceId": "spec_1", "instanceIds": ["spec_2"]}, ["give instanceId for one"]),
        (RestartRequest, {"instanceIds": []}, ["instanceIds has 0 items"]),
        (WaitRequest, {"instanceIds": ["spec_1"], "until": "done"}, ["until", "'done'", "'any_idle'"]),
        (SendRequest, {"instanceId": "spec_1", "message": "x", "wait": "perhaps"}, ["wait must be true or false"]),
        (SendRequest, [1], ["an object"]),
        (WaitRequest, {"instanceIds": ["spec_1"], "timeoutSeconds": 0}, ["timeoutSeconds must be more than 0, not 0"]),
        (WaitRequest, {"instanceIds": ["spec_1"], "timeoutSeconds": 9999}, ["must be at most 3600, not 9999"]),
        (SpawnRequest, {**SPAWN, "env": {"PHALANX_X": "1"}}, ["cannot be 'PHALANX_X': names that begin with PHALANX_"]),
    ],
)
def test_a_fault_is_told_with_its_place_the_value_and_what_is_allowed(
    model: type[Request], arguments: Any, words: list[str]
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(model, arguments)

    assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({**SPAWN, "role": 1}, "role cannot be 1"),
        ({**SPAWN, "workdir": "/w"}, "Did you mean workDir?"),
        ({**SPAWN, "requestId": "a"}, "one for the whole batch"),
        ({}, "context is missing"),
        ("a text", "an object with named arguments"),
        (None, "an object with named arguments"),
    ],
)
def test_a_malformed_member_of_a_batch_is_kept_with_its_fault_and_the_others_are_taken(member: Any, words: str) -> None:
    batch = parse(SpawnBatchRequest, {"instances": [SPAWN, member, SPAWN]})
    first, malformed, last = batch.instances
    assert isinstance(malformed, Malformed)
    assert words in malformed.fault
    assert first == last == parse(SpawnRequest, SPAWN)
    assert parse(SpawnBatchRequest, batch.model_dump(mode="json", by_alias=True)) == batch


def test_a_malformed_message_tells_whose_it_was_as_far_as_that_can_be_told() -> None:
    members = [{"instanceId": "../x", "message": "a"}, {"instanceId": 7}, ["x"]]
    batch = parse(SendBatchRequest, {"messages": members})
    assert [m.named("instanceId") for m in batch.messages if isinstance(m, Malformed)] == ["../x", "", ""]
    assert json.loads(batch.model_dump_json(by_alias=True))["messages"] == members


def test_a_malformed_operation_of_git_is_kept_as_it_was_given_and_the_others_are_taken() -> None:
    status = {"type": "status", "workspaceDir": "/w"}
    members = [status, {**status, "path": "/x"}, {"type": ["status"]}, 7]
    batch = parse(GitBatchRequest, {"operations": members})
    assert [isinstance(member, Malformed) for member in batch.operations] == [False, True, True, True]
    assert parse(GitBatchRequest, batch.model_dump(mode="json", by_alias=True)) == batch


def test_a_hundred_faults_are_told_in_few_lines_and_without_anything_internal() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        parse(WaitRequest, {"instanceIds": ["x" * 10_000] * 100})

    text = str(refused.value)
    assert "and 92 more" in text
    assert len(text) < 2000
    assert "pydantic" not in text
    assert "http" not in text


def test_a_fault_inside_an_argument_is_told_in_the_callers_own_word_for_that() -> None:
    with pytest.raises(InvalidRequestError, match=r"- token in --limits is no known argument. Did you mean tokens\?"):
        parse(SpawnRequest, {**SPAWN, "limits": {"token": 5}}, {"limits": "--limits"})


def test_a_fault_of_the_arguments_together_is_told_without_their_values() -> None:
    with pytest.raises(InvalidRequestError, match=r"\n- give either decision \(allow or deny\) or option\.$"):
        parse(RespondRequest, {"instanceId": "web"})


def test_right_arguments_become_the_request() -> None:
    assert parse(SpawnRequest, SPAWN) == SpawnRequest.model_validate(SPAWN)


@pytest.mark.parametrize(
    ("model", "name", "value"),
    [
        (WaitRequest, "instanceIds", ["spec_1", "spec_2"]),
        (TerminateRequest, "instanceIds", ["spec_1"]),
        (SendBatchRequest, "messages", [{"instanceId": "spec_1", "message": '["a list that is a text"]'}]),
        (SpawnBatchRequest, "instances", [SPAWN, {**SPAWN, "env": '{"A": "b"}'}]),
        (GitBatchRequest, "operations", [{"type": "log", "workspaceDir": "/w", "params": '{"maxCount": 3}'}]),
    ],
)
def test_a_list_or_an_object_that_is_given_as_the_text_of_its_json_is_taken(
    model: type[Request], name: str, value: Any
) -> None:
    assert parse(model, {name: json.dumps(value)}) == parse(model, {name: value})


def test_a_text_that_looks_like_json_stays_a_text() -> None:
    assert parse(SendRequest, {"instanceId": "spec_1", "message": "[1, 2]"}).message == "[1, 2]"
    assert parse(SpawnRequest, {**SPAWN, "context": '{"a": 1}'}).context == '{"a": 1}'
    assert parse(SpawnRequest, {**SPAWN, "env": '{"A": "b"}'}).env == {"A": "b"}
