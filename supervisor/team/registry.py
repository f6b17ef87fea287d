"""The members of the team: the record of each instance, and what was last heard of it.

All of this is in memory. ``Team.save`` changes a record and stores it; the last ``InstanceSnapshot`` is not stored,
because it can be asked for again. Of one that has ended nobody can be asked, so its record keeps what it showed last
(``LastSeen``). Ids come from one counter of the team, so no two instances share one. An id tells the
role and the line above.
"""

from __future__ import annotations

import asyncio
import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict, Unpack

from actors.agents.base import TokenUse, mode_named
from actors.concurrency import ChangeNotifier
from actors.errors import InvalidRequestError, UnknownInstanceError
from actors.instance.reports import InstanceSnapshot
from actors.status import ALIVE, Status
from actors.worktrees.model import Workspace
from supervisor.api import requests
from supervisor.api.requests import McpServers, Role, SpawnRequest
from supervisor.api.results import SPARE_PREFIX, InstanceInfo, called
from supervisor.team.accounts import account_of

_ID = re.compile(r"exec_\d+|mgr_\d+_\d+|spec_\d+_\d+_\d+|spare_\d+")
PARENT_ROLES: Mapping[Role, frozenset[Role]] = {
    Role.EXECUTIVE: frozenset[Role](),
    Role.MANAGER: frozenset({Role.EXECUTIVE}),
    Role.SPECIALIST: frozenset({Role.EXECUTIVE, Role.MANAGER}),
}
COMING_BACK = "the team has just come back, and it is being asked how it is"


class InstanceStage(StrEnum):
    """How far the life of an instance has got, as far as it must not be forgotten."""

    STARTING = "starting"
    """Its spawn is under way. After a crash it is finished if its agent was given its first message, else undone."""
    SPARE = "spare"
    """It waits at its prompt to become an instance; see ``supervisor.pool``."""
    RUNNING = "running"
    ENDING = "ending"
    """It is being terminated. After a crash that is finished."""
    STOPPED = "stopped"
    FAILED = "failed"


_ENDED = {
    InstanceStage.ENDING: Status.STOPPED,
    InstanceStage.STOPPED: Status.STOPPED,
    InstanceStage.FAILED: Status.FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What holds below an instance; None: that is not limited. See ``limits``."""

    instances: int | None = None
    """How many may be there at once, in all levels below it."""
    depth: int | None = None
    """How many levels."""
    models: tuple[str, ...] | None = None
    permission_modes: tuple[str, ...] | None = None
    tokens: int | None = None
    """Of itself and all below it together, as ``TokenUse.counted`` counts them; see ``tokens``."""

    def changed(self, given: requests.Limits | None, lifted: Iterable[str] = ()) -> Limits:
        """With those that a caller has given, and without those ``lifted``. An empty list lifts the limit too."""
        told = given.given if given is not None else {}
        lists = {name: tuple(value) or None for name, value in told.items() if isinstance(value, list)}
        return replace(self, **{**told, **lists, **dict.fromkeys(lifted)})


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSeen:
    """What an instance showed when its agent ended; the fields are those of ``InstanceSnapshot``."""

    unread: int = 0
    context_tokens: int = 0
    context_window: int | None = None
    model: str = ""
    task: str = ""
    activity: str = ""
    activity_at: str = ""

    @classmethod
    def of(cls, snapshot: InstanceSnapshot) -> LastSeen:
        return cls(**{each.name: getattr(snapshot, each.name) for each in fields(cls)})

    def shown_in(self, snapshot: InstanceSnapshot) -> InstanceSnapshot:
        return replace(snapshot, **{each.name: getattr(self, each.name) for each in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRecord:
    """One instance. ``number`` is unique in the team; ``executive`` and ``manager`` are the numbers above it, or 0."""

    instance_id: str
    number: int
    executive: int = 0
    manager: int = 0
    role: Role
    parent_id: str | None = None
    name: str | None = None
    agent: str
    session_id: str
    """Of the conversation that it was last heard to be in: a person may begin another one at its terminal."""
    created_at: float
    work_dir: Path
    request_id: str | None = None
    """Of the call that made it; see ``rpc.idempotency``."""
    fingerprint: str = ""
    workspace: Workspace | None = None
    host: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Which its host must have, whichever it is; see ``cluster.scheduler``."""
    actor: str = ""
    """The name of its actor: on another host, or of the spare agent that it was made of. Empty: its own id."""
    spare: str = ""
    """The spare agent that it was made of; see ``place``."""
    token_hash: str = ""
    """Of the token by which its agent calls the team; see ``access``."""
    permission_mode: str = "default"
    answers_permissions: bool = False
    """It is told of the permission requests of those below it and may answer them; see ``access``."""
    mcp_servers: McpServers = "all"
    """Which of the user's own it gets; those below it get no others."""
    account: str = ""
    """Of which it is, by hash; empty: of the team's environment. See ``accounts``."""
    limits: Limits = field(default_factory=Limits)
    limits_set_by: Mapping[str, str] = field(default_factory=dict)
    """The instance that gave each of them last, by its name; empty: the user."""
    tokens: TokenUse = field(default_factory=TokenUse)
    """That it had used in its present conversation when this was last stored; see ``Member.tokens``."""
    tokens_before: TokenUse = field(default_factory=TokenUse)
    """That it had used in those which a recycling has ended."""
    tokens_of_removed: int = 0
    """What those below it had used that have left the team."""
    attended: bool = False
    """A person began its conversation, at its terminal."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """What else its spawn asked for, as JSON; see ``SpawnRequest.also_asked``."""
    summary: str = ""
    """Of its earlier conversation, when that was recycled; see ``recycling``."""
    recipe: str = ""
    """Of a spare only: what it was made for. A spawn that asks for just that may take it."""
    program: str = ""
    """Of a spare only: which program it runs."""
    pane_id: str = ""
    pid: int = 0
    stage: InstanceStage = InstanceStage.STARTING
    moving_from: str = ""
    """The drained host from which it is just being handed over to another one; see ``cluster.migration``."""
    wanted: bool = True
    """It was not terminated: when its agent ends, it may be started again."""
    ended_at: float = 0.0
    """Seconds since the epoch; 0 while its agent lives."""
    reason: str = ""
    """Why it failed."""
    left: str = ""
    """Where its work is, since it was terminated, that is on no branch: a ref, or the worktree that stayed."""
    transcript_path: str = ""
    last_seen: LastSeen = field(default_factory=LastSeen)
    """Of an agent that has ended; empty where it ended unseen, as with the power."""
    resumes: int = 0
    """How often in a row it was started again by itself; see ``lifecycle``."""
    resumed_at: float = 0.0
    """When that was last; seconds since the epoch."""

    @property
    def session_name(self) -> str:
        return self.instance_id

    @property
    def place(self) -> str:
        """Name of its private directory."""
        return self.spare or self.instance_id

    @property
    def names(self) -> frozenset[str]:
        """Every name its resources may carry on the host: its own, and those of the spares that it was made of."""
        worktree = self.workspace.worktree if self.workspace else None
        return frozenset({self.instance_id, self.place, worktree.name.partition("-")[0] if worktree else self.place})

    @property
    def is_spare(self) -> bool:
        return bool(self.recipe)

    @property
    def actor_name(self) -> str:
        return self.actor or self.instance_id

    @property
    def elsewhere(self) -> bool:
        """It is on another host than the supervisor's, which the name of its actor says."""
        return "@" in self.actor

    @property
    def carried(self) -> bool:
        """What it does elsewhere comes home now and then, so that it can go on without that host."""
        return self.elsewhere and self.workspace is not None and self.workspace.home is not None

    @property
    def directory(self) -> Path:
        """Where the agent works."""
        return self.workspace.directory if self.workspace else self.work_dir

    @property
    def is_isolated(self) -> bool:
        """It has a worktree of its own."""
        return self.workspace is not None and self.workspace.mode == "isolated"

    @property
    def resumable(self) -> bool:
        """Its agent has ended without having been terminated."""
        return self.wanted and self.stage in (InstanceStage.STOPPED, InstanceStage.FAILED)


class RecordChanges(TypedDict, total=False):
    """The fields of ``InstanceRecord`` that change during its life, for ``Team.save``; the others never do."""

    session_id: str
    workspace: Workspace | None
    host: str
    labels: Mapping[str, str]
    actor: str
    spare: str
    token_hash: str
    limits: Limits
    limits_set_by: Mapping[str, str]
    tokens: TokenUse
    tokens_before: TokenUse
    tokens_of_removed: int
    summary: str
    program: str
    pane_id: str
    pid: int
    stage: InstanceStage
    moving_from: str
    wanted: bool
    ended_at: float
    reason: str
    left: str
    transcript_path: str
    last_seen: LastSeen
    resumes: int
    resumed_at: float


_IN_A_ROW = frozenset({"record", "snapshot", "coming_back", "silence", "hold", "total"})
"""Attributes of a ``Member`` that callers see in its row."""


@dataclass(slots=True)
class Member:
    """A record and what was last heard of its instance.

    Whoever changes what its row shows, the registry that it is in notes it; see ``Registry.touch``.
    """

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
    counted: int = 0
    """Its own tokens, as far as they are in the totals; see ``tokens``."""
    total: int = 0
    """The tokens of itself and all below it, those too that have left the team."""
    hold: str = ""
    """Why messages to it are held for a limit of tokens, in words; empty while they are not. See ``tokens``."""
    shown: tuple[object, InstanceInfo] | None = None
    """What was last shown of it, after all that it was made of; see ``queries``."""
    registry: Registry | None = field(default=None, repr=False, compare=False)
    """That it is in."""

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        # The registry comes last of the fields, so it is missing while the member is made.
        if name in _IN_A_ROW and (registry := getattr(self, "registry", None)) is not None:
            registry.touch(self.record.instance_id)

    @property
    def status(self) -> Status:
        """The status that callers see: an instance that is just being restarted has not stopped."""
        heard = self.snapshot.status
        return Status.STARTING if self.coming_back and heard not in ALIVE else heard

    @property
    def alive(self) -> bool:
        return self.status in ALIVE

    @property
    def tokens(self) -> TokenUse:
        """That it has used in all its conversations."""
        return self.record.tokens_before.plus(self.tokens_of_conversation)

    @property
    def tokens_of_conversation(self) -> TokenUse:
        """That it has used since it was last recycled. Its actor counts anew what it still finds."""
        told = self.snapshot.tokens
        return told if told.counted >= self.record.tokens.counted else self.record.tokens

    @property
    def terminated(self) -> bool:
        """For good: one that only ended with the team, or failed, can go on and belongs to it."""
        return self.record.stage is InstanceStage.STOPPED and not self.record.wanted


class Registry:
    """All members by id, oldest first; iterated, those that are instances."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._children: defaultdict[str, dict[str, Member]] = defaultdict(dict)
        self._named: dict[str, dict[str, None]] = {}
        """The ids of those that have each name, oldest first."""
        self._by_token: defaultdict[str, dict[str, Member]] = defaultdict(dict)
        """By the hash of a token who has it: a spare and the instance that is just being made of it have the same."""
        self.last_number = self.last_spare = 0
        """The highest numbers that an instance and a spare of this home have ever had."""
        self.spare_worktrees: set[str] = set()
        """Names of spare worktrees."""
        self.touched: set[str] = set()
        """Ids of whom the row may show something else by now. ``rows`` takes them out; see ``touch``."""
        self.touches = ChangeNotifier()

    def __iter__(self) -> Iterator[Member]:
        return iter(tuple(member for member in self._members.values() if not member.record.is_spare))

    def everyone(self) -> tuple[Member, ...]:
        """Spare agents too."""
        return tuple(self._members.values())

    def __contains__(self, instance_id: str) -> bool:
        return instance_id in self._members

    def touch(self, instance_id: str) -> None:
        """Notes that the row of this instance may have changed: also what the team knows of it elsewhere, as of its
        messages."""
        self.touched.add(instance_id)
        self.touches.announce()

    def find(self, instance_id: str) -> Member | None:
        """The member, or None when there is no such one."""
        return self._members.get(instance_id)

    def get(self, instance_id: str) -> Member:
        """Raises ``UnknownInstanceError`` in words for the caller."""
        member = self.find(instance_id)
        if member is None:
            raise unknown_instance(instance_id, self)
        return member

    def resolve(self, given: str, sees: Callable[[InstanceRecord], bool]) -> str:
        """The id for an id or a name; what is neither, or names nobody whom the caller ``sees``, comes back as it is.

        A name is that of the living instance that has it. Without one it is that of the newest that was terminated, so
        that it can still be read. Raises ``InvalidRequestError`` when several living ones have it, as those may that an
        older version has started.
        """
        if given in self._members:
            return given
        holders = [record for record in self._holders(given) if sees(record)]
        living = [record.instance_id for record in holders if record.wanted]
        if len(living) > 1:
            raise InvalidRequestError(f"Several instances have the name {given}: say which one, {', '.join(living)}.")
        return living[0] if living else holders[-1].instance_id if holders else given

    def check_name(self, name: str | None, request_id: str | None = None) -> None:
        """Raises ``InvalidRequestError`` for a name that an instance has which was not terminated.

        A start of the same call that is still being undone does not count.
        """
        taken = (
            record.wanted and (request_id is None or record.request_id != request_id)
            for record in (self._holders(name) if name is not None else ())
        )
        if any(taken):
            # Not whose it is: the caller may be an instance that does not see that one.
            raise InvalidRequestError(
                f"The name {name} is taken by an instance of this team that was not terminated: choose another "
                "one, or leave name out."
            )

    def _holders(self, name: str) -> list[InstanceRecord]:
        return [self._members[instance_id].record for instance_id in self._named.get(name, ())]

    def add(
        self,
        request: SpawnRequest,
        *,
        agent: str,
        session_id: str,
        now: float,
        fingerprint: str = "",
        caller_id: str = "",
    ) -> Member:
        """Takes a new instance in, as ``starting``. ``caller_id``: of the instance that wants it; empty: the user.

        Raises ``InvalidRequestError`` for an impossible parent, and for a name that a living instance has.
        """
        parent = self.checked_parent(request.role, request.parent_id)
        self.check_name(request.name, request.request_id)
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
            permission_mode=mode_named(request.permission_mode),
            answers_permissions=request.answers == "permissions",
            mcp_servers=request.mcp_servers,
            account=account_of(request.env),
            limits=Limits().changed(request.limits),
            limits_set_by=dict.fromkeys(request.limits.given if request.limits else (), caller_id),
            attended=request.attended,
            asked=request.also_asked,
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
        role: Role = Role.SPECIALIST,
        mcp_servers: McpServers = "all",
        host: str = "",
        address: str = "",
    ) -> Member:
        """Takes in a spare agent that is just being made; the fields as in ``InstanceRecord``.

        ``address``: of the host if it is not the supervisor's own; else empty.
        """
        record = InstanceRecord(
            instance_id=name,
            number=number_in(name),
            role=role,
            mcp_servers=mcp_servers,
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
        return tuple(member for member in self._members.values() if member.record.is_spare)

    def ready_spares(self) -> tuple[Member, ...]:
        """The spare agents that wait at their prompt."""
        return tuple(
            each
            for each in self.spares()
            if each.record.stage is InstanceStage.SPARE and each.snapshot.status is Status.READY
        )

    def next_spare(self) -> str:
        """A name for a spare agent or worktree. Spares count by themselves, so that ids of instances have no gaps."""
        self.last_spare += 1
        return f"{SPARE_PREFIX}{self.last_spare}"

    def restore(self, record: InstanceRecord, now: float) -> Member:
        """Takes an instance in that the store tells of; what it does now is not known yet."""
        self.note_name(record.instance_id)
        self.note_name(record.spare)
        snapshot = InstanceSnapshot(
            status=_ENDED.get(record.stage, Status.STARTING),
            since=record.ended_at or now,
            reason=record.reason,
            transcript_path=record.transcript_path,
        )
        if record.stage in _ENDED:
            snapshot = record.last_seen.shown_in(snapshot)
        return self._take(Member(record, snapshot, ending=not record.wanted))

    def note_name(self, name: str) -> None:
        """The number in this name of an instance or spare is not given again."""
        if name.startswith(SPARE_PREFIX):
            self.last_spare = max(self.last_spare, number_in(name))
        else:
            self.last_number = max(self.last_number, number_in(name))

    def _take(self, member: Member) -> Member:
        record = member.record
        self._members[record.instance_id] = member
        member.registry = self
        self.touch(record.instance_id)
        if record.parent_id is not None:
            self._children[record.parent_id][record.instance_id] = member
        if record.name is not None:
            self._named.setdefault(record.name, {})[record.instance_id] = None
        self._note_token(member)
        return member

    def _note_token(self, member: Member) -> None:
        if member.record.token_hash:
            self._by_token[member.record.token_hash][member.record.instance_id] = member

    def _forget_token(self, member: Member) -> None:
        holders = self._by_token.get(member.record.token_hash, {})
        holders.pop(member.record.instance_id, None)
        if not holders:
            self._by_token.pop(member.record.token_hash, None)

    def with_token(self, token_hash: str) -> list[Member]:
        """Those whose token has this hash, who had it first before the others."""
        return [*self._by_token.get(token_hash, {}).values()]

    def checked_parent(self, role: Role, parent_id: str | None) -> InstanceRecord | None:
        """The parent of an instance that is to be started. Raises ``InvalidRequestError`` for an impossible one, and
        ``UnknownInstanceError``."""
        if parent_id is None:
            return None
        parent = self.get(parent_id)
        allowed = PARENT_ROLES[role]
        if parent.record.role not in allowed:
            leaders = " or ".join(sorted(allowed)) or "nobody"
            raise InvalidRequestError(
                f"{parent_id} is a {parent.record.role}; a {role} is led by {leaders}. "
                "Choose another parentId or leave it out."
            )
        if parent.terminated:
            raise InvalidRequestError(f"The parent {parent_id} was terminated: choose another one or none.")
        if parent.ending:
            raise InvalidRequestError(f"The parent {parent_id} is being terminated: choose another one.")
        if not parent.alive:
            raise InvalidRequestError(f"The parent {parent_id} is {parent.status}: restart it first.")
        return parent.record

    def change_in_memory(self, instance_id: str, **changes: Unpack[RecordChanges]) -> InstanceRecord:
        """Changes the record without storing it: a crash loses the change unless the caller stores the record after."""
        member = self.get(instance_id)
        before = member.record
        changed = replace(before, **changes)
        if changed.token_hash != before.token_hash:
            self._forget_token(member)
        member.record = changed
        if changed.token_hash != before.token_hash:
            self._note_token(member)
        return changed

    def remove(self, instance_id: str) -> None:
        """Forgets an instance; its number is not used again."""
        member = self._members.pop(instance_id, None)
        if member is None:
            return
        self.touch(instance_id)
        self._forget_token(member)
        if member.record.parent_id is not None:
            self._children[member.record.parent_id].pop(instance_id, None)
        name = member.record.name
        if name is not None:
            self._named[name].pop(instance_id, None)
            if not self._named[name]:
                del self._named[name]

    def line(self, instance_id: str | None) -> Iterator[Member]:
        """This one and those above it, upwards. One that has left the team ends the line."""
        seen: set[str] = set()
        while instance_id is not None and instance_id not in seen and (member := self.find(instance_id)) is not None:
            seen.add(instance_id)
            yield member
            instance_id = member.record.parent_id

    def nearest_lead(self, record: InstanceRecord) -> Member | None:
        """Of those above it the nearest that has not left the team."""
        executive = _instance_id(Role.EXECUTIVE, record.executive, 0, record.executive)
        return next(self.line(record.parent_id), None) or self.find(executive)

    def below(self, instance_id: str) -> Iterator[Member]:
        """Those in all levels below it."""
        for child in self.children(instance_id):
            yield child
            yield from self.below(child.record.instance_id)

    def children(self, instance_id: str) -> list[Member]:
        """Those directly below it, oldest first."""
        return [*self._children.get(instance_id, {}).values()]

    def leads(self) -> list[Member]:
        """Those that have others directly below them."""
        return [member for lead, below in self._children.items() if below and (member := self.find(lead)) is not None]

    def served_by(self, actor: str) -> Member | None:
        """The instance or spare agent whose actor has this name."""
        return next((member for member in self.everyone() if member.record.actor_name == actor), None)

    def worktree_names(self, *, besides: str = "") -> set[str]:
        """Names below the worktrees' root that belong to a member other than ``besides``, or to a spare worktree."""
        names = set(self.spare_worktrees)
        for record in (member.record for member in self.everyone() if member.record.instance_id != besides):
            worktree = record.workspace.worktree if record.workspace else None
            names.add(worktree.name if worktree else record.instance_id)
        return names

    def names(self) -> set[str]:
        """Every name that resources of members and spare worktrees may carry on their hosts."""
        return {name for member in self.everyone() for name in member.record.names} | self.spare_worktrees

    def made_by(self, request_id: str) -> Member | None:
        """The instance that the call with this request id made; the newest, when one before it could not be undone."""
        return next((member for member in reversed(self.everyone()) if member.record.request_id == request_id), None)


def unknown_instance(given: str, seen: Iterable[Member]) -> UnknownInstanceError:
    """The error for what is neither id nor name; it names the nearest of those whom the caller has ``seen``."""
    # Ids differ in a digit only: the nearest one is not what was meant.
    living = () if is_instance_id(given) else (member.record for member in seen if not member.terminated)
    known = {each.lower(): record for record in living for each in (record.instance_id, record.name) if each}
    close = difflib.get_close_matches(given.lower(), known, n=1)
    nearest = known[close[0]] if close else None
    hint = f" Did you mean {called(nearest.instance_id, nearest.name)}?" if nearest else ""
    return UnknownInstanceError(f"There is no instance {given}.{hint} Call list to see the team.")


def _instance_id(role: Role, executive: int, manager: int, number: int) -> str:
    match role:
        case Role.EXECUTIVE:
            return f"exec_{number}"
        case Role.MANAGER:
            return f"mgr_{executive}_{number}"
        case Role.SPECIALIST:
            return f"spec_{executive}_{manager}_{number}"


def number_in(instance_id: str) -> int:
    """The number of an instance, from its id or the name of its worktree; 0 when it is neither."""
    number = instance_id.rpartition("_")[2].partition("-")[0]
    return int(number) if number.isdecimal() else 0


def is_instance_id(name: str) -> bool:
    """Whether ``name`` is an instance's; resources with other names do not belong to the team."""
    return _ID.fullmatch(name) is not None
