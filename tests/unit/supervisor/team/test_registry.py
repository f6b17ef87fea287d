from __future__ import annotations

from pathlib import Path

import pytest

from actors.errors import InvalidRequestError, UnknownInstanceError
from actors.instance.reports import InstanceSnapshot
from actors.status import Status
from actors.worktrees.model import Workspace
from supervisor.api.requests import SpawnRequest
from supervisor.records import decode_record, encode_record
from supervisor.team.registry import InstanceStage, Member, Registry
from tests.fakes.team import record


def add(registry: Registry, role: str, parent_id: str | None = None) -> Member:
    request = SpawnRequest.model_validate({"role": role, "workDir": "/project", "context": "go", "parentId": parent_id})
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


def test_a_parent_that_is_not_alive_takes_no_children() -> None:
    registry = Registry()
    parent = add(registry, "executive")
    parent.snapshot = InstanceSnapshot(status=Status.FAILED)
    with pytest.raises(InvalidRequestError, match="restart it first"):
        add(registry, "manager", parent.record.instance_id)


def test_a_terminated_parent_is_not_said_to_come_back_by_a_restart() -> None:
    registry = Registry()
    parent = registry.restore(record(1, role="executive", stage=InstanceStage.STOPPED, wanted=False), now=1.0)
    with pytest.raises(InvalidRequestError, match=r"was terminated: choose another one"):
        add(registry, "manager", parent.record.instance_id)


def test_an_unknown_instance_is_refused_and_list_is_named() -> None:
    with pytest.raises(UnknownInstanceError, match="Call list"):
        Registry().get("spec_9_9_9")


def test_a_record_survives_its_way_through_the_store() -> None:
    registry = Registry()
    instance_id = add(registry, "specialist").record.instance_id
    workspace = Workspace(mode="shared", directory=registry.get(instance_id).record.work_dir, notes=("a note",))
    record = registry.change(instance_id, workspace=workspace, pid=7)
    assert decode_record(encode_record(record)) == record
