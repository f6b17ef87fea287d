"""The lead of a round that answers permission requests, each once it has waited a moment: some yes, some no.

Nothing else may answer them. What was decided is in the ledger, so that what ran can be compared with it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from actors.errors import PhalanxError
from actors.home import Home
from supervisor.api.requests import ListRequest, RespondRequest
from supervisor.rpc.client import SupervisorClient
from tests.chaos.ledger import Ledger

_EVERY_S = 0.3
_ANSWER_S = 5.0


@dataclass(slots=True, kw_only=True)
class Decider:
    home: Home
    ledger: Ledger
    seed: int

    async def run(self) -> None:
        """Until it is cancelled."""
        chance = Random(f"decisions {self.seed}")  # noqa: S311 - a schedule, no secret
        while True:
            with suppress(PhalanxError, TimeoutError, OSError):
                async with asyncio.timeout(_ANSWER_S), await SupervisorClient.connect(self.home, "lead") as client:
                    await self._answer(client, chance)
            await asyncio.sleep(_EVERY_S)

    async def _answer(self, client: SupervisorClient, chance: Random) -> None:
        for info in (await client.list(ListRequest())).instances:
            if info.permission is None:
                continue
            command = str(info.permission.input.get("command", ""))
            allow = chance.random() < 0.5
            self.ledger.decided(info.instance_id, command, allow=allow)  # before: it may be carried out, answer or not
            with suppress(PhalanxError):
                await client.respond(
                    RespondRequest(
                        instance_id=info.instance_id,
                        permission_id=info.permission.permission_id,
                        decision="allow" if allow else "deny",
                        message=None if allow else "no",
                    )
                )
