"""What an instance may do in its team: one table by its role and by its place in the tree.

``Supervisor`` gives each call that carries the token of an instance to ``Access.checked``, also a repeated one, before
the verb runs. Who calls without a token is the user and may do everything. Nobody declares a role: it is the record's.
What is refused says what the role may do instead. A member of a batch that is refused fails alone.

Whoever allows a tool call does so with the rights of the user. So of what ``respond`` answers, an instance answers only
questions (``AskUserQuestion``, whose answer is words), unless the user had it started to answer permissions. Then it
may allow nothing that its own permission mode refuses outright, and it names the request, so that it answers none that
it has not seen. The rules of the user's settings that deny tools are not known here; Claude Code applies the same ones
to those below.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from actors.agents.base import mode_named
from actors.errors import InvalidRequestError, RefusedError
from actors.worktrees.model import Workspace, WorkspaceMode
from supervisor.api import requests
from supervisor.api.requests import Malformed, McpServers, PermissionMode, Request, Role
from supervisor.team.limits import check_given, check_widened
from supervisor.team.registry import InstanceRecord, InstanceStage, Member, Registry, unknown_instance

MemberT = TypeVar("MemberT", bound=Request)
Check = Callable[[MemberT, InstanceRecord], MemberT]
_ENDED = frozenset({InstanceStage.ENDING, InstanceStage.STOPPED, InstanceStage.FAILED})
_TOKEN_BYTES = 32


class Relation(StrEnum):
    """What another instance is to the caller; the value is said to the caller."""

    ITSELF = "yourself"
    BELOW = "those below you"
    LEAD = "your lead"
    PEER = "the other managers of your lead"
    """Of a manager."""
    SIBLING = "the other specialists of your lead"
    """Of a specialist."""
    STRANGER = "others"


class Act(StrEnum):
    SEE = "list or wait for"
    READ = "read"
    SEND = "send to"
    MANAGE = "end, restart, interrupt, recycle, limit or answer"
    GIT = "use git in the workspace of"


_FAMILY = (Relation.ITSELF, Relation.BELOW, Relation.LEAD)
_OWN_PART = (Relation.ITSELF, Relation.BELOW)
MAY: Mapping[Role, Mapping[Act, Sequence[Relation]]] = {
    Role.EXECUTIVE: {
        Act.SEE: _FAMILY,
        Act.READ: _FAMILY,
        Act.SEND: (Relation.BELOW, Relation.LEAD),
        Act.MANAGE: (Relation.BELOW,),
        Act.GIT: _OWN_PART,
    },
    Role.MANAGER: {
        Act.SEE: (*_FAMILY, Relation.PEER),
        Act.READ: (*_FAMILY, Relation.PEER),
        Act.SEND: (Relation.BELOW, Relation.LEAD, Relation.PEER),
        Act.MANAGE: (Relation.BELOW,),
        Act.GIT: _OWN_PART,
    },
    Role.SPECIALIST: {
        Act.SEE: (Relation.ITSELF, Relation.LEAD, Relation.SIBLING),
        Act.READ: (Relation.ITSELF, Relation.LEAD),
        Act.SEND: (Relation.LEAD,),
        Act.MANAGE: (),
        Act.GIT: (Relation.ITSELF,),
    },
}
"""On whom each role may act. A setting of the team adds siblings to those a specialist may send to."""
MAY_START: Mapping[Role, Sequence[Role]] = {
    Role.EXECUTIVE: (Role.MANAGER, Role.SPECIALIST),
    Role.MANAGER: (Role.SPECIALIST,),
    Role.SPECIALIST: (),
}
_LEADS_CALL = frozenset(
    {
        "spawn",
        "spawn_batch",
        "send",
        "send_batch",
        "read",
        "list",
        "wait",
        "respond",
        "interrupt",
        "terminate",
        "restart",
        "recycle",
        "limit",
        "git_batch",
        "merge",
        "sync",
        "get_performance",
        "hosts",
    }
)
MAY_CALL: Mapping[Role, frozenset[str]] = {
    Role.EXECUTIVE: _LEADS_CALL,
    Role.MANAGER: _LEADS_CALL,
    Role.SPECIALIST: frozenset({"send", "read", "list", "git_batch"}),
}
"""The verbs that an instance may call. Each role is shown only the tools of these."""
_LOOSENESS = {"plan": 0, "default": 1, "dontAsk": 1, "acceptEdits": 2, "auto": 3, "bypassPermissions": 4}
"""How much an instance may do without asking, by its permission mode."""
_REFUSES = frozenset({"plan", "dontAsk"})
"""Permission modes in which what would have to be asked for is not done at all."""
QUESTION_TOOL = "AskUserQuestion"


def new_token() -> str:
    """A secret by which an instance is known to the team. It is made when its agent is first started."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def token_hash(token: str) -> str:
    """What the record holds of a token: who reads the team's state cannot call as an instance."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def relation(caller: InstanceRecord, other: InstanceRecord, registry: Registry) -> Relation:
    if other.instance_id == caller.instance_id:
        return Relation.ITSELF
    if other.instance_id == caller.parent_id:
        return Relation.LEAD
    if any(above.record.instance_id == caller.instance_id for above in registry.line(other.parent_id)):
        return Relation.BELOW
    if other.parent_id is not None and other.parent_id == caller.parent_id and other.role is caller.role:
        if caller.role is Role.MANAGER:
            return Relation.PEER
        if caller.role is Role.SPECIALIST:
            return Relation.SIBLING
    return Relation.STRANGER


class Access:
    def __init__(self, registry: Registry, *, siblings_may_send: bool) -> None:
        """``siblings_may_send``: specialists of one lead may send to each other."""
        self._registry = registry
        self._siblings_may_send = siblings_may_send

    def caller_of(self, token: str) -> InstanceRecord:
        """The instance that has this token. Raises ``RefusedError`` when no living instance has it."""
        record = self.holder_of(token_hash(token))
        if record.is_spare or record.stage is InstanceStage.SPARE:
            raise RefusedError("This agent is a spare and no instance yet: nothing was done.")
        return record

    def holder_of(self, hashed: str) -> InstanceRecord:
        """The living instance, or the spare, whose token has this hash. Raises ``RefusedError`` when there is none."""
        for member in self._registry.with_token(hashed):
            # One that is started again may call before its record says so.
            if member.coming_back or (member.record.wanted and member.record.stage not in _ENDED):
                return member.record
        raise RefusedError("The team knows no living instance by this token: nothing was done.")

    def may(self, caller: InstanceRecord, act: Act, other: InstanceRecord) -> bool:
        found = relation(caller, other, self._registry)
        if found is Relation.SIBLING and act is Act.SEND:
            return self._siblings_may_send
        return found in MAY[caller.role][act]

    def seen_by(self, caller: InstanceRecord) -> Sequence[Member]:
        """Whom the caller may list, oldest first."""
        return [member for member in self._around(caller) if self.may_see(caller, member.record)]

    def status_only(self, caller: InstanceRecord) -> frozenset[str]:
        """The ids of those of whom the caller sees who they are and how they are, and nothing else."""
        if caller.role is not Role.SPECIALIST:
            return frozenset()
        beside = (member.record for member in self._beside(caller))
        return frozenset(
            other.instance_id for other in beside if relation(caller, other, self._registry) is Relation.SIBLING
        )

    def may_see(self, caller: InstanceRecord, other: InstanceRecord) -> bool:
        return self.may(caller, Act.SEE, other)

    def workspaces_of(self, caller: InstanceRecord) -> Sequence[InstanceRecord]:
        """In whose workspaces the caller may use git: only what these have checked out may it merge into."""
        return [one.record for one in self._around(caller) if self.may(caller, Act.GIT, one.record)]

    def own_branches(self, caller: InstanceRecord) -> frozenset[str]:
        """Those that were made for instances in whose workspaces the caller may use git. Another branch that one of
        them has checked out is somebody else's."""
        workspaces = (record.workspace for record in self.workspaces_of(caller) if record.is_isolated)
        return frozenset(workspace.branch for workspace in workspaces if workspace is not None and workspace.branch)

    def check_work_dir(self, caller_id: str, directory: Path, mode: WorkspaceMode) -> None:
        """Whether the caller, unless it is the user, may have an instance work there. The directory is the real one:
        by its name alone a link within the caller's workspace could lead anywhere."""
        if not caller_id:
            return
        caller = self._registry.get(caller_id).record
        if not any(directory.is_relative_to(root) for root in _roots(caller, mode)):
            raise _elsewhere(caller, str(directory), mode)

    def check_workspace(self, caller_id: str, workspace: Workspace) -> None:
        """Whether what was made for an instance that the caller starts, unless it is the user, is of the caller's own
        repository. A ``.git`` in its directory, or a link that has come since ``check_work_dir``, leads into others.

        A caller outside of git may have others work in the repositories that lie in its directory.
        """
        if not caller_id:
            return
        caller = self._registry.get(caller_id).record
        own, made = caller.workspace, workspace.place
        if own is None or own.place is None:
            inside = made is None or all(
                path.is_relative_to(caller.directory)
                for path in (workspace.repository, made.git_directory, made.common_directory)
                if path is not None
            )
            is_own = inside if workspace.mode == "shared" else _source_of(workspace).is_relative_to(caller.directory)
        elif workspace.mode == "shared":
            is_own = made == own.place
        else:
            is_own = _source_of(workspace) == _source_of(own)
        if workspace.mode == "shared" and not workspace.directory.is_relative_to(caller.directory):
            raise _elsewhere(caller, str(workspace.directory), workspace.mode)
        if not is_own:
            raise RefusedError(
                "The repository that workDir lies in is not the one that you work in, so nobody was started there. "
                f"Give your own directory, {caller.directory}, or one below it that is of the same repository."
            )

    def _around(self, caller: InstanceRecord) -> list[Member]:
        """Everybody who is not a stranger to the caller, and some who are, oldest first. It costs as much as there are
        of these, whatever the size of the team."""
        found = {member.record.instance_id: member for member in self._registry.below(caller.instance_id)}
        for instance_id in (caller.instance_id, caller.parent_id):
            if instance_id is not None and (member := self._registry.find(instance_id)) is not None:
                found[instance_id] = member
        found |= {member.record.instance_id: member for member in self._beside(caller)}
        return sorted(found.values(), key=lambda member: member.record.number)

    def _beside(self, caller: InstanceRecord) -> list[Member]:
        return self._registry.children(caller.parent_id) if caller.parent_id is not None else []

    def checked(self, verb: str, request: Request, caller: InstanceRecord) -> Request:
        """The request as the caller may make it.

        A member of a batch that the caller may not ask for is refused alone. A request id is the caller's own, so that
        nobody gets the outcome of another's call. Raises ``RefusedError`` for all else that is refused, and
        ``UnknownInstanceError``.
        """
        if verb not in MAY_CALL[caller.role]:
            raise RefusedError(f"{_subject(caller)} may not call {verb}. {_instead(caller)}")
        return _with_own_id(self._checked(request, caller), caller)

    def _checked(self, request: Request, caller: InstanceRecord) -> Request:  # noqa: C901, PLR0912 - one case for each request
        match request:
            case requests.SpawnRequest():
                return self._spawn(request, caller)
            case requests.SpawnBatchRequest(instances=members):
                return request.model_copy(update={"instances": _each(members, caller, self._spawn)})
            case requests.SendRequest():
                return self._send(request, caller)
            case requests.SendBatchRequest(messages=members):
                return request.model_copy(update={"messages": _each(members, caller, self._send)})
            case requests.GitBatchRequest(operations=members):
                owned = frozenset(str(record.directory) for record in self.workspaces_of(caller))
                return request.model_copy(update={"operations": _each(members, caller, partial(self._git, owned))})
            case requests.MergeRequest():
                self._check(caller, Act.GIT, request.instance_ids)
            case requests.SyncRequest():
                self._check(caller, Act.GIT, request.instance_ids or [])
            case requests.ReadRequest():
                self._check(caller, Act.READ, [request.instance_id])
            case requests.ListRequest():
                self._check(caller, Act.SEE, request.instance_ids or [])
            case requests.WaitRequest():
                return self._wait(request, caller)
            case requests.RespondRequest():
                return self._respond(request, caller)
            case requests.InterruptRequest() | requests.RecycleRequest():
                self._check(caller, Act.MANAGE, [request.instance_id])
            case requests.LimitRequest():
                self._check(caller, Act.MANAGE, [request.instance_id])
                record = self._registry.get(request.instance_id).record
                check_given(request.limits, record.parent_id, self._registry)
                check_widened(request, record, caller, self._registry)
            case requests.TerminateRequest() | requests.RestartRequest():
                self._check(caller, Act.MANAGE, request.ids)
        return request

    def _check(self, caller: InstanceRecord, act: Act, ids: Iterable[str]) -> None:
        for instance_id in ids:
            member = self._registry.find(instance_id)
            if member is None:
                raise unknown_instance(instance_id, self.seen_by(caller))
            if not self.may(caller, act, member.record):
                whom = _whom(MAY[caller.role][act])
                raise RefusedError(f"{_subject(caller)} may {act} {whom}, not {instance_id}. {_instead(caller)}")

    def _send(self, request: MemberT, caller: InstanceRecord) -> MemberT:
        self._check(caller, Act.SEND, [request.instance_id])  # type: ignore[attr-defined]
        return request

    def _respond(self, request: requests.RespondRequest, caller: InstanceRecord) -> requests.RespondRequest:
        self._check(caller, Act.MANAGE, [request.instance_id])
        asked = self._registry.get(request.instance_id).snapshot.permission
        if asked is not None and asked.tool == QUESTION_TOOL and request.permission_id in {None, asked.request_id}:
            return request.model_copy(update={"permission_id": asked.request_id})
        if not caller.answers_permissions:
            raise RefusedError(
                f"{_subject(caller)} may answer questions, but neither allow nor deny what {request.instance_id} asks "
                "for, nor choose in a dialog of its program: you were not started with answers: permissions. The user "
                "sees the request or dialog and answers it."
            )
        if request.permission_id is None and (asked is not None or request.decision == "allow"):
            raise RefusedError(
                "Name the request that you have seen by its permissionId, as you were told it or as list shows it: "
                "by now another one may wait."
            )
        if request.decision != "deny" and caller.permission_mode in _REFUSES:
            raise RefusedError(
                f"You work in the permission mode {caller.permission_mode}, in which you could not do this yourself, "
                "so you cannot allow it. Deny it with a message, or leave it to the user, who sees the request."
            )
        return request

    def _wait(self, request: requests.WaitRequest, caller: InstanceRecord) -> requests.WaitRequest:
        """Without ids it means those below: who waits for itself waits for ever."""
        if request.instance_ids is None:
            below = self._registry.below(caller.instance_id)
            return request.model_copy(
                update={"instance_ids": [one.record.instance_id for one in below if not one.terminated]}
            )
        self._check(caller, Act.SEE, request.instance_ids)
        return request

    def _git(
        self, owned: frozenset[str], operation: requests.GitOperation, caller: InstanceRecord
    ) -> requests.GitOperation:
        """The directory must be a workspace itself: below it, a link could lead out of it.

        It goes on as it was compared, because ``link/..`` is another directory to the system than to us. Whether the
        workspace is still what the team made there, the host sees (``Workspace.place``).
        """
        directory = os.path.normpath(operation.workspace_dir)
        if directory not in owned:
            raise RefusedError(
                f"{_subject(caller)} may {Act.GIT} {_whom(MAY[caller.role][Act.GIT])}: give the workingDirectory of "
                f"one of these as list tells it. {operation.workspace_dir} is none of them."
            )
        return operation.model_copy(update={"workspace_dir": directory})

    def _spawn(self, request: requests.SpawnRequest, caller: InstanceRecord) -> requests.SpawnRequest:
        startable = MAY_START[caller.role]
        if request.role not in startable:
            roles = " and ".join(f"{role}s" for role in startable) or "nobody"
            raise RefusedError(f"{_subject(caller)} may start {roles}, no {request.role}. {_instead(caller)}")
        lead = None if request.parent_id is None else self._registry.find(request.parent_id)
        if request.parent_id is not None and lead is None:
            raise unknown_instance(request.parent_id, self.seen_by(caller))
        parent = caller if lead is None else lead.record
        if relation(caller, parent, self._registry) not in _OWN_PART:
            raise RefusedError(f"{request.parent_id} is not below you: leave parentId out, or name one that is.")
        directory = os.path.normpath(request.work_dir)
        if not any(_is_within(directory, root) for root in _roots(caller, request.workspace_mode)):
            raise _elsewhere(caller, request.work_dir, request.workspace_mode)
        if request.agent not in {None, caller.agent}:
            raise RefusedError("Those below you run the same program as you: leave agent out.")
        if request.env:
            raise RefusedError("Only the user gives an instance environment variables: leave env out.")
        if request.prepare is not None:
            raise RefusedError("Only the user has a worktree prepared: leave prepare out.")
        line = self._up_to(caller, parent)
        mode = _mode_within(request.permission_mode, line, caller)
        if request.answers is not None and not caller.answers_permissions:
            raise RefusedError(
                "You were not started with answers: permissions, so nobody below you may be: leave answers out. "
                "The user answers permission requests."
            )
        check_given(request.limits, parent.instance_id, self._registry)
        servers = _servers_within(request.mcp_servers, line, caller)
        return request.model_copy(
            update={
                "parent_id": parent.instance_id,
                "agent": caller.agent,
                "mcp_servers": servers,
                "permission_mode": mode,
            }
        )

    def _up_to(self, caller: InstanceRecord, parent: InstanceRecord) -> Sequence[InstanceRecord]:
        """The parent of a start, those above it, and the caller: nobody below any of them may do more than it may."""
        line: list[InstanceRecord] = []
        for member in self._registry.line(parent.instance_id):
            line.append(member.record)
            if member.record.instance_id == caller.instance_id:
                break
        return line


def _each(
    members: Sequence[MemberT | Malformed], caller: InstanceRecord, check: Check[MemberT]
) -> list[MemberT | Malformed]:
    """The members, of which those that are refused are malformed."""
    checked: list[MemberT | Malformed] = []
    for member in members:
        try:
            checked.append(member if isinstance(member, Malformed) else check(member, caller))
        except InvalidRequestError as error:
            given: Any = member.model_dump(mode="json", by_alias=True) if isinstance(member, Request) else member
            checked.append(Malformed(given, str(error)))
    return checked


def _mode_within(
    asked: PermissionMode | None, line: Sequence[InstanceRecord], caller: InstanceRecord
) -> PermissionMode | None:
    """The mode of a start. Left out, it is that of the strictest above, if that one asks more than usual."""
    for lead in line:
        own = mode_named(lead.permission_mode)
        if _LOOSENESS[mode_named(asked)] <= _LOOSENESS[own]:
            continue
        if asked is None:
            asked = cast("PermissionMode", own)
            continue
        you = lead.instance_id == caller.instance_id
        raise RefusedError(
            f"{'You work' if you else f'{lead.instance_id} works'} in the permission mode {own}, and nobody below "
            f"{'you' if you else 'it'} may ask less: not {asked}. Leave permissionMode out, or give {own}."
        )
    return asked


def _servers_within(asked: McpServers, line: Sequence[InstanceRecord], caller: InstanceRecord) -> McpServers:
    """``all`` means all that each above has itself."""
    common: McpServers = "all"
    for lead in line:
        own = () if lead.mcp_servers == "none" else lead.mcp_servers
        if asked not in {"all", "none"} and own != "all" and (others := sorted(set(asked) - set(own))):
            you = lead.instance_id == caller.instance_id
            raise RefusedError(
                f"{'You have' if you else f'{lead.instance_id} has'} no MCP server {' or '.join(others)}, so those "
                f"below {'you' if you else 'it'} get none: leave mcpServers out, or name servers of "
                f"{'your' if you else 'its'} own."
            )
        common = own if common == "all" else common if own == "all" else tuple(name for name in common if name in own)
    return (common or "none") if asked == "all" else asked


def _with_own_id(request: Request, caller: InstanceRecord) -> Request:
    given = getattr(request, "request_id", None)
    return request if given is None else request.model_copy(update={"request_id": f"{caller.instance_id}/{given}"})


def _source_of(workspace: Workspace) -> Path:
    """The repository on the supervisor's host that a worktree is of."""
    return workspace.home or workspace.git_directory or workspace.directory


def _is_within(directory: str, root: Path) -> bool:
    return directory == str(root) or directory.startswith(f"{root}{os.sep}")


def _roots(caller: InstanceRecord, mode: WorkspaceMode) -> tuple[Path, ...]:
    """In which directories those may work whom the caller starts. The project that its own worktree was made from is
    the user's: others get worktrees of it, and share only the caller's own."""
    return (caller.directory,) if mode == "shared" else (caller.work_dir, caller.directory)


def _elsewhere(caller: InstanceRecord, directory: str, mode: WorkspaceMode) -> RefusedError:
    if mode == "shared":
        return RefusedError(
            f"Those below you share your own directory, {caller.directory}, or have a worktree of their own: "
            f"{directory} is not within it. Give that one, or leave workspaceMode out."
        )
    return RefusedError(
        f"You work on {caller.work_dir}, and so do those below you: {directory} is not within it. {_instead(caller)}"
    )


def _whom(relations: Sequence[Relation]) -> str:
    return " and ".join(relations) if relations else "nobody"


def _subject(caller: InstanceRecord) -> str:
    return f"You are {caller.instance_id}, a {caller.role}, and"


def _instead(caller: InstanceRecord) -> str:
    lead = caller.parent_id or "your lead"
    if caller.role is Role.SPECIALIST:
        return f"Tell {lead} what you need."
    return f"For all beyond your own part of the team, ask {lead}."
