"""The team as ``phalanx top`` holds and lists it."""

from __future__ import annotations

from typing import Any

from actors.status import Status
from mcp_entry.top.rows import NEEDING, TEAM, Order, TeamRows
from supervisor.api.requests import Role
from supervisor.api.results import ChangesResult, InstanceInfo
from tests.fakes.gateway import asking, info


def changes(*instances: InstanceInfo, **more: Any) -> ChangesResult:
    needing = [each.instance_id for each in instances if each.needs_attention]
    fields: dict[str, Any] = {"cursor": "1", "complete": False, "needs_attention": needing, **more}
    return ChangesResult(instances=list(instances), **fields)


def held(*instances: InstanceInfo) -> TeamRows:
    team = TeamRows()
    team.apply(changes(*instances, complete=True))
    return team


TREE = [
    info("exec_1", role=Role.EXECUTIVE),
    info("spec_1_1_1", parent_id="mgr_1_1", task="Write the parser"),
    info("mgr_1_1", role=Role.MANAGER, parent_id="exec_1"),
    info("spec_0_0_1", status=Status.BUSY),
]


def test_what_changed_takes_the_place_of_what_was_and_what_is_gone_goes() -> None:
    team = held(info("spec_1"), info("spec_2"), info("spec_3"))
    team.apply(changes(info("spec_2", unread=4), info("spec_4"), gone=["spec_1"]))
    assert [(each.instance_id, each.unread) for each in team.instances.values()] == [
        ("spec_2", 4),
        ("spec_3", 0),
        ("spec_4", 0),
    ]


def test_a_complete_answer_leaves_nothing_of_an_earlier_one() -> None:
    team = held(info("spec_1"), asking("spec_2"))
    team.apply(changes(info("spec_9"), complete=True))
    assert (list(team.instances), team.needing) == (["spec_9"], [])


def test_those_that_need_somebody_stand_first_and_once() -> None:
    team = held(*TREE, asking("spec_1_1_2").model_copy(update={"parent_id": "mgr_1_1"}))
    lines = team.listed(Order.TREE)
    assert [(line.section, line.instance_id, line.depth) for line in lines] == [
        (NEEDING, "", 0),
        (NEEDING, "spec_1_1_2", 0),
        (TEAM, "", 0),
        (TEAM, "exec_1", 0),
        (TEAM, "mgr_1_1", 1),
        (TEAM, "spec_1_1_1", 2),
        (TEAM, "spec_0_0_1", 0),
    ]
    by_state = [line.instance_id for line in team.listed(Order.STATE) if line.instance_id]
    assert by_state == ["spec_1_1_2", "spec_0_0_1", "exec_1", "spec_1_1_1", "mgr_1_1"]


def test_one_that_needs_somebody_and_leads_others_stays_at_the_head_of_them_in_the_tree() -> None:
    asks = asking("mgr_1_1").model_copy(update={"role": Role.MANAGER, "parent_id": "exec_1"})
    lines = held(*TREE[:2], asks, *TREE[3:]).listed(Order.TREE)
    assert [(line.section, line.instance_id, line.depth) for line in lines if line.instance_id] == [
        (NEEDING, "mgr_1_1", 0),
        (TEAM, "exec_1", 0),
        (TEAM, "mgr_1_1", 1),
        (TEAM, "spec_1_1_1", 2),
        (TEAM, "spec_0_0_1", 0),
    ]


def test_one_whose_lead_is_gone_stands_at_the_edge() -> None:
    team = held(*TREE)
    team.apply(changes(gone=["mgr_1_1"]))
    assert {line.instance_id: line.depth for line in team.listed(Order.TREE) if line.instance_id} == {
        "exec_1": 0,
        "spec_1_1_1": 0,
        "spec_0_0_1": 0,
    }


def test_by_state_each_state_has_a_heading_with_its_number() -> None:
    lines = held(*TREE).listed(Order.STATE)
    assert [(line.section, line.count) for line in lines if not line.instance_id] == [("busy", 1), ("ready", 3)]


def test_a_filter_leaves_those_in_which_all_its_words_are_found_in_any_case() -> None:
    team = held(*TREE)
    assert [line.instance_id for line in team.listed(Order.TREE, "PARSER spec_1")] == ["", "spec_1_1_1"]
    assert [line.instance_id for line in team.listed(Order.TREE, "parser executive")] == [""]


def test_ten_thousand_instances_below_each_other_are_listed() -> None:
    deep = [info(f"spec_{number}", parent_id=f"spec_{number - 1}") for number in range(1, 10_000)]
    assert len(held(*deep).listed(Order.TREE)) == 10_000
