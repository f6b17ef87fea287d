"""Compares a team's file with the team that runs: what is to be started, and what differs. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from actors.status import ALIVE
from mcp_entry.team_file.model import FileMember, TeamFile
from supervisor.api.requests import SpawnRequest
from supervisor.api.results import InstanceDescription

State = Literal["missing", "runs", "ended", "cannot start"]


@dataclass(frozen=True, slots=True)
class Difference:
    argument: str
    file: str
    team: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMember:
    member: FileMember
    state: State
    instance_id: str | None = None
    differences: Sequence[Difference] = ()
    why: str = ""
    """Why it cannot be started, or how one that has ended goes on."""


def plan(file: TeamFile, team: Sequence[InstanceDescription]) -> list[PlannedMember]:
    """What is to be done for each member, in the order of the file."""
    there = {each.instance_id: each for each in team} | {each.name: each for each in team if each.name is not None}
    planned: dict[str, PlannedMember] = {}
    for level in file.levels():
        for member in level:
            above = planned[member.parent] if member.parent is not None else None
            planned[member.name] = _planned(member, above, there)
    return [planned[member.name] for member in file.members]


def _planned(
    member: FileMember, above: PlannedMember | None, there: Mapping[str, InstanceDescription]
) -> PlannedMember:
    found = there.get(member.name)
    if found is None:
        blocked = above is not None and above.state in ("ended", "cannot start")
        why = member.why_not or (f"its parent {member.parent} does not run" if blocked else "")
        return PlannedMember(member=member, state="cannot start" if why else "missing", why=why)
    runs = found.status in ALIVE
    return PlannedMember(
        member=member,
        state="runs" if runs else "ended",
        instance_id=found.instance_id,
        differences=tuple(_differences(member, found, above, there)),
        why="" if runs else f"it is {found.status}: `phalanx restart {member.name}` goes on with its conversation",
    )


def _differences(
    member: FileMember,
    found: InstanceDescription,
    above: PlannedMember | None,
    there: Mapping[str, InstanceDescription],
) -> Iterator[Difference]:
    asked = member.compared
    parent = (above.instance_id if above else None) or member.parent
    pairs: list[tuple[str, Any, Any]] = [
        ("role", asked.role.value, found.role.value),
        ("parent", _name(parent, there), _name(found.parent_id, there)),
        ("workDir", asked.work_dir, found.work_dir),
    ]
    if asked.agent is not None:
        pairs.append(("agent", asked.agent, found.agent))
    wanted, given = asked.also_asked, found.asked
    pairs += [(name, wanted.get(name), given.get(name)) for name in {**wanted, **given} if name != "prepare"]
    yield from (Difference(name, _shown(a), _shown(b)) for name, a, b in pairs if a != b)


def _name(instance_id: str | None, there: Mapping[str, InstanceDescription]) -> str | None:
    found = there.get(instance_id) if instance_id is not None else None
    return (found.name or found.instance_id) if found else instance_id


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def request_of(planned: PlannedMember, ids: Mapping[str, str]) -> SpawnRequest:
    """The spawn of a missing member. ``ids``: of the members that run, by their names in the file."""
    member = planned.member
    if member.request is None:
        raise AssertionError(f"{member.name} cannot be started")
    return member.request.model_copy(update={"parent_id": ids.get(member.parent) if member.parent else None})
