"""Who is in the team: one record an instance, and what was last heard of it.

``InstanceRecord`` is what must not be forgotten; it is written to the store with every change. The last ``Snapshot`` is
only remembered: it can be asked for again. Ids keep the original's form and come from one counter of the team, so two
instances never share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from actors.errors import InvalidRequestError, UnknownInstanceError
from actors.reports import Snapshot
from actors.states import Status
from actors.workspace.values import Workspace
from supervisor.requests import Role, SpawnRequest

_PARENT_ROLES = {
    Role.EXECUTIVE: frozenset[Role](),
    Role.MANAGER: frozenset({Role.EXECUTIVE}),
    Role.SPECIALIST: frozenset({Role.EXECUTIVE, Role.MANAGER}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """One instance. ``number`` is unique in the team; ``executive`` and ``manager`` are the numbers above it, or 0."""

    instance_id: str
    number: int
    executive: int
    manager: int
    role: Role
    parent_id: str | None
    name: str | None
    agent: str
    session_id: str
    created_at: float
    work_dir: Path
    workspace: Workspace | None = None
    host: str = ""
    pane_id: str = ""
    pid: int = 0

    @property
    def session_name(self) -> str:
        return self.instance_id

    @property
    def directory(self) -> Path:
        """Where the agent works."""
        return self.workspace.directory if self.workspace else self.work_dir


@dataclass(slots=True)
class Member:
    """A record and what was last heard of its instance."""

    record: InstanceRecord
    snapshot: Snapshot
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever starts, restarts or ends the instance: one at a time."""
    ending: bool = False
    """It is being terminated: nobody may be started under it."""


class Registry:
    """All members by id, oldest first. The supervisor's event loop is its only user."""

    def __init__(self, last_number: int = 0) -> None:
        self._members: dict[str, Member] = {}
        self._last_number = last_number

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __contains__(self, instance_id: str) -> bool:
        return instance_id in self._members

    def get(self, instance_id: str) -> Member:
        """Raises ``UnknownInstanceError`` in words for the caller."""
        try:
            return self._members[instance_id]
        except KeyError:
            raise UnknownInstanceError(f"There is no instance {instance_id}. Call list to see the team.") from None

    def add(self, request: SpawnRequest, *, agent: str, session_id: str, now: float) -> Member:
        """Takes a new instance in, as ``starting``. Raises ``InvalidRequestError`` for an impossible parent."""
        parent = self._parent(request)
        self._last_number += 1
        number = self._last_number
        executive = 0 if parent is None else parent.executive or parent.number
        manager = parent.number if parent is not None and parent.role is Role.MANAGER else 0
        record = InstanceRecord(
            instance_id=_instance_id(request.role, executive, manager, number),
            number=number,
            executive=executive,
            manager=manager,
            role=request.role,
            parent_id=request.parent_id,
            name=request.name,
            agent=agent,
            session_id=session_id,
            created_at=now,
            work_dir=Path(request.work_dir),
        )
        member = Member(record, Snapshot(since=now))
        self._members[record.instance_id] = member
        return member

    def _parent(self, request: SpawnRequest) -> InstanceRecord | None:
        if request.parent_id is None:
            return None
        parent = self.get(request.parent_id)
        allowed = _PARENT_ROLES[request.role]
        if parent.record.role not in allowed:
            who = " or ".join(sorted(allowed)) or "nobody"
            raise InvalidRequestError(
                f"{request.parent_id} is a {parent.record.role}; a {request.role} is led by {who}. "
                "Choose another parentId or leave it out."
            )
        if parent.ending:
            raise InvalidRequestError(f"The parent {request.parent_id} is being terminated: choose another one.")
        if parent.snapshot.status in (Status.STOPPED, Status.FAILED):
            raise InvalidRequestError(f"The parent {request.parent_id} is {parent.snapshot.status}: restart it first.")
        return parent.record

    def change(self, instance_id: str, **changes: object) -> InstanceRecord:
        member = self.get(instance_id)
        member.record = replace(member.record, **changes)  # type: ignore[arg-type]
        return member.record

    def remove(self, instance_id: str) -> None:
        """Forgets an instance that never came to be; its number is not used again."""
        self._members.pop(instance_id, None)

    def children(self, instance_id: str) -> list[Member]:
        return [member for member in self if member.record.parent_id == instance_id]


def _instance_id(role: Role, executive: int, manager: int, number: int) -> str:
    match role:
        case Role.EXECUTIVE:
            return f"exec_{number}"
        case Role.MANAGER:
            return f"mgr_{executive}_{number}"
        case Role.SPECIALIST:
            return f"spec_{executive}_{manager}_{number}"
