"""Each limit at each level, for starts and for limits that an instance gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from actors.errors import RefusedError
from supervisor.api import requests
from supervisor.api.requests import Role, SpawnRequest
from supervisor.team.limits import check_given, check_start
from supervisor.team.registry import InstanceStage, Limits, Member, Registry
from tests.fakes.instances import READY


@dataclass
class Scene:
    """An executive, under it a manager with one specialist."""

    registry: Registry

    def add(self, role: Role, parent: Member | None = None, **limits: Any) -> Member:
        given = requests.Limits(**limits) if limits else None
        request = asked(role, parent, limits=given)
        return self.registry.add(request, agent="demo", session_id="s", now=0.0)

    def give(self, member: Member, **limits: Any) -> None:
        self.registry.change_in_memory(member.record.instance_id, limits=Limits(**limits))

    def refusal(self, request: SpawnRequest) -> str:
        try:
            check_start(request.parent_id, request.model, request.permission_mode, self.registry)
        except RefusedError as error:
            return str(error)
        return ""


def asked(role: Role, parent: Member | None, **more: Any) -> SpawnRequest:
    parent_id = parent.record.instance_id if parent else None
    return SpawnRequest(role=role, work_dir="/p", context="x", parent_id=parent_id, **more)


@pytest.fixture
def scene() -> Scene:
    return Scene(Registry())


@pytest.fixture
def line(scene: Scene) -> tuple[Member, Member, Member]:
    executive = scene.add(Role.EXECUTIVE)
    manager = scene.add(Role.MANAGER, executive)
    for member in (executive, manager):
        member.snapshot = READY
    return executive, manager, scene.add(Role.SPECIALIST, manager)


@pytest.mark.parametrize("limited", ["executive", "manager"])
@pytest.mark.parametrize(
    ("limits", "more", "words"),
    [
        ({"instances": 1}, {}, "at once"),
        ({"models": ("opus", "sonnet")}, {"model": "haiku"}, "opus or sonnet"),
        ({"models": ("opus",)}, {}, "name one of these as model"),
        ({"permission_modes": ("default", "plan")}, {"permission_mode": "acceptEdits"}, "not acceptEdits"),
        ({"permission_modes": ("plan",)}, {}, "not default"),
        ({"depth": 0}, {}, "no levels"),
    ],
)
def test_a_start_beyond_a_limit_of_anybody_above_is_refused_with_whose_limit_it_is(
    scene: Scene, line: tuple[Member, ...], limited: str, limits: Any, more: Any, words: str
) -> None:
    executive, manager, _ = line
    lead = {"executive": executive, "manager": manager}[limited]
    scene.give(lead, **({"instances": 2} if limited == "executive" and "instances" in limits else limits))
    told = scene.refusal(asked(Role.SPECIALIST, manager, **more))
    assert words in told
    assert told.startswith(f"{lead.record.instance_id} may")
    assert f"ask who leads {lead.record.instance_id}" in told


@pytest.mark.parametrize(
    ("limits", "more"),
    [
        ({"instances": 2}, {}),
        ({"models": ("opus",)}, {"model": "opus"}),
        ({"permission_modes": ("default",)}, {"permission_mode": "manual"}),
        ({"permission_modes": ("manual",)}, {}),
        ({"depth": 1}, {}),
        ({"tokens": 1}, {}),
    ],
)
def test_a_start_within_a_limit_is_not_refused(scene: Scene, line: tuple[Member, ...], limits: Any, more: Any) -> None:
    scene.give(line[1], **limits)
    assert scene.refusal(asked(Role.SPECIALIST, line[1], **more)) == ""


def test_levels_are_counted_from_who_has_the_limit(scene: Scene, line: tuple[Member, ...]) -> None:
    executive, manager, _ = line
    scene.give(executive, depth=1)
    assert scene.refusal(asked(Role.MANAGER, executive)) == ""
    assert "1 level below it" in scene.refusal(asked(Role.SPECIALIST, manager))


def test_one_that_has_failed_keeps_its_place_and_one_that_was_terminated_does_not(
    scene: Scene, line: tuple[Member, ...]
) -> None:
    _, manager, specialist = line
    scene.give(manager, instances=1)
    request, instance_id = asked(Role.SPECIALIST, manager), specialist.record.instance_id
    scene.registry.change_in_memory(instance_id, stage=InstanceStage.FAILED)
    assert scene.refusal(request)
    scene.registry.change_in_memory(instance_id, stage=InstanceStage.STOPPED, wanted=False)
    assert scene.refusal(request) == ""


@pytest.mark.parametrize(
    ("above", "given", "words"),
    [
        ({"instances": 3}, {"instances": 4}, "instances may be 3"),
        ({"depth": 2}, {"depth": 2}, "depth may be 1"),
        ({"tokens": 100}, {"tokens": 101}, "tokens may be 100"),
        ({"models": ("opus",)}, {"models": ["opus", "sonnet"]}, "models may only be opus"),
        ({"permission_modes": ("plan",)}, {"permission_modes": ["default"]}, "permissionModes may only be plan"),
    ],
)
def test_only_limits_within_those_above_are_given(
    scene: Scene, line: tuple[Member, ...], above: Any, given: Any, words: str
) -> None:
    executive, manager, _ = line
    scene.give(executive, **above)
    with pytest.raises(RefusedError, match=words):
        check_given(requests.Limits(**given), executive.record.instance_id, scene.registry)
    with pytest.raises(RefusedError, match=executive.record.instance_id):
        check_given(requests.Limits(**given), manager.record.instance_id, scene.registry)
    check_given(requests.Limits(), manager.record.instance_id, scene.registry)


def test_what_is_given_changes_and_the_rest_stays_and_an_empty_list_lifts() -> None:
    limits = Limits().changed(requests.Limits(tokens=5, models=["opus"]))
    assert limits == Limits(tokens=5, models=("opus",))
    assert limits.changed(requests.Limits(tokens=9)) == Limits(tokens=9, models=("opus",))
    assert limits.changed(requests.Limits(models=[])) == Limits(tokens=5)
    assert limits.changed(None) == limits
    assert limits.changed(requests.Limits(depth=1), ["tokens"]) == Limits(depth=1, models=("opus",))
