"""What a look at the team shows: always what is so now, and for a resting team next to no work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from actors.host.host import Host
from actors.instance.reports import InstanceSnapshot
from actors.messages import MessageStatus
from actors.status import PendingPermission, Status
from supervisor.api import requests
from supervisor.team import views
from supervisor.team.queries import Queries
from supervisor.team.registry import InstanceStage, Member
from supervisor.team.team import Team
from tests.fakes.instances import READY
from tests.fakes.store import MemoryStore
from tests.fakes.team import add_member, outgoing, receipt

ALL = requests.ListRequest()


def looking_at(team: Team) -> Queries:
    return Queries(team, cast("Host", None))


async def make_team(size: int = 3) -> tuple[Team, list[Member]]:
    team = Team(MemoryStore())
    return team, [await add_member(team, number) for number in range(1, size + 1)]


def asking() -> InstanceSnapshot:
    permission = PendingPermission(request_id="p", tool="Bash", tool_input={"command": "ls"})
    return replace(READY, status=Status.WAITING_PERMISSION, permission=permission)


def changes() -> dict[str, Callable[[Member], None]]:
    def record(**fields: Any) -> Callable[[Member], None]:
        def change(member: Member) -> None:
            member.record = replace(member.record, **fields)

        return change

    def snapshot(**fields: Any) -> Callable[[Member], None]:
        def change(member: Member) -> None:
            member.snapshot = replace(member.snapshot, **fields)

        return change

    def silence(member: Member) -> None:
        member.silence = "it does not answer"

    return {
        "status": snapshot(status=Status.BUSY),
        "unread": snapshot(unread=3),
        "reason": snapshot(reason="a dialog is up"),
        "stage": record(stage=InstanceStage.STOPPED),
        "host": record(host="there"),
        "silence": silence,
    }


@pytest.mark.parametrize("what", changes())
async def test_every_change_of_an_instance_is_seen_by_the_next_look(what: str) -> None:
    team, members = await make_team()
    queries = looking_at(team)
    before = queries.list(ALL).instances

    changes()[what](members[1])

    after = {info.instance_id: info for info in queries.list(ALL).instances}
    assert after["spec_0_0_1"] == before[0]
    assert after["spec_0_0_2"] != before[1]
    fresh = views.instance_info(members[1], views.PendingMessages(), followed=False)
    assert after["spec_0_0_2"] == fresh


async def test_what_becomes_of_messages_is_seen_by_the_next_look() -> None:
    team, _ = await make_team()
    queries = looking_at(team)
    assert queries.list(ALL).instances[0].queued_messages == 0

    (message,) = team.outbox.check([outgoing()], "lead", 1.0)
    await team.outbox.accept([message])  # type: ignore[list-item]
    assert queries.list(ALL).instances[0].queued_messages == 1

    await team.outbox.take_receipts([receipt(message, MessageStatus.BLOCKED, "a dialog is up")])  # type: ignore[arg-type]
    (needing,) = queries.list(requests.ListRequest(needs_attention=True)).instances
    assert needing.reason == "a dialog is up"

    await team.outbox.take_receipts([receipt(message)])  # type: ignore[arg-type]
    assert queries.list(ALL).needs_attention == []
    assert queries.list(ALL).instances[0].queued_messages == 0


async def test_an_instance_that_is_followed_again_is_no_longer_said_to_be_coming_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    team, _ = await make_team(1)
    queries = looking_at(team)
    assert "come back" in (queries.list(ALL).instances[0].reason or "")

    monkeypatch.setattr(team.members, "has", lambda _: True)

    assert queries.list(ALL).instances[0].reason is None


async def test_only_those_that_need_attention_are_shown_on_request_and_all_are_counted() -> None:
    team, members = await make_team()
    members[2].snapshot = asking()
    queries = looking_at(team)

    listed = queries.list(requests.ListRequest(needs_attention=True))

    assert [info.instance_id for info in listed.instances] == listed.needs_attention == ["spec_0_0_3"]
    assert listed.counts == {"ready": 2, "waiting_permission": 1}
    everyone = [info.instance_id for info in queries.list(ALL).instances]
    assert everyone == ["spec_0_0_3", "spec_0_0_1", "spec_0_0_2"]


async def test_a_resting_instance_is_not_described_anew_for_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    team, members = await make_team()
    queries = looking_at(team)
    queries.list(ALL)
    described: list[str] = []

    def describe(member: Member, post: views.PendingMessages, **more: Any) -> Any:
        described.append(member.record.instance_id)
        return info(member, post, **more)

    info = views.instance_info
    monkeypatch.setattr(views, "instance_info", describe)
    members[0].snapshot = replace(READY, unread=1)
    queries.list(ALL)
    queries.list(ALL)

    assert described == ["spec_0_0_1"]
