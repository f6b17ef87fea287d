"""Makes spare agents, each with a worktree and an actor, until it waits at its prompt; and takes them away again.

A spare has a record of its own. Until that says ``SPARE`` a crash undoes it; what a failure leaves goes at once.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from actors.concurrency import beside
from actors.errors import AgentError
from actors.home import Home
from actors.status import ALIVE, Status
from supervisor.pool.recipe import Recipe
from supervisor.pool.seats import Seats
from supervisor.ports import HostPort
from supervisor.recovering.adoption import Adoption
from supervisor.spawning.agent_start import Wishes, agent_start
from supervisor.spawning.identity import spare_prompt
from supervisor.spawning.room import Room
from supervisor.spawning.undoing import Undoing
from supervisor.team.registry import Member, Spare, Stage
from supervisor.team.roll import Roll


@dataclass(frozen=True, slots=True, kw_only=True)
class MakerParts:
    home: Home
    host: HostPort
    roll: Roll
    adoption: Adoption
    undoing: Undoing
    room: Room
    seats: Seats
    timeout_s: float
    """Longest time from the start of an agent to its prompt."""


class SpareMaker:
    """All in the supervisor's event loop."""

    def __init__(self, parts: MakerParts) -> None:
        self._home = parts.home
        self._host = parts.host
        self._roll = parts.roll
        self._adoption = parts.adoption
        self._undoing = parts.undoing
        self._room = parts.room
        self._seats = parts.seats
        self._timeout_s = parts.timeout_s

    async def make(self, recipe: Recipe) -> None:
        """Returns when the spare is ready. Raises ``PhalanxError``; then nothing of it is left.

        No spare is made for which there is no room just now.
        """
        seat = await self._seats.for_agent(recipe.agent)
        member = self._roll.registry.add_spare(
            Spare(
                agent=recipe.agent,
                session_id=str(uuid.uuid4()),
                created_at=time.time(),
                work_dir=recipe.work_dir,
                recipe=recipe.key,
                host=seat.host,
                address=seat.address,
            )
        )
        self._seats.settle(member.record.instance_id, seat.host)
        async with member.turn:
            try:
                async with self._room.hold(recipe.agent, host=seat.elsewhere):
                    await self._begin(member, recipe)
                    await self._until_ready(member)
                    await self._roll.save(member.record.instance_id, stage=Stage.SPARE)
            except BaseException:
                await self._take_away(member)
                raise
        self._roll.news.announce()

    async def discard(self, member: Member) -> None:
        """No-op when it is gone already."""
        async with member.turn:
            if member.record.instance_id in self._roll.registry:
                await self._take_away(member)

    async def _take_away(self, member: Member) -> None:
        if self._seats.is_lost(member.record.host):
            self._seats.forget(member.record.instance_id)
            await self._undoing.abandon(member.record)
        else:
            await self._undoing.undo(member.record)

    async def _begin(self, member: Member, recipe: Recipe) -> None:
        instance_id = member.record.instance_id
        program = await (await self._seats.link(member.record.host)).program(recipe.agent)
        await self._roll.save(instance_id, program=program)
        async with beside(self._adoption.actor(member.record)) as coming:
            workspace = await self._host.create_spare(instance_id, recipe.work_dir)
            self._roll.registry.change(instance_id, workspace=workspace)
            record = await self._roll.save(instance_id, host=member.record.host or await self._host.name())
            pane = await self._host.start_agent(agent_start(self._home, record, _wishes(recipe)))
            record = self._roll.registry.change(instance_id, pane_id=pane.pane_id, pid=pane.pid)
            port = await coming
        await self._adoption.adopt(record, port)

    async def _until_ready(self, member: Member) -> None:
        def decided() -> bool:
            snapshot = member.snapshot
            return snapshot.status is not Status.STARTING or bool(snapshot.reason)

        await self._roll.news.until(decided, self._timeout_s)
        snapshot = member.snapshot
        if snapshot.status not in ALIVE or snapshot.status is Status.STARTING:
            why = snapshot.reason or f"it was not at its prompt within {self._timeout_s:.0f} s"
            raise AgentError(f"A spare agent could not be started: {why}")


def _wishes(recipe: Recipe) -> Wishes:
    return Wishes(
        system_prompt=spare_prompt(),
        model=recipe.model,
        permission_mode=recipe.permission_mode,
        environment=dict(recipe.environment),
    )
