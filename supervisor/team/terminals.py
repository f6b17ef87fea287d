"""The verbs ``screen`` and ``type``: the terminal of an instance for people, who look at it and take it over.

Both are the user's alone; an instance's token is refused (``access``). The instance's actor, which alone talks to its
pane, looks and types. What is typed counts as a key of a person: a message waits as for anybody who types, and none of
its keys comes in between.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.instance.instance import Instance
from actors.tmux.pane import NamedKey, TypedText
from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.team.team import Team


class TerminalService:
    def __init__(self, team: Team) -> None:
        self._team = team

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"screen": self.screen, "type": self.type}

    async def begin(self) -> None:
        """Nothing goes on while nobody asks."""

    async def end(self) -> None:
        """Nothing of its own goes on."""

    async def screen(self, request: requests.ScreenRequest, caller: Caller) -> results.ScreenResult:
        """Raises ``UnknownInstanceError``, and ``UnavailableError`` for an instance without an actor or a terminal."""
        port = self._port(request.instance_id)
        shown = await port.watch_terminal(request.after or "", request.timeout_seconds if request.after else 0.0)
        view = shown.view
        return results.ScreenResult(
            instance_id=request.instance_id,
            version=shown.version,
            columns=view.columns,
            rows=view.rows,
            lines=list(view.lines),
            cursor=results.CursorPlace(column=view.cursor[0], row=view.cursor[1]) if view.cursor else None,
            title=view.title,
        )

    async def type(self, request: requests.TypeRequest, caller: Caller) -> results.TypeResult:
        """Raises as ``screen``, and ``WrongStateError`` when the agent has ended, or a dialog has come up that ``seen``
        does not show. Nothing is typed then."""
        keys = [TypedText(key.text) if key.text is not None else NamedKey(str(key.key)) for key in request.keys]
        await self._port(request.instance_id).type_keys(keys, request.seen or "")
        return results.TypeResult(instance_id=request.instance_id)

    def _port(self, instance_id: str) -> Instance:
        return self._team.links.port(self._team.registry.get(instance_id).record.instance_id)
