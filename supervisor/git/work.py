"""What work instances have: their branches, what they have not committed, and how they stand to each other.

``MergeService`` reads it before it merges, and ``Supervisor.list`` adds it to its answer when asked. Branches are read
where the instances are, and compared in the repository on the supervisor's host. Both answers are kept while they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actors.errors import PhalanxError, WrongStateError, from_wire
from actors.git.model import Comparison, ComparisonReport, GitResponse, ReadStatus, WorkBranch
from actors.host.host import Host
from supervisor.api.results import BranchConflict, ErrorInfo, InstanceInfo, ListResult, WorkInfo, alone
from supervisor.api.verbs import Caller
from supervisor.git.service import GitService
from supervisor.team.registry import InstanceRecord, Member, Registry

_KINDS = ("staged", "unstaged", "untracked", "conflicted")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceWork:
    member: Member
    branch: WorkBranch
    uncommitted: tuple[str, ...] = ()
    """The first files."""
    uncommitted_files: int = 0
    under_way: str = ""
    """A merge, rebase or the like that is not finished in its worktree."""


def repository_of(record: InstanceRecord) -> Path | None:
    """The git directory, on the supervisor's host, in which its branch is; None: it has no branch of its own."""
    workspace = record.workspace
    if workspace is None or not record.is_isolated or workspace.branch is None:
        return None
    return workspace.home or workspace.git_directory


def tree_of(record: InstanceRecord) -> Path | None:
    """Root of the working tree in which it works; None outside of git, and until it has a workspace.

    As the team made it: where its directory leads by now does not count.
    """
    place = record.workspace.place if record.workspace else None
    return place.top if place else None


def own_branch(record: InstanceRecord) -> str:
    """That was made for it."""
    return (record.workspace.branch if record.workspace else None) or record.instance_id


def base_trees(members: Sequence[Member], caller: Caller, registry: Registry) -> tuple[Path, ...]:
    """By which the default of ``into`` and ``from`` is found: the caller's workspace, or where each began."""
    if caller.instance_id:
        record = registry.get(caller.instance_id).record
        if record.elsewhere:
            raise WrongStateError(
                f"You work on {record.host}, where your own branch would not follow: have the user drain that host."
            )
        return (tree_of(record) or record.directory,)
    return tuple(dict.fromkeys(member.record.work_dir for member in members))


class WorkReader:
    """Of instances with a branch of their own."""

    def __init__(self, git: GitService) -> None:
        self._git = git

    async def read(self, members: Sequence[Member]) -> list[InstanceWork | PhalanxError]:
        """Of each, in order. Of one that was terminated its branch is all that counts."""
        there = [member for member in members if not member.terminated]
        read = await self._git.run([(member.record, ReadStatus()) for member in there])
        answers = dict(zip((member.record.instance_id for member in there), read, strict=True))
        return [_work(member, answers.get(member.record.instance_id)) for member in members]


def _work(member: Member, answer: GitResponse | None) -> InstanceWork | PhalanxError:
    record = member.record
    own = record.workspace.branch if record.workspace else None
    if answer is None:
        return InstanceWork(member=member, branch=WorkBranch(name=record.instance_id, branch=own))
    if answer.error is not None:
        return from_wire(dict(answer.error))
    status = answer.result or {}
    if status.get("commit") is None:
        return WrongStateError(f"{record.instance_id} has no commit.")
    changed = dict.fromkeys(path for kind in _KINDS for path in status.get(kind, ()))
    return InstanceWork(
        member=member,
        branch=WorkBranch(name=record.instance_id, branch=status["branch"], commit=status["commit"]),
        uncommitted=tuple(changed),
        uncommitted_files=max(len(changed), *status["counts"].values()),
        under_way=status.get("underWay") or "",
    )


class WorkOverview:
    def __init__(self, registry: Registry, reader: WorkReader, host: Host) -> None:
        self._registry = registry
        self._reader = reader
        self._host = host

    async def added(self, listed: ListResult, *, besides: Collection[str] = ()) -> ListResult:
        """The answer with the work of each instance that has a branch, ``besides`` these. What cannot be read is left
        out."""
        ids = (each.instance_id for each in listed.instances)
        named = (self._registry.find(instance_id) for instance_id in ids if instance_id not in besides)
        members = [member for member in named if member and repository_of(member.record) is not None]
        read = [work for work in await self._reader.read(members) if isinstance(work, InstanceWork)]
        compared = [await self._compared(*group) for group in _by_repository(read)]
        reports = [report for report in compared if isinstance(report, ComparisonReport)]
        failed = next((report.message for report in compared if isinstance(report, ErrorInfo)), "")
        found = {work.branch.name: _info(work, reports, failed) for work in read}
        conflicts = [
            BranchConflict(
                between=[conflict.one or report.bases[conflict.other], conflict.other], files=list(conflict.files)
            )
            for report in reports
            for conflict in report.conflicts
        ]
        return listed.model_copy(
            update={"instances": [_with_work(each, found) for each in listed.instances], "conflicts": conflicts}
        )

    async def _compared(self, git_directory: Path, works: Sequence[InstanceWork]) -> ComparisonReport | ErrorInfo:
        asked = Comparison(
            git_directory=git_directory,
            branches=tuple(work.branch for work in works),
            bases=tuple(work.member.record.work_dir for work in works),
        )
        return await alone(self._host.compare_branches(asked), f"Comparing the branches of {git_directory}")


def _by_repository(works: Iterable[InstanceWork]) -> Iterable[tuple[Path, Sequence[InstanceWork]]]:
    groups: dict[Path, list[InstanceWork]] = {}
    for work in works:
        if (repository := repository_of(work.member.record)) is not None:
            groups.setdefault(repository, []).append(work)
    return groups.items()


def _info(work: InstanceWork, reports: Iterable[ComparisonReport], failed: str) -> WorkInfo:
    """``failed``: why a comparison failed, if one did."""
    name = work.branch.name
    report = next((each for each in reports if name in each.work), None)
    if report is None:
        reason = failed or f"{work.member.record.work_dir} has no branch with a commit checked out"
        return WorkInfo(uncommitted_files=work.uncommitted_files, reason=reason)
    done = report.work[name]
    return WorkInfo(
        base=report.bases[name],
        ahead=done.ahead,
        behind=done.behind,
        changed_files=len(done.files),
        uncommitted_files=work.uncommitted_files,
    )


def _with_work(info: InstanceInfo, found: Mapping[str, WorkInfo]) -> InstanceInfo:
    work = found.get(info.instance_id)
    return info.model_copy(update={"work": work}) if work else info
