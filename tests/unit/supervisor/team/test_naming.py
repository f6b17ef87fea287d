"""Names in place of ids, in the requests of every verb."""

from __future__ import annotations

import pytest

from actors.errors import InvalidRequestError
from supervisor.api.requests import (
    Malformed,
    ReadRequest,
    Request,
    SendBatchRequest,
    SpawnBatchRequest,
    SpawnRequest,
    TerminateRequest,
    WaitRequest,
)
from supervisor.team.naming import with_ids
from supervisor.team.registry import InstanceRecord, InstanceStage, Member, Registry

SPAWN = {"role": "specialist", "workDir": "/project", "context": "go"}
IDS = {"parser": "spec_1_2_7", "lead": "mgr_1_2"}


def everybody(_record: InstanceRecord) -> bool:
    return True


def resolve(given: str) -> str:
    if given == "twins":
        raise InvalidRequestError("Several instances have the name twins.")
    return IDS.get(given, given)


def add(registry: Registry, name: str | None = None) -> Member:
    request = SpawnRequest.model_validate({**SPAWN, "name": name})
    return registry.add(request, agent="demo", session_id="s", now=1.0)


def terminate(registry: Registry, member: Member) -> None:
    registry.change_in_memory(member.record.instance_id, wanted=False, stage=InstanceStage.STOPPED)


@pytest.mark.parametrize(
    ("model", "given", "resolved"),
    [
        (ReadRequest, {"instanceId": "parser"}, {"instanceId": "spec_1_2_7"}),
        (TerminateRequest, {"instanceIds": ["parser", "exec_1"]}, {"instanceIds": ["spec_1_2_7", "exec_1"]}),
        (WaitRequest, {"instanceIds": ["nobody", "lead"]}, {"instanceIds": ["nobody", "mgr_1_2"]}),
        (SpawnRequest, {**SPAWN, "parentId": "lead"}, {**SPAWN, "parentId": "mgr_1_2"}),
        (
            SendBatchRequest,
            {"messages": [{"instanceId": "parser", "message": "parser"}]},
            {"messages": [{"instanceId": "spec_1_2_7", "message": "parser"}]},
        ),
        (
            SpawnBatchRequest,
            {"instances": [SPAWN, {**SPAWN, "name": "lead", "parentId": "lead"}]},
            {"instances": [SPAWN, {**SPAWN, "name": "lead", "parentId": "mgr_1_2"}]},
        ),
    ],
)
def test_a_name_stands_for_the_id_wherever_an_id_is_taken_and_nowhere_else(
    model: type[Request], given: dict[str, object], resolved: dict[str, object]
) -> None:
    assert with_ids(model.model_validate(given), resolve) == model.model_validate(resolved)


def test_a_member_whose_name_is_ambiguous_fails_alone() -> None:
    request = SendBatchRequest.model_validate(
        {"messages": [{"instanceId": "twins", "message": "a"}, {"instanceId": "parser", "message": "b"}]}
    )
    first, second = with_ids(request, resolve).messages
    assert isinstance(first, Malformed)
    assert "Several instances" in first.fault
    assert not isinstance(second, Malformed)
    assert second.instance_id == "spec_1_2_7"


def test_a_name_belongs_to_the_living_instance_and_after_it_to_the_newest_that_had_it() -> None:
    registry = Registry()
    first = add(registry, "cart")
    assert registry.resolve("cart", everybody) == first.record.instance_id
    terminate(registry, first)
    assert registry.resolve("cart", everybody) == first.record.instance_id
    second = add(registry, "cart")
    assert registry.resolve("cart", everybody) == second.record.instance_id
    terminate(registry, second)
    assert registry.resolve("cart", everybody) == second.record.instance_id
    for member in (first, second):
        registry.remove(member.record.instance_id)
    assert registry.resolve("cart", everybody) == "cart"


def test_an_id_wins_over_a_name_that_an_older_version_gave() -> None:
    registry = Registry()
    one, other = add(registry), add(registry, "cart")
    registry.remove(other.record.instance_id)
    aged = InstanceRecord(
        **{
            **{name: getattr(other.record, name) for name in ("number", "role", "agent", "session_id", "created_at")},
            "instance_id": other.record.instance_id,
            "work_dir": other.record.work_dir,
            "name": one.record.instance_id,
        }
    )
    registry.restore(aged, now=1.0)
    assert registry.resolve(one.record.instance_id, everybody) == one.record.instance_id


def test_a_name_that_a_living_instance_has_is_not_given_again() -> None:
    registry = Registry()
    add(registry, "cart")
    with pytest.raises(InvalidRequestError, match="The name cart is taken"):
        add(registry, "cart")
    assert registry.last_number == 1


def test_a_name_shared_by_two_living_instances_of_an_older_version_is_refused_with_both() -> None:
    registry = Registry()
    first = add(registry, "cart")
    terminate(registry, first)
    second = add(registry, "cart")
    registry.change_in_memory(first.record.instance_id, wanted=True, stage=InstanceStage.RUNNING)
    with pytest.raises(InvalidRequestError, match=f"{first.record.instance_id}, {second.record.instance_id}"):
        registry.resolve("cart", everybody)


def test_who_may_not_see_an_instance_does_not_learn_its_id_by_its_name() -> None:
    registry = Registry()
    add(registry, "secret")
    assert registry.resolve("secret", lambda _record: False) == "secret"


@pytest.mark.parametrize("name", ["exec_1", "mgr_1_2", "spec_0_0_5", "spare_3", "spec_1"])
def test_a_name_that_looks_like_an_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="look like an id"):
        SpawnRequest.model_validate({**SPAWN, "name": name})


@pytest.mark.parametrize("name", ["task_1", "api_2", "specs_1", "cart"])
def test_other_names_are_taken(name: str) -> None:
    assert SpawnRequest.model_validate({**SPAWN, "name": name}).name == name
