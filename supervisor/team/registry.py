"""The members of the team: one record for each instance, and what was last heard of it.

The record is stored with every change. The last ``InstanceSnapshot`` is only remembered: it can be asked for again. Ids
come from one counter of the team, so no two instances share one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from actors.errors import InvalidRequestError, UnknownInstanceError
from actors.instance.reports import InstanceSnapshot
from actors.status import ALIVE, Status
from supervisor.api.requests import Role, SpawnRequest
from supervisor.api.results import InstanceInfo
from supervisor.team.instance import (
    SPARE_PREFIX,
    InstanceRecord,
    InstanceStage,
    is_instance_id,
    number_in,
    worktree_names,
)

__all__ = [
    "InstanceRecord",
    "InstanceStage",
    "Member",
    "Registry",
    "is_instance_id",
    "number_in",
    "worktree_names",
]

_PARENT_ROLES = {
    Role.EXECUTIVE: frozenset[Role](),
    Role.MANAGER: frozenset({Role.EXECUTIVE}),
    Role.SPECIALIST: frozenset({Role.EXECUTIVE, Role.MANAGER}),
}
COMING_BACK = "the team has just come back, and it is being asked how it is"
_STATUS_OF = {
    InstanceStage.STARTING: Status.STARTING,
    InstanceStage.SPARE: Status.STARTING,
    InstanceStage.RUNNING: Status.STARTING,
    InstanceStage.ENDING: Status.STOPPED,
    InstanceStage.STOPPED: Status.STOPPED,
    InstanceStage.FAILED: Status.FAILED,
}


class Registry:
    """All members by id, oldest first; iterated, those that are instances. The supervisor's event loop is its only
    user."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._by_request: dict[str, str] = {}
        self.last_number = self.last_spare = 0
        """The highest numbers that an instance and a spare of this home have ever had."""
        self._spares: dict[str, None] = {}
        self.spare_worktrees: set[str] = set()
        """Names of spare worktrees."""

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(member for member in self._members.values() if not member.record.is_spare))

    def everyone(self) -> tuple[Member, ...]:
        """Spare agents too."""
        return tuple(self._members.values())

    def __contains__(self, instance_id: str) -> bool:
        return instance_id in self._members

    def get(self, instance_id: str) -> Member:
        """Raises ``UnknownInstanceError`` in words for the caller."""
        try:
            return self._members[instance_id]
        except KeyError:
            raise UnknownInstanceError(f"There is no instance {instance_id}. Call list to see the team.") from None

    def add(self, request: SpawnRequest, *, agent: str, session_id: str, now: float, fingerprint: str = "") -> Member:
        """Takes a new instance in, as ``starting``. Raises ``InvalidRequestError`` for an impossible parent."""
        parent = self._parent(request)
        self.last_number += 1
        number = self.last_number
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
            request_id=request.request_id,
            fingerprint=fingerprint,
        )
        return self._take(Member(record, InstanceSnapshot(since=now)))

    def add_spare(
        self,
        name: str,
        *,
        agent: str,
        session_id: str,
        now: float,
        work_dir: Path,
        recipe: str,
        host: str = "",
        address: str = "",
    ) -> Member:
        """Takes in a spare agent that is just being made; the fields as in ``InstanceRecord``.

        ``address``: of the host if it is not the supervisor's own; else empty.
        """
        record = InstanceRecord(
            instance_id=name,
            number=number_in(name),
            executive=0,
            manager=0,
            role=Role.SPECIALIST,
            parent_id=None,
            name=None,
            agent=agent,
            session_id=session_id,
            created_at=now,
            work_dir=work_dir,
            recipe=recipe,
            host=host,
            actor=f"{name}@{address}" if address else "",
        )
        return self._take(Member(record, InstanceSnapshot(since=now)))

    def spares(self) -> tuple[Member, ...]:
        return tuple(self._members[instance_id] for instance_id in self._spares)

    def next_spare(self) -> str:
        """A name for a spare agent or worktree. Spares count by themselves, so that ids of instances have no gaps."""
        self.last_spare += 1
        return f"{SPARE_PREFIX}{self.last_spare}"

    def restore(self, record: InstanceRecord, now: float) -> Member:
        """Takes an instance in that the store tells of; what it does now is not known yet."""
        self.note_name(record.instance_id)
        self.note_name(record.spare)
        snapshot = InstanceSnapshot(
            status=_STATUS_OF[record.stage],
            since=record.ended_at or now,
            reason=record.reason,
            transcript_path=record.transcript_path,
        )
        return self._take(Member(record, snapshot, ending=not record.wanted))

    def note_name(self, name: str) -> None:
        """The number in this name of an instance or spare is not given again."""
        if name.startswith(SPARE_PREFIX):
            self.last_spare = max(self.last_spare, number_in(name))
        else:
            self.last_number = max(self.last_number, number_in(name))

    def _take(self, member: Member) -> Member:
        self._members[member.record.instance_id] = member
        if member.record.is_spare:
            self._spares[member.record.instance_id] = None
        if member.record.request_id:
            self._by_request[member.record.request_id] = member.record.instance_id
        return member

    def _parent(self, request: SpawnRequest) -> InstanceRecord | None:
        if request.parent_id is None:
            return None
        parent = self.get(request.parent_id)
        allowed = _PARENT_ROLES[request.role]
        if parent.record.role not in allowed:
            leaders = " or ".join(sorted(allowed)) or "nobody"
            raise InvalidRequestError(
                f"{request.parent_id} is a {parent.record.role}; a {request.role} is led by {leaders}. "
                "Choose another parentId or leave it out."
            )
        if parent.terminated:
            raise InvalidRequestError(f"The parent {request.parent_id} was terminated: choose another one or none.")
        if parent.ending:
            raise InvalidRequestError(f"The parent {request.parent_id} is being terminated: choose another one.")
        if not parent.alive:
            raise InvalidRequestError(f"The parent {request.parent_id} is {parent.status}: restart it first.")
        return parent.record

    def change(self, instance_id: str, **changes: object) -> InstanceRecord:
        member = self.get(instance_id)
        member.record = replace(member.record, **changes)  # type: ignore[arg-type]
        return member.record

    def remove(self, instance_id: str) -> None:
        """Forgets an instance; its number is not used again."""
        member = self._members.pop(instance_id, None)
        self._spares.pop(instance_id, None)
        if member is not None and member.record.request_id:
            self._by_request.pop(member.record.request_id, None)

    def children(self, instance_id: str) -> list[Member]:
        return [member for member in self if member.record.parent_id == instance_id]

    def served_by(self, actor: str) -> Member | None:
        """The instance or spare agent whose actor has this name."""
        return next((member for member in self.everyone() if member.record.actor_name == actor), None)

    def worktree_names(self, *, besides: str = "") -> set[str]:
        """Names below the worktrees' root that belong to a member other than ``besides``, or to a spare worktree."""
        records = (member.record for member in self.everyone() if member.record.instance_id != besides)
        return worktree_names(records) | self.spare_worktrees

    def names(self) -> set[str]:
        """Every name that resources of members and spare worktrees may carry on their hosts."""
        return {name for member in self.everyone() for name in member.record.names} | self.spare_worktrees

    def made_by(self, request_id: str) -> Member | None:
        """The instance that the call with this request id made."""
        instance_id = self._by_request.get(request_id)
        return None if instance_id is None else self._members[instance_id]


def _instance_id(role: Role, executive: int, manager: int, number: int) -> str:
    match role:
        case Role.EXECUTIVE:
            return f"exec_{number}"
        case Role.MANAGER:
            return f"mgr_{executive}_{number}"
        case Role.SPECIALIST:
            return f"spec_{executive}_{manager}_{number}"


@dataclass(slots=True)
class Member:
    """A record and what was last heard of its instance."""

    record: InstanceRecord
    snapshot: InstanceSnapshot
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the instance is started, restarted or ended: one of these at a time."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a change of the record is being stored, so that none is overwritten by an older one."""
    ending: bool = False
    """It is being terminated: no instance may be started under it."""
    coming_back: bool = False
    """Its agent is ended only to be started again: what comes for it meanwhile waits."""
    silence: str = ""
    """Why its actor does not answer, once that has lasted; empty while it does."""
    shown: tuple[object, InstanceInfo] | None = None
    """What was last shown of it, after all that it was made of; see ``queries``."""

    @property
    def status(self) -> Status:
        """The status that callers see: an instance that is just being restarted has not stopped."""
        heard = self.snapshot.status
        return Status.STARTING if self.coming_back and heard not in ALIVE else heard

    @property
    def alive(self) -> bool:
        return self.status in ALIVE

    @property
    def terminated(self) -> bool:
        """For good: one that only ended with the team, or failed, can go on and belongs to it."""
        return self.record.stage is InstanceStage.STOPPED and not self.record.wanted
