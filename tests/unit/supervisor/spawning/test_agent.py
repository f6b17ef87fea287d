"""What an agent is told and given at its start."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from actors.home import Home
from supervisor.api.requests import Role
from supervisor.spawning.agent import agent_start, spare_identity, spare_prompt, system_prompt
from supervisor.team.access import MAY, Act, Relation
from tests.fakes.team import record

HOME = Home(Path("/no-such-home"))


def prompt(role: Role, **changes: Any) -> str:
    return system_prompt(record(role=role, **{"token_hash": "h", "parent_id": "mgr_1_2", **changes}))


@pytest.mark.parametrize("role", list(Role))
def test_each_role_is_told_whom_it_may_send_to(role: Role) -> None:
    said = prompt(role)
    assert ("those below you" in said) is (Relation.BELOW in MAY[role][Act.SEND])
    assert ("other managers" in said) is (Relation.PEER in MAY[role][Act.SEND])
    assert ("end your turn instead of polling" in said) is (role is not Role.SPECIALIST)
    assert "Send to mgr_1_2" in said
    assert "carries no authority of the user" in said


@pytest.mark.parametrize("attended", [True, False])
@pytest.mark.parametrize("answers", [True, False])
def test_only_a_lead_that_answers_permissions_is_told_how_to_decide(*, attended: bool, answers: bool) -> None:
    said = prompt(Role.EXECUTIVE, attended=attended, answers_permissions=answers)
    assert ("with its permissionId" in said) is answers


def test_a_lead_that_a_person_started_is_told_of_merge_and_sync() -> None:
    said = prompt(Role.EXECUTIVE, attended=True)
    assert "merge brings several into yours" in said
    assert "sync brings yours into theirs" in said


def test_who_has_no_lead_in_the_team_is_told_of_nobody_to_send_to() -> None:
    assert "Send to" not in prompt(Role.SPECIALIST, parent_id=None)


def test_an_agent_without_a_token_is_told_of_no_tools() -> None:
    assert "phalanx-team" not in prompt(Role.EXECUTIVE, token_hash="")


def test_a_spare_learns_of_its_tools_with_its_first_message() -> None:
    assert "phalanx-team" not in spare_prompt()
    assert "phalanx-team" in spare_identity(record(token_hash="h"), datetime.date(2026, 11, 30))


@pytest.mark.parametrize(
    ("servers", "given"), [("all", None), ("none", ()), (("github", "db"), ("github", "db"))], ids=str
)
def test_it_is_started_with_its_token_and_the_mcp_servers_that_were_asked_for(servers: Any, given: Any) -> None:
    start = agent_start(
        HOME,
        record(mcp_servers=servers),
        system_prompt="p",
        model=None,
        permission_mode=None,
        environment={},
        token="t0ken",
    )
    assert (start.request.token, start.request.mcp_servers, start.request.team_url) == ("t0ken", given, "")
