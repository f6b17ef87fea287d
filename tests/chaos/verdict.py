"""The end of a round: gathers the evidence and asks the checks.

What comes to rest by itself is looked at again for a moment: processes on their way out, a copy that is catching up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from actors.errors import PhalanxError
from actors.processes import is_running
from supervisor.api.results import SPARE_PREFIX
from tests.chaos import checks, copies
from tests.chaos.arrivals import Arrival
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Ledger
from tests.chaos.prober import Prober
from tests.chaos.spawned import Spawned
from tests.chaos.survey import Found, Kind, alive
from tests.chaos.world import World

_SETTLE_S = 10.0
_IDLE_FOR_S = 2.0
_IDLE_CORES = 0.5
_POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Asked when the clients are gone. Keeps what explains a failure, and brings the team down at the end."""

    world: World
    ledger: Ledger
    spawned: Spawned
    prober: Prober
    evidence: Evidence

    async def problems(self, seen: Sequence[Arrival], ran: Collection[tuple[str, str]]) -> list[str]:
        """``ran``: instance and command of all that agents ran."""
        found = self._of_messages(self.evidence.of_clients(seen), ran)
        found += await asyncio.to_thread(self.evidence.problems, seen)
        found += await _settled(self.of_the_team)
        found += await _settled(self._of_the_store)
        found += checks.idle_team_is_quiet(await _cores_used(await self.world.survey()), _IDLE_CORES)
        await asyncio.to_thread(self.world.keep, self.ledger.path.parent)
        return found + await self._of_down()

    def _of_messages(self, seen: Sequence[Arrival], ran: Collection[tuple[str, str]]) -> list[str]:
        fates = list(self.ledger.fates.values())
        return [
            *checks.every_call_was_answered(self.ledger),
            *checks.every_accepted_message_stands_once(fates, seen),
            *checks.every_text_is_exact(fates, seen),
            *checks.nothing_else_arrived(fates, seen, self.spawned.contexts),
            *checks.order_is_kept(fates, seen),
            *checks.nothing_was_sent_for_a_person(seen),
            *checks.nothing_was_approved(self.ledger, ran),
            *checks.list_never_told_a_wrong_story(self.ledger),
        ]

    async def of_the_team(self, entries: int = 0) -> list[str]:
        """Where panes, actors and registry disagree, and who is left over; ``entries``: of clients that are there."""
        found, spare = self.spawned.divide(await self.world.survey())
        listed = await self.prober.probe()
        sessions = await self.world.sessions()
        return [
            *checks.no_agent_was_restarted(
                self.spawned.agents, [(each.instance_id, each.identity) for each in alive(found, Kind.AGENT)]
            ),
            *checks.registry_panes_and_actors_agree(
                self.spawned.ids,
                listed=[each.instance_id for each in listed.instances] if listed else [],
                panes=[self.spawned.sessions.get(each, each) for each in sessions if not each.startswith(SPARE_PREFIX)],
                actors=[each.instance_id for each in alive(found, Kind.INSTANCE)],
            ),
            *checks.no_orphan(found, len(self.spawned.ids), entries),
            *checks.spares_are_whole(
                self.spawned.spares,
                agents=[each.instance_id for each in alive(spare, Kind.AGENT)],
                actors=[each.instance_id for each in alive(spare, Kind.INSTANCE)],
                panes=[session for session in sessions if session.startswith(SPARE_PREFIX)],
            ),
        ]

    async def _of_the_store(self) -> list[str]:
        both = await copies.read(self.world.home, self.world.redis.url)
        if both is None:
            return ["copies: the team keeps no file"]
        return [
            *checks.copies_are_equal(both.file, both.redis),
            *checks.receipts_say_submitted(self.ledger.fates.values(), copies.statuses(both.file)),
            *checks.every_event_is_told_once(
                self.ledger.fates.values(), copies.events(both.file), copies.due_events(both.file)
            ),
        ]

    async def _of_down(self) -> list[str]:
        try:
            await asyncio.to_thread(self.world.runtime.down)
        except PhalanxError as error:
            return [f"down: {error}"]
        return checks.nothing_is_left(await self.world.survey())


async def _settled(look: Callable[[], Awaitable[list[str]]]) -> list[str]:
    deadline = time.monotonic() + _SETTLE_S
    while (found := await look()) and time.monotonic() < deadline:  # noqa: ASYNC110 - a look, no flag of ours
        await asyncio.sleep(_POLL_S)
    return found


async def _cores_used(found: Sequence[Found]) -> float:
    team = [each.process for each in found if each.kind is not Kind.REDIS]

    def used_s() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in team if is_running(process))

    before = await asyncio.to_thread(used_s)
    await asyncio.sleep(_IDLE_FOR_S)
    return (await asyncio.to_thread(used_s) - before) / _IDLE_FOR_S
