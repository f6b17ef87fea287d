"""Who is in the team: one record an instance, and what was last heard of it.

``InstanceRecord`` is what must not be forgotten; it is written to the store with every change. The last ``Snapshot`` is
only remembered: it can be asked for again. Ids keep the original's form and come from one counter of the team, so two
instances never share one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from actors.errors import InvalidRequestError, UnknownInstanceError
from actors.reports import Snapshot
from actors.states import ALIVE, Status
from actors.workspace.values import Workspace
from supervisor.requests import Role, SpawnRequest

_PARENT_ROLES = {
    Role.EXECUTIVE: frozenset[Role](),
    Role.MANAGER: frozenset({Role.EXECUTIVE}),
    Role.SPECIALIST: frozenset({Role.EXECUTIVE, Role.MANAGER}),
}
_ID = re.compile(r"exec_\d+|mgr_\d+_\d+|spec_\d+_\d+_\d+")
COMING_BACK = "the team has just come back, and it is being asked how it is"


class Stage(StrEnum):
    """How far the life of an instance has got, as far as it must not be forgotten."""

    STARTING = "starting"
    """Its spawn is under way. After a crash it is finished if its agent was given its first message, else undone."""
    RUNNING = "running"
    ENDING = "ending"
    """It is being terminated. After a crash that is finished."""
    STOPPED = "stopped"
    FAILED = "failed"


_STATUS_OF = {
    Stage.STARTING: Status.STARTING,
    Stage.RUNNING: Status.STARTING,
    Stage.ENDING: Status.STOPPED,
    Stage.STOPPED: Status.STOPPED,
    Stage.FAILED: Status.FAILED,
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
    request_id: str | None = None
    """Of the call that made it; see ``repeats``."""
    fingerprint: str = ""
    workspace: Workspace | None = None
    host: str = ""
    actor: str = ""
    """The spare actor that it was given; empty: it has one of its own name. See ``actor_name``."""
    pane_id: str = ""
    pid: int = 0
    stage: Stage = Stage.STARTING
    wanted: bool = True
    """Nobody has terminated it: when its agent ends, it may be started again."""
    ended_at: float = 0.0
    """Seconds since the epoch; 0 while its agent lives."""
    reason: str = ""
    """Why it failed."""
    transcript_path: str = ""
    resumes: int = 0
    """How often in a row it was started again by itself; see ``resuming``."""
    resumed_at: float = 0.0
    """When that was last; seconds since the epoch."""

    @property
    def session_name(self) -> str:
        return self.instance_id

    @property
    def actor_name(self) -> str:
        return self.actor or self.instance_id

    @property
    def directory(self) -> Path:
        """Where the agent works."""
        return self.workspace.directory if self.workspace else self.work_dir

    @property
    def resumable(self) -> bool:
        """Its agent has ended without having been terminated."""
        return self.wanted and self.stage in (Stage.STOPPED, Stage.FAILED)


@dataclass(slots=True)
class Member:
    """A record and what was last heard of its instance."""

    record: InstanceRecord
    snapshot: Snapshot
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever starts, restarts or ends the instance: one at a time."""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a change of the record is being stored, so that none is overwritten by an older one."""
    ending: bool = False
    """It is being terminated: nobody may be started under it."""
    silence: str = ""
    """Why its actor does not answer, once that has lasted; empty while it does."""

    @property
    def alive(self) -> bool:
        return self.snapshot.status in ALIVE


class Registry:
    """All members by id, oldest first. The supervisor's event loop is its only user."""

    def __init__(self, last_number: int = 0) -> None:
        """``last_number``: highest number that an instance of this home has ever had."""
        self._members: dict[str, Member] = {}
        self._by_request: dict[str, str] = {}
        self.last_number = last_number

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(self._members.values()))

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
        return self._take(Member(record, Snapshot(since=now)))

    def restore(self, record: InstanceRecord, now: float) -> Member:
        """Takes an instance in that the store tells of; what it does now is not known yet."""
        self.last_number = max(self.last_number, record.number)
        snapshot = Snapshot(
            status=_STATUS_OF[record.stage],
            since=record.ended_at or now,
            reason=record.reason,
            transcript_path=record.transcript_path,
        )
        return self._take(Member(record, snapshot, ending=not record.wanted))

    def _take(self, member: Member) -> Member:
        self._members[member.record.instance_id] = member
        if member.record.request_id:
            self._by_request[member.record.request_id] = member.record.instance_id
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
        if not parent.alive:
            raise InvalidRequestError(f"The parent {request.parent_id} is {parent.snapshot.status}: restart it first.")
        return parent.record

    def change(self, instance_id: str, **changes: object) -> InstanceRecord:
        member = self.get(instance_id)
        member.record = replace(member.record, **changes)  # type: ignore[arg-type]
        return member.record

    def remove(self, instance_id: str) -> None:
        """Forgets an instance; its number is not used again."""
        member = self._members.pop(instance_id, None)
        if member is not None and member.record.request_id:
            self._by_request.pop(member.record.request_id, None)

    def children(self, instance_id: str) -> list[Member]:
        return [member for member in self if member.record.parent_id == instance_id]

    def served_by(self, actor: str) -> Member | None:
        """Whose actor has this name."""
        return next((member for member in self if member.record.actor_name == actor), None)

    def made_by(self, request_id: str) -> Member | None:
        """The instance that the call with this request id made."""
        instance_id = self._by_request.get(request_id)
        return None if instance_id is None else self._members[instance_id]


def worktree_names(records: Iterable[InstanceRecord]) -> set[str]:
    """Names below the worktrees' root that belong to these instances, also to those that are just being started."""
    named: set[str] = set()
    for record in records:
        worktree = record.workspace.worktree if record.workspace else None
        named.add(worktree.name if worktree else record.instance_id)
    return named


def number_in(instance_id: str) -> int:
    """The number of an instance, from its id or the name of its worktree; 0 when it is neither."""
    number = instance_id.rpartition("_")[2].partition("-")[0]
    return int(number) if number.isdecimal() else 0


def is_instance_id(name: str) -> bool:
    """Whether an instance can be called so: what bears another name is somebody else's."""
    return _ID.fullmatch(name) is not None


def _instance_id(role: Role, executive: int, manager: int, number: int) -> str:
    match role:
        case Role.EXECUTIVE:
            return f"exec_{number}"
        case Role.MANAGER:
            return f"mgr_{executive}_{number}"
        case Role.SPECIALIST:
            return f"spec_{executive}_{manager}_{number}"
