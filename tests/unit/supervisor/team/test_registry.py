from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.errors import InvalidRequestError, UnknownInstanceError
from supervisor.api.requests import SpawnRequest
from supervisor.team.registry import InstanceStage, Member, Registry
from tests.fakes.team import record


def add(registry: Registry, role: str, parent_id: str | None = None, name: str | None = None) -> Member:
    given = {"role": role, "workDir": "/project", "context": "go", "parentId": parent_id, "name": name}
    request = SpawnRequest.model_validate(given)
    return registry.add(request, agent="demo", session_id="s", now=1.0)


def test_ids_tell_the_line_above_and_never_repeat() -> None:
    registry = Registry()
    executive = add(registry, "executive").record.instance_id
    manager = add(registry, "manager", executive).record.instance_id
    specialist = add(registry, "specialist", manager).record.instance_id
    direct = add(registry, "specialist", executive).record.instance_id
    alone = add(registry, "specialist").record.instance_id
    assert [executive, manager, specialist, direct, alone] == [
        "exec_1",
        "mgr_1_2",
        "spec_1_2_3",
        "spec_1_0_4",
        "spec_0_0_5",
    ]


def test_the_number_of_an_instance_that_never_came_to_be_is_not_used_again() -> None:
    registry = Registry()
    registry.remove(add(registry, "specialist").record.instance_id)
    assert add(registry, "specialist").record.instance_id == "spec_0_0_2"


def test_who_has_a_token_is_known_through_each_change_also_of_a_spare_that_becomes_an_instance() -> None:
    registry = Registry()
    spare = registry.restore(record(1, instance_id="spare_1", token_hash="spare's", recipe="r"), now=1.0)
    member = add(registry, "specialist")

    def holders(token_hash: str) -> list[str]:
        return [each.record.instance_id for each in registry.with_token(token_hash)]

    registry.change_in_memory(member.record.instance_id, token_hash="first")
    assert (holders("first"), holders("spare's"), holders("")) == ([member.record.instance_id], ["spare_1"], [])
    registry.change_in_memory(member.record.instance_id, token_hash="spare's")
    assert (holders("first"), holders("spare's")) == ([], ["spare_1", member.record.instance_id])
    registry.remove(spare.record.instance_id)
    assert holders("spare's") == [member.record.instance_id]
    registry.remove(member.record.instance_id)
    assert holders("spare's") == []


def test_spares_leave_no_gaps_in_the_ids_of_instances_and_never_share_a_name() -> None:
    registry = Registry()
    names = [registry.next_spare(), registry.next_spare()]
    spare = registry.add_spare(names[0], agent="demo", session_id="s", now=1.0, work_dir=Path("/project"), recipe="r")
    registry.remove(spare.record.instance_id)
    names.append(registry.next_spare())
    assert names == ["spare_1", "spare_2", "spare_3"]
    assert add(registry, "specialist").record.instance_id == "spec_0_0_1"


def test_the_name_of_a_spare_that_an_instance_was_made_of_is_not_given_again() -> None:
    registry = Registry()
    registry.restore(record(7, spare="spare_4"), now=1.0)
    assert registry.next_spare() == "spare_5"
    assert add(registry, "specialist").record.instance_id == "spec_0_0_8"


@pytest.mark.parametrize(
    ("role", "parent_role"), [("executive", "executive"), ("manager", "specialist"), ("specialist", "specialist")]
)
def test_a_parent_that_cannot_lead_this_role_is_refused_in_words(role: str, parent_role: str) -> None:
    registry = Registry()
    parent = add(registry, parent_role).record.instance_id
    with pytest.raises(InvalidRequestError, match="is led by"):
        add(registry, role, parent)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stage": InstanceStage.FAILED}, "is failed: restart it first"),
        ({"stage": InstanceStage.STOPPED, "wanted": False}, "was terminated: choose another one"),
        ({"stage": InstanceStage.ENDING, "wanted": False}, "is being terminated: choose another one"),
    ],
)
def test_a_parent_that_has_ended_takes_no_children(changes: dict[str, Any], words: str) -> None:
    registry = Registry()
    parent = registry.restore(record(1, role="executive", **changes), now=1.0)
    with pytest.raises(InvalidRequestError, match=words):
        add(registry, "manager", parent.record.instance_id)


def test_an_unknown_instance_is_refused_and_list_is_named() -> None:
    with pytest.raises(UnknownInstanceError, match="Call list"):
        Registry().get("spec_9_9_9")


@pytest.mark.parametrize("given", ["pars", "Parser", "praser"])
def test_who_mistypes_a_name_is_told_which_one_may_be_meant(given: str) -> None:
    registry = Registry()
    member = add(registry, "specialist", name="parser")
    with pytest.raises(UnknownInstanceError, match=rf"Did you mean parser \({member.record.instance_id}\)\?"):
        registry.get(given)
    registry.change_in_memory(member.record.instance_id, wanted=False, stage=InstanceStage.STOPPED)
    with pytest.raises(UnknownInstanceError, match=rf"There is no instance {given}\. Call"):
        registry.get(given)


def test_no_other_id_is_proposed_for_an_id() -> None:
    registry = Registry()
    add(registry, "specialist")
    with pytest.raises(UnknownInstanceError, match=r"There is no instance spec_0_0_2\. Call"):
        registry.get("spec_0_0_2")


def test_of_two_instances_of_one_call_the_newest_counts() -> None:
    registry = Registry()
    request = SpawnRequest.model_validate({"role": "specialist", "workDir": "/p", "context": "go", "requestId": "call"})
    _left, newest = (registry.add(request, agent="demo", session_id="s", now=1.0) for _ in range(2))
    assert registry.made_by("call") is newest
