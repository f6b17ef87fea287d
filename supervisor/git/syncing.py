"""The verb ``sync``: a branch comes into those of instances, each between two of its turns.

``SyncService`` decides; the host runs git (``GitService``). Promises: only an instance's own branch moves, and only
while it has that checked out; nothing happens to its files during a turn (``Claims``); a conflict touches nothing and
is told (``ConflictTeller``); each instance fails alone.

Branches on other hosts are not synced, because their repositories there do not have the commits. All in the
supervisor's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from actors.errors import InvalidRequestError, WrongStateError
from actors.git.model import Comparison, GitResponse, Merge, ReadLog, WorkBranch
from actors.host.host import Host
from supervisor.api.requests import SyncRequest
from supervisor.api.results import ErrorInfo, SyncedWork, SyncResult, alone, called
from supervisor.api.verbs import Caller, Handler, Tally
from supervisor.git.claims import Claims
from supervisor.git.conflicts import ConflictTeller
from supervisor.git.lasting_calls import LastingCalls
from supervisor.git.params import branch_named
from supervisor.git.service import GitService
from supervisor.git.work import base_trees, own_branch, repository_of
from supervisor.team.access import Access
from supervisor.team.registry import Member
from supervisor.team.team import Team


class SyncService:
    """A ``VerbService``."""

    def __init__(
        self, team: Team, access: Access, git: GitService, host: Host, claims: Claims, conflicts: ConflictTeller
    ) -> None:
        self._team = team
        self._access = access
        self._git = git
        self._host = host
        self._claims = claims
        self._conflicts = conflicts
        self._calls = LastingCalls(team, "sync")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"sync": self.sync}

    async def begin(self) -> None:
        """Nothing is to be brought back: a call that was cut off looks anew."""

    async def end(self) -> None:
        await self._calls.end()

    async def sync(self, request: SyncRequest, caller: Caller) -> SyncResult:
        """Each instance fails alone."""
        return await self._calls.once(request, request.request_id, SyncResult, lambda: self._sync(request, caller))

    async def _sync(self, request: SyncRequest, caller: Caller) -> SyncResult:
        members = self._to_sync(request, caller)
        sources = await self._sources(request, members, caller)
        deadline_s = asyncio.get_running_loop().time() + request.timeout_seconds
        tally = Tally(caller.progress, len(members), "waiting for turns to end")

        async def one(member: Member) -> SyncedWork:
            name = member.record.instance_id
            synced = await alone(self._sync_one(member, sources.get(name), caller, deadline_s), f"Syncing {name}")
            tally.is_done(f"{called(name, member.record.name)} is done")
            if isinstance(synced, ErrorInfo):
                return SyncedWork(instance_id=name, state="failed", reason=synced.message)
            return synced

        outcomes = await asyncio.gather(*map(one, members))
        return SyncResult(
            success=all(each.state in ("synced", "up_to_date") for each in outcomes), instances=list(outcomes)
        )

    def _to_sync(self, request: SyncRequest, caller: Caller) -> Sequence[Member]:
        if request.instance_ids is not None:
            return [self._team.registry.get(instance_id) for instance_id in dict.fromkeys(request.instance_ids)]
        mine = tuple(self._team.registry)
        if caller.instance_id:
            own = self._access.workspaces_of(self._team.registry.get(caller.instance_id).record)
            ids = {record.instance_id for record in own} - {caller.instance_id}
            mine = tuple(member for member in mine if member.record.instance_id in ids)
        found = [member for member in mine if not member.terminated and repository_of(member.record) is not None]
        if not found:
            raise InvalidRequestError("There is no instance with a branch of its own to sync.")
        return found

    async def _sources(self, request: SyncRequest, members: Sequence[Member], caller: Caller) -> Mapping[str, str]:
        """What is brought into the branch of each, by id; without those for which that is not known."""
        if (named := branch_named(request.from_branch, "from")) is not None:
            return {member.record.instance_id: named for member in members}
        groups: dict[Path, list[Member]] = {}
        for member in members:
            repository = repository_of(member.record)
            if repository is not None:
                groups.setdefault(repository, []).append(member)
        found: dict[str, str] = {}
        for repository, group in groups.items():
            asked = Comparison(
                git_directory=repository,
                branches=tuple(
                    WorkBranch(name=each.record.instance_id, branch=own_branch(each.record)) for each in group
                ),
                bases=tuple(base_trees([each], caller, self._team.registry)[0] for each in group),
            )
            found |= (await self._host.compare_branches(asked)).bases
        return found

    async def _sync_one(self, member: Member, source: str | None, caller: Caller, deadline_s: float) -> SyncedWork:
        record = member.record
        name = record.instance_id
        if member.terminated or repository_of(record) is None:
            raise WrongStateError(f"{name} has no worktree of its own (any more), so there is nothing to sync.")
        if record.elsewhere:
            raise WrongStateError(
                f"{name} works on {record.host}, whose copy of the repository does not follow: drain that host, then "
                "it goes on here."
            )
        if source is None:
            raise InvalidRequestError(f"Which branch {name} began from is not known: give from.")
        left_s = max(0.0, deadline_s - asyncio.get_running_loop().time())
        free = await self._team.changes.until(lambda: self._claims.is_free(member, caller), left_s)
        if not free or name not in self._team.registry:
            return SyncedWork(instance_id=name, state="at_work", reason="Its turn had not ended in time: sync again.")
        async with self._claims.undisturbed([member]):
            merge = Merge(branch=source, message=None, onto=own_branch(record))
            (answer,) = await self._git.run([(record, merge)])
        return await self._synced(member, source, answer, caller)

    async def _synced(self, member: Member, source: str, answer: GitResponse, caller: Caller) -> SyncedWork:
        name, result = member.record.instance_id, answer.result or {}
        if answer.error is None:
            is_new = not result.get("alreadyMerged")
            return SyncedWork(instance_id=name, from_branch=source, state="synced" if is_new else "up_to_date")
        files = tuple(result.get("conflicts", ()))
        if not files:
            return SyncedWork(
                instance_id=name, from_branch=source, state="failed", reason=answer.error.get("message", "")
            )
        commits = await self._commits(member, source)
        told = await self._conflicts.of_sync(member, source, files, commits, caller)
        return SyncedWork(instance_id=name, from_branch=source, state="conflict", files=list(files), told=told)

    async def _commits(self, member: Member, source: str) -> Sequence[str]:
        """Of its branch and of the source; what cannot be read is left out."""
        reads = [ReadLog(revision=revision, limit=1) for revision in (None, f"refs/heads/{source}")]
        answers = await self._git.run([(member.record, read) for read in reads])
        return [each["commit"] for answer in answers for each in (answer.result or {}).get("commits", ())]
