"""Removes all that a spawn has made, after a step of it failed or a crash cut it off.

``Spawner`` and ``Recovery`` call it. The instance's record, which is stored before each step, says what to remove. The
host first lets nothing more be made for the instance and waits for what it is making, also for a supervisor that has
died. A worktree that the record does not know is found by its name. Promise: when ``undo`` returns True, no agent,
session, actor, directory, branch or record of the instance is left, and none comes later. When a part does not answer
for long, or still makes something, the record stays, and the reconciler tries again. Work is saved, because an agent
may have begun to work in its worktree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from actors.errors import FencedError, UnavailableError
from actors.host.host import Host
from supervisor.ports import InstanceFactory
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

END_GRACE_S = 3.0
PATIENCE_S = 60.0
"""How long one step waits for a part that is just coming back."""
_RETRY_S = 0.5


class SpawnRollback:
    def __init__(self, team: Team, host: Host, factory: InstanceFactory) -> None:
        self._team = team
        self._host = host
        self._factory = factory

    async def undo(self, record: InstanceRecord) -> bool:
        """Whether everything is gone. Raises ``FencedError`` when another supervisor has taken over."""
        instance_id = record.instance_id
        await _step(self._team.confirm)
        await self._team.links.leave(instance_id)
        steps = [
            await _step(self._host.withdraw, record.place),
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
        known = self._team.registry.worktree_names(besides=record.instance_id)
        await self._host.discard_worktrees(record.instance_id, [*known, *self._team.unreadable.instance_ids])


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
