"""Removes all that a spawn has made, after a step of it failed or a crash cut it off.

``Spawner`` and ``Recovery`` call it. The instance's record, which is stored before each step, says what to remove. A
worktree made just before a crash, or still being made by a host that outlived the supervisor, is found by its name.
Promise: when ``undo`` returns True, no agent, session, actor, directory, branch or record of the instance is left. When
a part does not answer for long the record stays, and the reconciler tries again. Work is saved, because an agent may
have begun to work in its worktree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from actors.errors import FencedError, PhalanxError, UnavailableError
from actors.host.host import Host
from supervisor.ports import InstanceFactory
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

END_GRACE_S = 3.0
PATIENCE_S = 60.0
"""How long one step waits for a part that is just coming back."""
_RETRY_S = 0.5
_LATE_S = 900.0
"""A host may still work for a supervisor that has died: the checkout of a large repository takes long."""


class SpawnRollback:
    def __init__(self, team: Team, host: Host, factory: InstanceFactory) -> None:
        self._team = team
        self._host = host
        self._factory = factory
        self._late: dict[str, float] = {}

    async def undo(self, record: InstanceRecord) -> bool:
        """Whether everything is gone. Raises ``FencedError`` when another supervisor has taken over."""
        instance_id = record.instance_id
        await _step(self._team.confirm)
        await self._team.links.leave(instance_id)
        steps = [
            await _step(self._host.end_agent, record.place, record.session_name, END_GRACE_S),
            await _step(self._factory.destroy, record.actor_name),
            await _step(self._undo_workspace, record),
            await _step(self._host.forget_instance, record.place),
            await _step(self._team.outbox.close, instance_id),
        ]
        return all(steps) and await _step(self._team.remove, instance_id)

    async def abandon(self, record: InstanceRecord) -> None:
        """Forgets a spare agent of a lost host. What is left of it there goes when the host is back."""
        await self._team.confirm()
        await self._team.links.leave(record.instance_id)
        await _step(self._factory.destroy, record.actor_name)
        await _step(self._host.forget_instance, record.place)
        await _step(self._team.outbox.close, record.instance_id)
        await self._team.remove(record.instance_id)

    async def _undo_workspace(self, record: InstanceRecord) -> None:
        if record.workspace is not None:
            await self._host.undo_workspace(record.workspace)
            return
        self._late[record.instance_id] = time.monotonic() + _LATE_S
        await self._collect_worktree(record.instance_id)

    async def clear_late(self) -> None:
        """Removes what a host made for an instance only after its undo. Called periodically."""
        for instance_id, until in tuple(self._late.items()):
            try:
                await self._collect_worktree(instance_id)
                await self._host.forget_instance(instance_id)
            except PhalanxError as error:
                logger.warning("cannot look now for what came late of %s: %s", instance_id, error)
            except Exception:
                logger.exception("cannot look now for what came late of %s", instance_id)
            if time.monotonic() > until:
                del self._late[instance_id]

    async def _collect_worktree(self, instance_id: str) -> None:
        known = self._team.registry.worktree_names(besides=instance_id)
        for orphan in await self._host.orphans([*known, *self._team.unreadable.instance_ids]):
            if orphan.path.name.partition("-")[0] == instance_id:
                await self._host.remove_orphan(orphan)


async def _step(step: Callable[..., Awaitable[object]], *arguments: object) -> bool:
    """Logs a failure: it must neither hide why the spawn failed nor keep the other steps from running."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            await step(*arguments)
        except UnavailableError as error:
            if time.monotonic() < deadline:
                await asyncio.sleep(_RETRY_S)
                continue
            logger.warning("a step of a failed spawn could not be undone: %s", error)
        except FencedError:
            raise
        except Exception:
            logger.exception("a step of a failed spawn could not be undone")
        else:
            return True
        return False
