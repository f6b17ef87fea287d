"""Connects running agents with actors, and gives actors the settings that apply now.

``Adopter`` is called for an agent that has just started, for one whose actor died, and for all agents when the
supervisor comes back. ``Batching`` tells instances how many messages to paste at once, and which are held.
"""

from __future__ import annotations

import logging

from actors.concurrency import TaskSet
from actors.errors import PhalanxError
from actors.home import Home
from actors.instance.inbox import BatchLimits
from actors.instance.instance import Instance, InstanceConfig
from actors.instance.reports import Report
from supervisor.ports import InstanceFactory
from supervisor.settings.live import LiveSettings, TunableValues
from supervisor.team.registry import InstanceRecord
from supervisor.team.team import Team

logger = logging.getLogger(__name__)

LEASE_S = 40.0
"""How long an instance on another host types after an answer that the supervisor has. It answers at least each 30 s."""


class Adopter:
    """Gives an agent its actor and takes in the actor's reports; the ``ReportListener`` of the team's links.

    The actor is found or made and takes the agent over (one that follows it already goes on undisturbed). Then its
    reports are followed, and it gets every message that is pending.
    """

    def __init__(
        self, home: Home, batching: Batching, factory: InstanceFactory, team: Team, *, auto_restart: bool
    ) -> None:
        """``auto_restart``: an agent that fails is started again."""
        self._home = home
        self._batching = batching
        self._auto_restart = auto_restart
        self._factory = factory
        self._team = team

    async def actor(self, record: InstanceRecord) -> Instance:
        """The instance's actor, made if there is none; returns when it answers."""
        return await self._factory.create(record.actor_name)

    async def adopt(self, record: InstanceRecord, port: Instance) -> None:
        """Has the actor follow the agent, and takes in its reports."""
        incarnation = await port.adopt(self._config(record), record.pane_id, record.pid)
        self._team.links.follow(record.instance_id, port, incarnation, self)
        self._team.outbox.hand_over_again(record.instance_id)
        await self._batching.tell(record.instance_id, port)  # a change during the call above is told, too
        await self.on_unreachable(record.instance_id, "")

    async def collect_last_report(self, record: InstanceRecord) -> None:
        """Finds out what became of the messages to an agent that has ended for good and is not followed.

        A new actor reads it from the agent's record and the journal and reports it.
        """
        await self._factory.destroy(record.actor_name)  # one that lives on may still wait for the agent's next life
        await self.adopt(record, await self.actor(record))

    async def on_report(self, instance_id: str, report: Report) -> None:
        await self._team.take_in(instance_id, report)
        self._batching.reachable(instance_id)

    async def on_unreachable(self, instance_id: str, reason: str) -> None:
        if instance_id in self._team.registry:
            member = self._team.registry.get(instance_id)
            if bool(member.silence) != bool(reason):
                member.silence = reason
                self._team.changed(member)

    async def find_again(self, instance_id: str) -> tuple[Instance, str]:
        record = self._team.registry.get(instance_id).record
        port = await self.actor(record)
        incarnation = await port.adopt(self._config(record), record.pane_id, record.pid)
        await self._batching.tell(instance_id, port)
        self._team.outbox.hand_over_again(instance_id)
        return port, incarnation

    def _config(self, record: InstanceRecord) -> InstanceConfig:
        known = record.instance_id in self._team.registry
        # An actor that was killed has not been told that its agent is being ended only to be started again.
        restarting = known and self._team.registry.get(record.instance_id).coming_back
        return InstanceConfig(
            instance_id=record.instance_id,
            agent=record.agent,
            session_id=record.session_id,
            directory=self._home.instance_directory(record.place),
            tmux_socket=self._home.tmux_socket,
            limits=self._batching.limits,
            hold=self._batching.hold_of(record.instance_id),
            comes_back=record.wanted and (self._auto_restart or restarting),
            lease_s=LEASE_S if "@" in record.actor_name else 0.0,
        )


class Batching:
    """How many messages go to an instance at once, and whether any do, in every living instance, also after a change.

    An actor that takes its agent over gets the limits that apply. A change goes to all instances that can be reached,
    and to the others once they report again.
    """

    def __init__(self, live_settings: LiveSettings, team: Team) -> None:
        self._team = team
        self._behind: set[str] = set()
        self._telling = TaskSet("tell how to batch")
        self.limits = limits_of(live_settings.current)
        live_settings.subscribe(self._tuned)

    def hold_of(self, instance_id: str) -> str:
        """Why it begins no turn for now; empty while it does."""
        member = self._team.registry.find(instance_id)
        return member.hold if member else ""

    def changed(self, instance_id: str) -> None:
        """It is to be held, or not any more."""
        self._tell_soon(instance_id)

    async def tell(self, instance_id: str, port: Instance) -> None:
        """Tells one instance; when it cannot be reached it is told later.

        Calls may overtake each other: what has changed during one is told after it.
        """
        told = None
        while told != (now := (self.limits, self.hold_of(instance_id))):
            try:
                await port.tune(*now)
            except PhalanxError as error:
                logger.info("%s learns how to batch later: %s", instance_id, error)
                self._behind.add(instance_id)
                return
            told = now
        self._behind.discard(instance_id)

    def reachable(self, instance_id: str) -> None:
        """The instance answers: it is told now what it could not be told before."""
        if instance_id in self._behind:
            self._behind.discard(instance_id)
            self._tell_soon(instance_id)

    def _tuned(self, before: TunableValues, after: TunableValues) -> None:
        self.limits = limits_of(after)
        if self.limits != limits_of(before):
            for member in self._team.registry:
                self._tell_soon(member.record.instance_id)

    def _tell_soon(self, instance_id: str) -> None:
        if self._team.links.has(instance_id):  # another one is told when it takes its agent over
            self._telling.begin(self.tell(instance_id, self._team.links.port(instance_id)))


def limits_of(tuning: TunableValues) -> BatchLimits:
    return BatchLimits(size=tuning.message_batch_size, delay_s=tuning.message_batch_delay / 1000)
