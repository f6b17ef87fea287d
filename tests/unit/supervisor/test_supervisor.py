"""In whose name a call is made, whatever its connection says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.home import Home
from supervisor.api.requests import ListRequest, Request
from supervisor.api.results import ListResult, Result
from supervisor.api.verbs import VERBS, Caller, Handler
from supervisor.store.guards import FencedStore
from supervisor.supervisor import Supervisor
from supervisor.team.access import Access, new_token, token_hash
from supervisor.team.team import Team
from tests.fakes.store import MemoryStore
from tests.fakes.team import FIRST, SECOND, add_member


class Noted:
    """A ``VerbService`` of every verb, which notes who calls."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return dict.fromkeys(VERBS, self._note)

    async def _note(self, _request: Request, caller: Caller) -> Result:
        self.callers.append(caller)
        return ListResult(needs_attention=[], counts={}, instances=[])

    async def begin(self) -> None:
        """Nothing."""

    async def end(self) -> None:
        """Nothing."""


async def test_instances_that_share_a_connection_are_callers_of_their_own_and_the_user_is_not_one() -> None:
    team, service = Team(MemoryStore()), Noted()
    tokens = {FIRST: new_token(), SECOND: new_token()}
    for number, token in enumerate(tokens.values(), 1):
        await add_member(team, number, token_hash=token_hash(token))
    rest: dict[str, Any] = dict.fromkeys(
        (
            "permits",
            "queries",
            "work",
            "spawner",
            "lifecycle",
            "auto_restart",
            "recycling",
            "notifier",
            "recovery",
            "on_shutdown",
        )
    )
    supervisor = Supervisor(
        home=Home(Path("/home")),
        store=FencedStore(MemoryStore(), team.recorder),
        team=team,
        access=Access(team.registry, siblings_may_send=False),
        services=[service],
        **rest,
    )

    for named in (*tokens.values(), None):
        await supervisor.call("list", ListRequest(), Caller(sender="endpoint", client="one", token=named))

    assert [(one.sender, one.instance_id, one.client) for one in service.callers] == [
        (FIRST, FIRST, FIRST),
        (SECOND, SECOND, SECOND),
        ("endpoint", "", "one"),
    ]
