"""Who is told of a conflict that ``merge`` or ``sync`` has found, and in which words.

The instance whose branch it is gets a message that says how to resolve it, and the conflict is an event, each once for
each state of both branches. What is refused is not noted, and is told the next time.

All in the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence

from actors.errors import FencedError, StoreError
from actors.git.model import Conflict, MergeReport, WorkBranch
from actors.instance.inbox import without_headers
from actors.messages import Message
from actors.worktrees.source import some_of
from supervisor.api.requests import BatchMessage
from supervisor.api.results import ErrorInfo, TeamEvent, alone
from supervisor.api.verbs import Caller
from supervisor.git.work import InstanceWork, own_branch
from supervisor.messaging.outbox import Writes
from supervisor.rpc.idempotency import IdempotentCall
from supervisor.team.registry import Member
from supervisor.team.team import Team

logger = logging.getLogger(__name__)


async def publish(
    team: Team, *events: TeamEvent, records: Mapping[str, bytes] | None = None, delete: Sequence[str] = ()
) -> None:
    """What was merged stays merged, and the caller is told of it, also when this cannot be stored."""
    try:
        await team.events.publish(*events, records=records, delete=delete)
    except FencedError:
        raise
    except StoreError as error:
        logger.warning("what was merged or conflicts is told to others later: %s", error)


class ConflictTeller:
    def __init__(self, team: Team) -> None:
        self._team = team
        self._telling = asyncio.Lock()

    async def of_merge(self, report: MergeReport, works: Sequence[InstanceWork], caller: Caller) -> frozenset[str]:
        """Tells one of each two, and publishes all. Returns who was told."""
        told = await self._tell_one_of_each(report, works, caller)
        for event, state in self._events(report, works, told, caller):
            await self._publish(event, state)
        return told

    async def of_sync(
        self, member: Member, source: str, files: Sequence[str], commits: Sequence[str], caller: Caller
    ) -> bool:
        """``commits``: of both branches. Returns whether the instance was told."""
        name, branch = member.record.instance_id, own_branch(member.record)
        text = _how_to_resolve(branch, [(source, files)])
        told = _can_be_told(member, caller) and await self._tell(name, text, commits, caller)
        resolver = _resolver_in_words([name], frozenset([name] if told else []), caller)
        conflict = f"{branch} conflicts with {source} in {some_of(tuple(files))} ({resolver}). Nothing was touched."
        event = self._team.event("conflict", name, conflict, sender=caller.sender)
        await self._publish(event, [source, *files, *commits])
        return told

    async def _tell_one_of_each(
        self, report: MergeReport, works: Sequence[InstanceWork], caller: Caller
    ) -> frozenset[str]:
        by_name = {work.branch.name: work for work in works}
        ways: dict[str, list[tuple[str, str, Conflict]]] = {}
        for conflict in report.conflicts:
            # The one that is merged later resolves; the target resolves nothing.
            for name, other in ((conflict.other, conflict.one), (conflict.one, conflict.other)):
                if name and _can_be_told(by_name[name].member, caller):
                    title = by_name[other].branch.title if other else report.into
                    commit = report.outcomes[other].commit if other else report.commit
                    ways.setdefault(name, []).append((title, commit, conflict))
                    break
        told = set()
        for name, found in ways.items():
            text = _how_to_resolve(by_name[name].branch.title, [(title, each.files) for title, _, each in found])
            text = without_headers(text)  # names of files and branches are of instances, whoever merges
            states = [report.outcomes[name].commit, *(commit for _, commit, _ in found)]
            if await self._tell(name, text, states, caller):
                told.add(name)
        return frozenset(told)

    async def _tell(self, instance_id: str, text: str, states: Sequence[str], caller: Caller) -> bool:
        """Once for these commits. What it does not take now is told the next time."""
        async with self._telling:
            if (noted := self._note_once(f"conflict/{instance_id}", text, *states)) is None:
                return True
            given = BatchMessage(instance_id=instance_id, message=text)
            (message,) = self._team.outbox.check([given], caller.sender, time.time())
            if not isinstance(message, Message):
                return False
            accepted = self._team.outbox.accept([message], Writes(records=noted.records, delete=noted.delete))
            if isinstance(await alone(accepted, f"The message to {instance_id}"), ErrorInfo):
                return False
            self._team.idempotency.keep(noted)
            return True

    def _note_once(self, what: str, *state: str) -> IdempotentCall | None:
        """To be stored with what is told of this state; None: it was told."""
        digest = hashlib.sha256("\0".join(state).encode(errors="replace")).hexdigest()[:16]
        if self._team.idempotency.outcomes(f"{what}/{digest}", digest) is not None:
            return None
        return self._team.idempotency.note(f"{what}/{digest}", digest, [])

    async def _publish(self, event: TeamEvent, states: Sequence[str]) -> None:
        """Once for these commits."""
        noted = self._note_once(f"conflict-event/{event.instance_id}", *states)
        if noted is not None:
            self._team.idempotency.keep(noted)
            await publish(self._team, event, records=noted.records, delete=noted.delete)

    def _events(
        self, report: MergeReport, works: Sequence[InstanceWork], told: frozenset[str], caller: Caller
    ) -> Iterable[tuple[TeamEvent, Sequence[str]]]:
        """Each with the state of what conflicts."""
        branches = {work.branch.name: work.branch for work in works}
        for name, branch in branches.items():
            if report.outcomes[name].state != "conflict":
                continue
            found = [each for each in report.conflicts if name in (each.one, each.other)]
            words = [_conflict_in_words(name, each, branches, report.into, told, caller) for each in found]
            text = f"{branch.title} conflicts {'; '.join(words)}. {report.into} was not moved."
            others = [other for each in found for other in (each.one, each.other) if other != name]
            commits = [report.outcomes[other].commit if other else report.commit for other in others]
            event = self._team.event("conflict", name, text, sender=caller.sender)
            yield event, [report.into, report.outcomes[name].commit, *commits]


def _can_be_told(member: Member, caller: Caller) -> bool:
    return member.alive and not member.record.elsewhere and member.record.instance_id != caller.instance_id


def _how_to_resolve(branch: str, others: Sequence[tuple[str, Sequence[str]]]) -> str:
    commands = "\n".join(
        f"git merge {shlex.quote(other)}   # conflicts in {some_of(tuple(files))}" for other, files in others
    )
    return (
        f"Your branch {branch} conflicts with what others have done. Nothing was touched. Commit what you have, then "
        f"run in your worktree:\n{commands}\n"
        "Resolve each file so that both changes keep their purpose, test, commit, and end your turn. You need not "
        "merge your branch anywhere yourself."
    )


def _conflict_in_words(
    name: str,
    conflict: Conflict,
    branches: Mapping[str, WorkBranch],
    into: str,
    told: frozenset[str],
    caller: Caller,
) -> str:
    other = conflict.one if conflict.other == name else conflict.other
    title = branches[other].title if other else into
    # The order in which they are told: the one that is merged later first.
    resolver = _resolver_in_words([each for each in (conflict.other, conflict.one) if each], told, caller)
    return f"with {title} in {some_of(conflict.files)} ({resolver})"


def _resolver_in_words(names: Sequence[str], told: frozenset[str], caller: Caller) -> str:
    """Who of these resolves it, so that nobody else does."""
    if (who := next((name for name in names if name in told), None)) is not None:
        return f"{who} was told how to resolve it"
    if caller.instance_id in names:
        return f"{caller.instance_id} knows it from its own call"
    return "nobody could be told to resolve it"
