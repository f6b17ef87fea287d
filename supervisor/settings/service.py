"""The verb ``optimize_settings``: a change is checked, then kept in the home, then applied at once.

The supervisor begins and ends ``SettingsService`` with its other services; it ends the loop that tunes the spawn cap. A
file that cannot be written changes nothing. A kept value wins over the configuration until it is reset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from actors.home import Home
from supervisor.api import requests, results
from supervisor.api.verbs import Caller, Handler
from supervisor.metrics import views
from supervisor.metrics.autotune import CapTuningLoop
from supervisor.settings.live import PROFILES, LiveSettings, TunableValues
from supervisor.settings.sources import TUNABLE, SavedChanges, read_tuned, write_tuned


class SettingsService:
    """All in the supervisor's event loop."""

    def __init__(
        self, home: Home, live_settings: LiveSettings, self_tuning: CapTuningLoop, configured: TunableValues
    ) -> None:
        """``configured``: what applies without anything that was changed while a team ran."""
        self._home = home
        self._live_settings = live_settings
        self._self_tuning = self_tuning
        self._configured = configured
        self._turn = asyncio.Lock()

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {"optimize_settings": self.optimize_settings}

    async def begin(self) -> None:
        """Nothing runs by itself before a spawn ends."""

    async def end(self) -> None:
        await self._self_tuning.end()

    async def optimize_settings(
        self, request: requests.OptimizeSettingsRequest, caller: Caller
    ) -> results.OptimizeSettingsResult:
        async with AsyncExitStack() as waiting:
            await waiting.enter_async_context(self._turn)
            # A caller who goes away must neither leave what is kept and what applies apart, nor let the next one begin
            # before this change is done.
            changing = asyncio.create_task(self._change_holding(waiting.pop_all(), request))
        return await asyncio.shield(changing)

    async def _change_holding(
        self, turn: AsyncExitStack, request: requests.OptimizeSettingsRequest
    ) -> results.OptimizeSettingsResult:
        async with turn:
            before = self._live_settings.current
            given = _given(request)
            if given or request.reset:
                await self._change(given, reset=request.reset)
            return results.OptimizeSettingsResult(
                old_settings=views.tuned(before), new_settings=views.tuned(self._live_settings.current)
            )

    async def _change(self, given: Mapping[str, Any], *, reset: bool) -> None:
        after = await asyncio.to_thread(self._keep, self._live_settings.current, given, reset=reset)
        self._live_settings.change(after)

    def _keep(self, before: TunableValues, given: Mapping[str, Any], *, reset: bool) -> TunableValues:
        """What applies from now on, once it is kept."""
        kept = SavedChanges(values={}) if reset else read_tuned(self._home)
        after = replace(self._configured if reset else before, **given)
        changed = {name: value for name, value in given.items() if name in TUNABLE}
        write_tuned(self._home, SavedChanges(values={**kept.values, **changed}, auto=after.auto))
        return after


def _given(request: requests.OptimizeSettingsRequest) -> dict[str, Any]:
    """What is to change; what is named wins over the profile."""
    named = request.model_dump(include={*TUNABLE, "auto"}, exclude_none=True)
    return {**PROFILES[request.profile], **named} if request.profile else named
