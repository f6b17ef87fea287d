"""Tells people of what happens: by a command of theirs (``notify_command``), and on their desktop.

The supervisor begins ``PeopleNotifier`` with its services. It listens to the ``EventStream``; the host runs the command
(``actors.host.notice``), so that nothing of it is a child of the supervisor. Events that come within ``GATHER_S``, or
while ``MOST_AT_ONCE`` commands run, go to one run of the command, each as a line of JSON on its standard input, and
into one notice on the desktop.

Told at most once: how far people were told is stored before they are told, so that a supervisor that dies in between
tells the rest and nothing twice. What is older than ``OLD_S`` when it could be told is not told any more. A command
that fails is not run again for the same events; a warning of the team says why, until one succeeds.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence, Set
from contextlib import nullcontext

from actors.backoff import Backoff, LastingProblem
from actors.concurrency import TaskSet
from actors.errors import FencedError, PhalanxError, StoreError
from actors.host.host import Host
from supervisor.api.requests import EventKind
from supervisor.api.results import TeamEvent
from supervisor.api.verbs import Handler
from supervisor.events.stream import EventStream
from supervisor.metrics.service import AlertLoop
from supervisor.records import Unreadable, decode_plain, encode_plain
from supervisor.store import keys
from supervisor.store.base import StateStore

logger = logging.getLogger(__name__)

GATHER_S = 1.0
OLD_S = 600.0
MOST_AT_ONCE = 4
_LISTEN_S = 3600.0
_RETRY = Backoff(first_s=1.0, longest_s=60.0)
_MOST_SHOWN = 4
"""Events with words of their own in a notice on the desktop."""
_LONGEST_WORDS = 160
_WORDS: Mapping[EventKind, str] = {
    "became_idle": "is done",
    "needs_attention": "needs you",
    "failed": "has failed",
    "message_final": "got a message, or did not",
    "merged": "is merged",
    "conflict": "has a conflict",
    "limit_reached": "reaches its limit",
}


class PeopleNotifier:
    """A ``VerbService`` without verbs. All in the supervisor's event loop."""

    def __init__(
        self,
        stream: EventStream,
        store: StateStore,
        unreadable: Unreadable,
        host: Host,
        alerts: AlertLoop,
        command: Sequence[str],
        kinds: Set[EventKind],
        *,
        desktop: bool,
    ) -> None:
        """``host``: the one of the person. ``command``: none: no command. ``kinds``: of the events that are told; of
        alerts only those that are errors."""
        self._stream = stream
        self._store = store
        self._unreadable = unreadable
        self._host = host
        self._alerts = alerts
        self._command = command
        self._kinds = kinds
        self._desktop = desktop
        self._heard = "0"
        """The cursor in the stream up to which people were told."""
        self._free = asyncio.Semaphore(MOST_AT_ONCE)
        self._faults = {"notify_command": "", "desktop_notices": ""}
        """Why the last notice of each kind, by its setting, did not reach anybody; empty: it did."""
        self._storing = LastingProblem(logger, "people are told later, because it cannot be stored that they are")
        self._tasks = TaskSet("tell people")

    @property
    def verbs(self) -> Mapping[str, Handler]:
        return {}

    @property
    def warning(self) -> str:
        """For people; empty while all is well."""
        told = [f"{setting} does not work, so it tells nobody: {why}" for setting, why in self._faults.items() if why]
        return " ".join(told)

    async def begin(self) -> None:
        """Raises ``StoreError``."""
        if self._command or self._desktop:
            self._heard = await self._since()
            self._tasks.begin(self._listen())

    async def end(self) -> None:
        """A command that runs goes on to its end."""
        await self._tasks.end()

    async def _since(self) -> str:
        """What happened before people were ever told is not told."""
        last = int(self._stream.cursor)
        stored = await self._store.load(keys.NOTICED)
        for _, number in self._unreadable.readable(stored, lambda data: int(decode_plain(data))):
            return str(min(number, last))  # the state may have been restored from an older one
        await self._store.save({keys.NOTICED: encode_plain(last)})
        return str(last)

    async def _listen(self) -> None:
        with self._alerts.listening() if "alert" in self._kinds else nullcontext():
            while True:
                first = await self._stream.after(self._heard, self._is_wanted, _LISTEN_S)
                if not first.events:
                    self._heard = first.cursor
                    continue
                await asyncio.sleep(GATHER_S)
                await self._free.acquire()
                answer = await self._stream.after(self._heard, self._is_wanted, 0.0)
                if not await self._noted(answer.cursor):
                    return
                self._heard = answer.cursor
                if events := [event for event in answer.events if _age_s(event) < OLD_S]:
                    self._tasks.begin(self._tell(events))
                else:
                    self._free.release()

    def _is_wanted(self, event: TeamEvent) -> bool:
        if event.kind == "alert":
            return "alert" in self._kinds and event.alert is not None and event.alert.severity == "error"
        return event.kind in self._kinds

    async def _noted(self, cursor: str) -> bool:
        """Stores that people were told so far; False when the team is another supervisor's now."""
        failures = 0
        while True:
            try:
                await self._store.save({keys.NOTICED: encode_plain(int(cursor))})
            except FencedError:
                return False
            except StoreError as error:
                self._storing.met(error)
                failures += 1
                await asyncio.sleep(_RETRY.pause_s(failures))
            else:
                self._storing.over()
                return True

    async def _tell(self, events: Sequence[TeamEvent]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                if self._command:
                    told = self._host.notify(self._command, _lines(events))
                    group.create_task(self._noting("notify_command", told))
                if self._desktop:
                    shown = self._host.show_on_desktop(*_on_desktop(events))
                    group.create_task(self._noting("desktop_notices", shown))
        finally:
            self._free.release()

    async def _noting(self, setting: str, told: Awaitable[str]) -> None:
        try:
            fault = await told
        except PhalanxError as error:
            fault = str(error)
        if fault and fault != self._faults[setting]:
            logger.warning("%s: %s", setting, fault)
        self._faults[setting] = fault


def _age_s(event: TeamEvent) -> float:
    return time.time() - datetime.datetime.fromisoformat(event.at).timestamp()


def _lines(events: Sequence[TeamEvent]) -> str:
    plain = (event.model_dump(mode="json", by_alias=True, exclude_none=True) for event in events)
    return "".join(json.dumps(one) + "\n" for one in plain)


def _on_desktop(events: Sequence[TeamEvent]) -> tuple[str, str]:
    """Summary and body."""
    words = [" ".join(event.text.split())[:_LONGEST_WORDS] for event in events]
    if len(events) == 1:
        return f"Phalanx: {_headline(events[0])}", words[0]
    shown = [
        f"{_headline(event)}: {said}" if said else _headline(event) for event, said in zip(events, words, strict=True)
    ]
    more = [f"and {len(events) - _MOST_SHOWN} more"] if len(events) > _MOST_SHOWN else []
    return f"Phalanx: {len(events)} things happened", "\n".join([*shown[:_MOST_SHOWN], *more])


def _headline(event: TeamEvent) -> str:
    who = event.name or event.instance_id or "the team"
    return f"{who} {_WORDS[event.kind]}" if event.kind in _WORDS else "the team is in trouble"
