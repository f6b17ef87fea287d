"""One instance's terminal as a stream of server-sent events, for one browser that looks at it.

``browser`` serves ``screen_frames``. Each event is the whole screen as it is now, so a browser that is slow skips what
was between. The instance looks at its pane only while somebody waits for it.

Events of the stream: ``screen`` (a ``ScreenResult``), and at its end ``ended`` (``{"words"}``) when there is no
terminal to look at. While the team is away nothing comes: the team's own stream (``feed``) tells it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from actors.backoff import Backoff
from actors.errors import PhalanxError, TeamNotRunningError, UnavailableError
from mcp_entry.web.feed import BEAT, BEAT_S, frame
from supervisor.api.verbs import TeamVerbs
from supervisor.rpc.client import SupervisorClient

_RETRY = Backoff(first_s=0.5, longest_s=5.0)


async def screen_frames(client: SupervisorClient, instance_id: str) -> AsyncGenerator[bytes]:
    """Ends after ``ended``."""
    given: dict[str, Any] = {"instanceId": instance_id, "timeoutSeconds": BEAT_S}
    failures = 0
    while True:
        try:
            screen = await client.call_json(TeamVerbs.screen, given)
        except (TeamNotRunningError, UnavailableError):
            failures += 1
            yield BEAT  # who is gone need not be kept
            await asyncio.sleep(_RETRY.pause_s(failures))
        except PhalanxError as error:
            yield frame("ended", {"words": str(error)})
            return
        else:
            failures = 0
            is_new = screen["version"] != given.get("after")
            given["after"] = screen["version"]
            yield frame("screen", screen) if is_new else BEAT
