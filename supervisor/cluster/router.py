"""Routes each call of a host to the one that it is about, in a cluster.

``HostRouter`` takes the place of the one host of a team on one machine; the supervisor's other modules do not notice.
``TranscriptCopies`` holds what came home of conversations on other hosts.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from actors.agents.base import AgentStart, Handover, RestartedAgent, RunningAgent
from actors.errors import PhalanxError, WorkspaceError
from actors.host.host import Host
from actors.instance.inbox import ids_in_record
from actors.instance.transcript import FileTail
from actors.tmux.pane import PaneInfo
from actors.transfer.bundles import StartPoint
from actors.worktrees.model import CopiedFile, OrphanWorktree, RemovalResult, Workspace, WorkspaceMode, name_in
from supervisor.api.results import SPARE_PREFIX
from supervisor.cluster.scheduler import HostScheduler
from supervisor.team.registry import Registry

logger = logging.getLogger(__name__)

_STALE_GRACE_S = 5.0
_LOOK_S = 10.0
_Answer = TypeVar("_Answer")


class HostRouter:
    """A host over all hosts. A method that is not defined here goes to this machine.

    An instance's host stands in its record, also that of the spares that it was made of (``InstanceRecord.names``).
    Code goes there before its agent starts and comes home before its worktree is removed. A call that names no instance
    is about this machine. All in the supervisor's event loop.
    """

    def __init__(self, scheduler: HostScheduler, registry: Registry, conversations: Path) -> None:
        """``conversations``: where copies of those of other hosts are kept."""
        self._scheduler = scheduler
        self._registry = registry
        self._conversations = TranscriptCopies(conversations)
        self._withdrawn: set[str] = set()
        """Spares that could not be bound, by name: whatever branch they are on, at home it is no longer theirs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler.own_host, name)

    async def name(self) -> str:
        """Of this machine."""
        return self._scheduler.own

    async def agents(self) -> tuple[RunningAgent, ...]:
        """The agents of all hosts that can be asked. An agent on a host that is not its own (any more) is ended there.

        Which hosts with instances cannot be asked stands in ``HostScheduler.away`` afterwards.
        """
        names = sorted({*self._scheduler.linked(), *self._scheduler.places.values()})
        looks = await self._ask(names, self._agents_of)
        self._scheduler.away = {name for name in names if name not in looks}
        return tuple(agent for look in looks.values() for agent in look)

    async def _agents_of(self, name: str, link: Host) -> list[RunningAgent]:
        return [agent for agent in await link.agents() if await self._belongs(name, link, agent)]

    async def _belongs(self, name: str, link: Host, agent: RunningAgent) -> bool:
        place = self._scheduler.places.get(agent.session_name)
        if name == self._scheduler.own:
            return place in {None, name}
        if place == name:
            return True
        session = agent.session_name
        logger.warning("%s on %s is no instance of this host (any more): it is ended", session, name)
        directory = self._registry.get(session).record.place if session in self._registry else session
        await link.end_agent(directory, session, _STALE_GRACE_S)
        return False

    async def withdraw(self, instance_id: str) -> None:
        await (await self._link(instance_id)).withdraw(instance_id)

    async def discard_worktrees(self, instance_id: str, known: Collection[str]) -> None:
        await (await self._link(instance_id)).discard_worktrees(instance_id, known)

    async def create_workspace(self, instance_id: str, work_dir: Path, mode: WorkspaceMode) -> Workspace:
        link, own = await self._link(instance_id), self._scheduler.own_host
        if link is own or mode == "shared":
            return await link.create_workspace(instance_id, work_dir, mode)
        origin = await own.transfer.origin(instance_id, work_dir)
        async with self._dropped_on_failure(origin):
            made = await link.transfer.settle(origin, own.transfer)
        return _from_home(made, origin)

    async def prepare_workspace(
        self, instance_id: str, workspace: Workspace, files: Sequence[CopiedFile], setup: str, more: Mapping[str, str]
    ) -> None:
        link = await self._link_of(workspace)
        await link.prepare_workspace(instance_id, workspace, files, setup, more)

    @asynccontextmanager
    async def _dropped_on_failure(self, origin: StartPoint) -> AsyncIterator[None]:
        """Takes away the branch that was made at home when it comes to no worktree elsewhere."""
        try:
            yield
        except BaseException:
            home = self._scheduler.own_host.transfer
            await asyncio.shield(home.drop_branch(origin.git_directory, origin.branch, origin.commit))
            raise

    async def create_spare(self, name: str, work_dir: Path) -> Workspace:
        link, own = await self._link(name), self._scheduler.own_host
        if link is own:
            return await own.create_spare(name, work_dir)
        origin = await own.transfer.origin_of_spare(name, work_dir)
        return replace(await link.transfer.settle_spare(name, origin, own.transfer), home=origin.git_directory)

    async def is_spare(self, workspace: Workspace) -> bool:
        return await (await self._link_of(workspace)).is_spare(workspace)

    async def bind_spare(self, spare: Workspace, instance_id: str, work_dir: Path) -> Workspace:
        link, own = await self._link_of(spare), self._scheduler.own_host
        if spare.home is None:
            return await own.bind_spare(spare, instance_id, work_dir)
        origin = await own.transfer.origin(instance_id, work_dir)
        async with self._dropped_on_failure(origin):
            try:
                bound = await link.transfer.bind_spare(spare, origin, own.transfer)
            except BaseException:
                if spare.worktree is not None:
                    self._withdrawn.add(spare.worktree.name)
                raise
        return _from_home(bound, origin)

    async def hand_over(self, handover: Handover) -> None:
        """Also updates the launch that is kept here, with which it can be started elsewhere."""
        link, own = await self._link(handover.place), self._scheduler.own_host
        await link.hand_over(handover)
        if link is not own:
            await own.keep_launch(await link.kept_launch(handover.place))

    async def undo_workspace(self, workspace: Workspace) -> None:
        link, home = await self._link_of(workspace), workspace.home
        if home is not None and name_in(workspace.branch or "").startswith(SPARE_PREFIX):
            bound = await link.transfer.bound(workspace)
            home = home if bound and self._is_its_own(workspace, bound) else None
            workspace = replace(workspace, branch=bound or workspace.branch)
        if home is not None:
            await self.sync_work(workspace)
        await link.undo_workspace(workspace)
        if home is not None:
            await self._scheduler.own_host.transfer.drop_branch(home, workspace.branch or "", workspace.base_commit)

    def _is_its_own(self, spare: Workspace, bound: str) -> bool:
        """Whether the branch of this name at home was made for the spare: since it was bound an instance may have got
        the name, with a worktree elsewhere."""
        withdrawn = spare.worktree is not None and spare.worktree.name in self._withdrawn
        workspaces = (member.record.workspace for member in self._registry)
        return not withdrawn and all(each is None or each.branch != bound for each in workspaces)

    async def retire_workspace(self, workspace: Workspace) -> RemovalResult:
        link = await self._link_of(workspace)
        if workspace.home is None:
            return await link.retire_workspace(workspace)
        await self.sync_work(workspace)
        removal = await link.retire_workspace(workspace)
        await self.sync_work(workspace)
        if not removal.removed:
            return removal
        stays = await self._scheduler.own_host.transfer.drop_branch(workspace.home, workspace.branch or "", None)
        return replace(removal, kept_reason=stays, branch_deleted=stays is None)

    async def sync_work(self, workspace: Workspace, *, uncommitted: bool = False) -> str:
        """Brings what the instance has done to the repository on this machine; why its branch was not moved, if so.

        Raises ``PhalanxError``. No-op for a workspace of this machine.
        """
        if workspace.home is None or workspace.git_directory is None:
            return ""
        link = await self._link_of(workspace)
        work = await link.transfer.work(workspace, uncommitted=uncommitted)
        home = self._scheduler.own_host.transfer
        return (await home.import_work(workspace.home, work, workspace.git_directory, link.transfer)).note

    async def sync_transcript(self, place: str, transcript_path: str) -> None:
        """Keeps a copy of it on this machine, by which it can go on elsewhere; also of one that goes on here now."""
        if transcript_path:
            link, own = await self._link(place), self._scheduler.own_host
            copy = self._conversations.path(place, transcript_path)
            await own.transfer.copy_file(copy, link.transfer, Path(transcript_path))

    async def shown_in_copy(self, place: str, transcript_path: str, ids: Collection[str]) -> set[str]:
        """Which of these messages stand in the copy of its conversation on this machine."""
        return await asyncio.to_thread(self._conversations.shown, place, transcript_path, ids)

    async def prepare_on_new_host(self, place: str, workspace: Workspace, transcript_path: str) -> Workspace:
        """Gives the new host what the instance needs to go on: worktree, launch and conversation.

        Directories are named as before: the agent's own notes name them.
        """
        link, own = await self._link(place), self._scheduler.own_host
        home, branch, worktree = workspace.home, workspace.branch, workspace.worktree
        if home is None or branch is None or worktree is None:
            raise WorkspaceError(
                f"{workspace.directory} was on the lost host alone: nothing of it can go on elsewhere."
            )
        origin = await own.transfer.origin_again(home, branch, workspace.directory.relative_to(worktree))
        await self._clear_earlier_copy(link, place, workspace)
        made = await link.transfer.settle(replace(origin, directory=worktree.name), own.transfer)
        launch = await own.kept_launch(place)
        if link is not own:  # an earlier copy of it may have been there: what that did not bring home never was
            await link.forget_instance(place)
        await link.keep_launch(launch)
        if transcript_path:
            await asyncio.to_thread(self._conversations.end_whole, place, transcript_path)
            copy = self._conversations.path(place, transcript_path)
            await link.transfer.copy_file(Path(transcript_path), own.transfer, copy, anew=True)
        return replace(made, home=home, base_commit=workspace.base_commit)

    async def _clear_earlier_copy(self, link: Host, place: str, workspace: Workspace) -> None:
        """Of a stay that ended with the host's loss: its worktree has the name that is needed now.

        What was not carried home then is saved in the mirror, and comes home with what is done from now on.
        """
        await link.end_agent(place, place, _STALE_GRACE_S)
        removal = await link.retire_workspace(workspace)
        if removal.saved_ref:
            logger.warning("an earlier copy of %s there had work of its own: %s", place, removal.saved_ref)

    async def remove_left_behind(self, host: str, place: str, workspace: Workspace) -> str:
        """Takes away what an instance that has gone elsewhere had on this host; why something stays, if so."""
        link = await self._scheduler.link(host)
        removal = await link.retire_workspace(workspace)
        if removal.removed and link is not self._scheduler.own_host:  # here stays by what it is started elsewhere
            await link.forget_instance(place)
        return removal.kept_reason or ""

    async def start_agent(self, start: AgentStart) -> PaneInfo:
        link, own = await self._link(start.request.instance_id), self._scheduler.own_host
        pane = await link.start_agent(start)
        if link is not own:
            await own.keep_launch(start)  # by which it can be started elsewhere when its host is lost
        return pane

    async def renew_agent(self, place: str, session_id: str, system_prompt: str) -> None:
        """Also updates the launch that is kept here, with which it would be started elsewhere."""
        link, own = await self._link(place), self._scheduler.own_host
        await link.renew_agent(place, session_id, system_prompt)
        if link is not own:
            await own.renew_agent(place, session_id, system_prompt)

    async def restart_agent(
        self, instance_id: str, session_name: str, transcript_path: str, session_id: str
    ) -> RestartedAgent:
        link = await self._link(instance_id)
        return await link.restart_agent(instance_id, session_name, transcript_path, session_id)

    async def end_agent(self, instance_id: str, session_name: str, grace_s: float) -> None:
        await (await self._link(instance_id)).end_agent(instance_id, session_name, grace_s)

    async def forget_instance(self, instance_id: str) -> None:
        """Also what is kept of it here; of one that has no host, what any host has."""
        own, place = self._scheduler.own_host, self._scheduler.places.get(instance_id)
        if place is None:
            await self._ask(self._scheduler.linked(), lambda _, link: link.forget_instance(instance_id))
        elif (link := await self._scheduler.link(place)) is not own:
            await link.forget_instance(instance_id)
        await own.forget_instance(instance_id)
        await asyncio.to_thread(self._conversations.forget, instance_id)

    async def instance_directories(self) -> tuple[str, ...]:
        """Of all hosts that can be asked."""
        found = await self._ask(self._scheduler.linked(), lambda _, link: link.instance_directories())
        return tuple(sorted({name for names in found.values() for name in names}))

    async def orphans(self, known: Collection[str]) -> tuple[OrphanWorktree, ...]:
        """Of all hosts that can be asked."""
        found = await self._ask(self._scheduler.linked(), lambda _, link: link.orphans(known))
        own = self._scheduler.own
        return tuple(replace(each, host="" if name == own else name) for name, there in found.items() for each in there)

    async def remove_orphan(self, orphan: OrphanWorktree) -> RemovalResult:
        return await (await self._link_of(orphan)).remove_orphan(orphan)

    async def plan_removals(
        self, what: Sequence[Workspace | OrphanWorktree]
    ) -> tuple[RemovalResult | PhalanxError, ...]:
        """A host that cannot be asked is the error of what is on it."""
        hosts = list(map(self._host_of, what))
        planned: dict[int, RemovalResult | PhalanxError] = {}
        for host in dict.fromkeys(hosts):
            numbers = [number for number, each in enumerate(hosts) if each == host]
            try:
                link = await self._scheduler.link(host)
                planned |= zip(numbers, await link.plan_removals([what[number] for number in numbers]), strict=True)
            except PhalanxError as error:
                planned |= dict.fromkeys(numbers, error)
        return tuple(planned[number] for number in range(len(what)))

    async def _ask(self, names: Iterable[str], ask: Callable[[str, Host], Awaitable[_Answer]]) -> dict[str, _Answer]:
        """The answers by host. A host that does not answer is left out; an error of this machine is raised."""

        async def one(name: str) -> tuple[str, _Answer] | None:
            if name == self._scheduler.own:
                return name, await ask(name, self._scheduler.own_host)
            try:
                async with asyncio.timeout(_LOOK_S):
                    return name, await ask(name, await self._scheduler.link(name))
            except (PhalanxError, TimeoutError) as error:
                if name not in self._scheduler.away:
                    logger.warning("what is on %s cannot be seen now: %s", name, error or "no answer")
                return None

        return dict(filter(None, await asyncio.gather(*map(one, names))))

    async def _link(self, instance_id: str) -> Host:
        return await self._scheduler.link(self._scheduler.places.get(instance_id, self._scheduler.own))

    async def _link_of(self, what: Workspace | OrphanWorktree) -> Host:
        return await self._scheduler.link(self._host_of(what))

    def _host_of(self, what: Workspace | OrphanWorktree) -> str:
        """Worktrees of other hosts are named after their instances, or after what these were made of."""
        if isinstance(what, OrphanWorktree):
            return what.host or self._scheduler.own
        if what.worktree is None or what.home is None:
            return self._scheduler.own
        return self._scheduler.places.get(what.worktree.name.partition("-")[0], self._scheduler.own)


def _from_home(made: Workspace, origin: StartPoint) -> Workspace:
    return replace(made, home=origin.git_directory, notes=(*origin.notes, *made.notes))


class TranscriptCopies:
    """Copies of conversations on other hosts, in the team's home, as they came home last. Methods block.

    A copy grows from its end, so its last line may be half-written until the next time. Methods raise
    ``WorkspaceError`` when the disk does not allow them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, place: str, transcript_path: str) -> Path:
        """One for each conversation: an instance may begin another one."""
        return self._root / place / Path(transcript_path).name

    def shown(self, place: str, transcript_path: str, ids: Collection[str]) -> set[str]:
        """Which of these messages stand in the copy; none while it is not known where the conversation is written."""
        if not transcript_path:
            return set()
        path = self.path(place, transcript_path)
        found: set[str] = set()
        with _as_workspace_error(path):
            for lines in FileTail(path).pieces():
                found.update(*map(ids_in_record, lines))
        return found & set(ids)

    def end_whole(self, place: str, transcript_path: str) -> None:
        """Cuts off a half-written last line: an agent that goes on with the copy would append to it."""
        path = self.path(place, transcript_path)
        with _as_workspace_error(path), suppress(FileNotFoundError), path.open("r+b") as file:
            if size := file.seek(0, os.SEEK_END):
                with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as text:
                    end = text.rfind(b"\n") + 1
                file.truncate(end)

    def forget(self, place: str) -> None:
        shutil.rmtree(self._root / place, ignore_errors=True)


@contextmanager
def _as_workspace_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be used: {error.strerror}.") from error
