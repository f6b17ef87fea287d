"""One instance's terminal as a stream of server-sent events, for one browser that looks at it.

``browser`` serves ``screen_frames``. Each event is the whole screen as it is now, so a browser that is slow skips what
was between. The instance looks at its pane only while somebody waits for it.

Events of the stream: ``screen`` (a ``ScreenResult``); ``waiting`` (``{"words"}``) when there is no terminal to look at
now, because the instance was stopped, or the team is away: it is looked for again, and the next ``screen`` shows it;
``ended`` (``{"words"}``), the last one, for an instance that is not in the team.
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
    version: str | None = None
    waits_because = ""
    failures = 0
    while True:
        try:
            given: dict[str, Any] = {"instanceId": instance_id, "timeoutSeconds": BEAT_S}
            screen = await client.call_json(TeamVerbs.screen, given if version is None else given | {"after": version})
        except (TeamNotRunningError, UnavailableError) as error:
            failures += 1
            version = None  # its browser shows the words by now
            yield BEAT if str(error) == waits_because else frame("waiting", {"words": str(error)})
            waits_because = str(error)
            await asyncio.sleep(_RETRY.pause_s(failures))
        except PhalanxError as error:
            yield frame("ended", {"words": str(error)})
            return
        else:
            failures, waits_because = 0, ""
            yield BEAT if screen["version"] == version else frame("screen", screen)
            version = screen["version"]
