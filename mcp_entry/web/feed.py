"""The team as a stream of server-sent events: one follower of the supervisor for all browsers of this process.

``browser`` serves ``TeamFeed.frames`` to each browser. The feed begins to follow the team with the first one and stops
with the last one. It keeps the rows, so that a browser that comes gets all of them at once, without a call. What each
browser has not taken yet is bounded: one that is too slow gets the complete state anew, and the number of events that
it missed. Nothing is asked of the supervisor but one call of ``changes`` and one of ``events`` that wait, and what a
browser that comes again has missed meanwhile.

Events of the stream: ``changes`` (a ``ChangesResult``); ``happened`` (``{"events", "missed", "last"}``, with the number
of the team's last event, from which on a browser asks when it comes again: each stream begins with one, so that a
browser that is gone before the next event loses none); ``away`` (``{"words"}``) when the team does not answer, ``back``
when it does again, followed by complete ``changes``. A comment every ``BEAT_S`` lets each side notice that the other
one is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from actors.backoff import Backoff
from actors.concurrency import ChangeNotifier, beside
from actors.errors import InvalidRequestError, PhalanxError, UnavailableError
from supervisor.api.verbs import TeamVerbs
from supervisor.rpc.client import SupervisorClient

logger = logging.getLogger(__name__)

BEAT_S = 15.0
BEAT = b": still here\n\n"
MOST_WAITING_BYTES = 1 << 20
"""Of one browser. All browsers hold the same frames."""
MOST_CAUGHT_UP = 1000
"""Events that a browser is sent of the time in which it was not here; of older ones it hears only how many."""
_POLL_S = 25.0
_HANGS_S = 10.0
"""A supervisor that answers so much later than it was asked to is told to be away."""
_AT_ONCE_S = 0.001
_RETRY = Backoff(first_s=0.2, longest_s=2.0)
_LOST = "The team does not answer just now. It comes back by itself, or with `phalanx up`."
Json = Mapping[str, Any]


class TeamFeed:
    """All methods belong to one event loop."""

    def __init__(self, client: SupervisorClient) -> None:
        self._client = client
        self._listeners: set[_Listener] = set()
        self._following: asyncio.Task[None] | None = None
        self._state = _TeamState()
        self._told_to: int | None = None
        """The number of the last event that was told; None before the team has said where it is."""
        self._begins = ChangeNotifier()

    async def frames(self, after: int | None = None) -> AsyncGenerator[bytes]:
        """What one browser is sent, without end. Each is one or more whole frames. ``after``: the number of the last
        event that it has heard of; without it, it hears what happens from now on."""
        if self._following is None:
            self._state, self._told_to = _TeamState(), None
            self._following = asyncio.create_task(self._follow(), name="the team for browsers")
        after = self._told_to if after is None else after
        listener = _Listener(heard_to=0 if after is None else None)
        self._listeners.add(listener)
        try:
            if whole := self._state.whole():
                yield whole
            async with beside(self._catch_up(listener, after)):
                while True:
                    try:
                        async with asyncio.timeout(BEAT_S):
                            await listener.has_news.wait()
                    except TimeoutError:
                        yield BEAT
                        continue
                    if listener.is_behind:
                        yield self._state.whole() + listener.caught_up()
                    else:
                        yield listener.taken()
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._following is not None:
                self._following.cancel()
                self._following = None

    async def _follow(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_rows())
            group.create_task(self._follow_events())

    async def _follow_rows(self) -> None:
        failures = 0
        cursor: str | None = None
        while True:
            try:
                answer = await self._changes(cursor)
                self._take(answer)
                cursor, failures = answer["cursor"], 0
                continue
            except PhalanxError as error:
                words = str(error)
            except Exception as error:
                logger.exception("the team cannot be followed")
                words = f"Phalanx failed inside ({type(error).__name__}): its log says more."
            if not self._state.away:
                self._state.away = words
                self._tell(frame("away", {"words": words}))
            cursor = None
            failures += 1
            await asyncio.sleep(_RETRY.pause_s(failures))

    async def _changes(self, cursor: str | None) -> Json:
        """Raises ``PhalanxError``, at once when the connection is lost: the client itself would wait for its return."""
        given = {"timeoutSeconds": _POLL_S, **({} if cursor is None else {"cursor": cursor})}
        longest_s = _HANGS_S + (0.0 if cursor is None else _POLL_S)  # without a cursor the team answers at once
        try:
            async with (
                asyncio.timeout(longest_s),
                beside(self._client.call_json(TeamVerbs.changes, given)) as asking,
                beside(self._lost(is_first=cursor is None)) as losing,
            ):
                await asyncio.wait({asking, losing}, return_when=asyncio.FIRST_COMPLETED)
                if not asking.done():
                    raise UnavailableError(_LOST)
                return await asking
        except TimeoutError:
            raise UnavailableError(_LOST) from None

    async def _lost(self, *, is_first: bool) -> None:
        """``is_first``: the call may open the connection itself."""
        if is_first:
            await self._client.until_connected()
        await self._client.until_lost()

    def _take(self, answer: Json) -> None:
        changed = self._state.take(answer)
        if self._state.away:
            self._state.away = ""
            self._tell(frame("back", {}) + self._state.whole())
        elif changed:
            self._tell(frame("changes", answer))

    async def _follow_events(self) -> None:
        failures = 0
        given: dict[str, Any] = {"timeoutSeconds": _AT_ONCE_S}  # at first only the cursor of now
        while True:
            try:
                answer = await self._client.call_json(TeamVerbs.next_events, given)
                given, failures = {"timeoutSeconds": _POLL_S, "cursor": answer["cursor"]}, 0
                self._tell_events(answer["events"], answer.get("missed", 0), int(answer["cursor"]))
                continue
            except InvalidRequestError:  # the state of the team was restored, and its numbers begin anew
                given, self._told_to = {"timeoutSeconds": _AT_ONCE_S}, None
                for listener in self._listeners:
                    listener.heard_to = None if listener.heard_to is None else 0
            except PhalanxError:  # that the team is away is told with the rows
                pass
            except Exception:
                logger.exception("the events of the team cannot be followed")
            failures += 1
            await asyncio.sleep(_RETRY.pause_s(failures))

    def _tell_events(self, events: list[Json], missed: int, last: int) -> None:
        begins, self._told_to = self._told_to is None, last
        self._begins.announce()
        if not events and not missed and not begins:
            return
        frames = _happened(events, missed, last)
        for listener in self._listeners:
            if listener.heard_to is None:  # it catches up, and gets these that way
                continue
            fresh = [each for each in events if each["number"] > listener.heard_to]
            if len(fresh) == len(events):
                listener.give(frames, len(events) + missed, last)
            elif fresh:
                listener.give(_happened(fresh, 0, last), len(fresh), last)

    async def _catch_up(self, listener: _Listener, after: int | None) -> None:
        failures = 0
        while after is not None:
            try:
                events, missed, last = await self._since(after)
            except PhalanxError:
                pass
            except Exception:
                logger.exception("a browser cannot be told what it has missed")
            else:
                listener.give(_happened(events, missed, last), len(events) + missed, last)
                listener.heard_to = last
                return
            failures += 1
            await asyncio.sleep(_RETRY.pause_s(failures))

    async def _since(self, after: int) -> tuple[list[Json], int, int]:
        """What has happened after this event, how many more have, and the number of the last one, at or after which the
        feed goes on. Raises ``PhalanxError``."""
        await self._begins.until(lambda: self._told_to is not None, None)
        last = self._told_to or 0
        if after >= last:  # a greater one: another team's, or of this one before it was restored
            return [], 0, last
        first = max(after, last - MOST_CAUGHT_UP)
        events: list[Json] = []
        missed, last = first - after, first
        while True:
            given = {"timeoutSeconds": _AT_ONCE_S, "cursor": str(last)}
            answer = await self._client.call_json(TeamVerbs.next_events, given)
            events += answer["events"]
            missed, last = missed + answer.get("missed", 0), int(answer["cursor"])
            if not answer["events"] and last >= (self._told_to or 0):
                return events, missed, last

    def _tell(self, frames: bytes) -> None:
        for listener in self._listeners:
            listener.give(frames)


class _TeamState:
    """The rows as the last answers have them."""

    def __init__(self) -> None:
        self._rows: dict[str, Json] = {}
        self._last: Json | None = None
        self.away = ""
        """Why the team does not answer; empty while it does."""

    def take(self, answer: Json) -> bool:
        """Whether anything is new in it."""
        if answer["complete"]:
            self._rows.clear()
        for row in answer["instances"]:
            self._rows[row["instanceId"]] = row
        for gone in answer["gone"]:
            self._rows.pop(gone, None)
        before, self._last = self._last, answer
        return (
            bool(answer["complete"] or answer["instances"] or answer["gone"])
            or before is None
            or any(answer[name] != before[name] for name in ("needsAttention", "warnings"))
        )

    def whole(self) -> bytes:
        """Frames that tell all of it; empty before the first answer."""
        frames = b""
        if self._last is not None:
            frames = frame("changes", {**self._last, "complete": True, "instances": [*self._rows.values()], "gone": []})
        return frames + (frame("away", {"words": self.away}) if self.away else b"")


class _Listener:
    """What one browser has not taken yet."""

    def __init__(self, heard_to: int | None) -> None:
        self.heard_to = heard_to
        """It is told of events with a higher number; None while it catches up."""
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._events = 0
        """In the frames."""
        self._last: int | None = None
        """The number of the last event that the frames tell of."""
        self.has_news = asyncio.Event()
        self.is_behind = False
        """Its frames were dropped: it needs the complete state."""

    def give(self, frames: bytes, events: int = 0, last: int | None = None) -> None:
        """``events``: how many events of the team the frames tell. ``last``: the number of the last one by then."""
        self._events += events
        self._last = self._last if last is None else last
        self.has_news.set()
        if self.is_behind:
            return
        self._frames.append(frames)
        self._bytes += len(frames)
        if self._bytes > MOST_WAITING_BYTES and len(self._frames) > 1:
            self._frames.clear()
            self.is_behind = True

    def taken(self) -> bytes:
        frames = b"".join(self._frames)
        self._empty()
        return frames

    def caught_up(self) -> bytes:
        """The frame that tells how many events were dropped; empty when none was told of."""
        missed, last = self._events, self._last
        self._empty()
        return b"" if last is None else _happened([], missed, last)

    def _empty(self) -> None:
        self._frames.clear()
        self._bytes = self._events = 0
        self._last = None
        self.is_behind = False
        self.has_news.clear()


def _happened(events: list[Json], missed: int, last: int) -> bytes:
    """``missed``: how many more events there were. ``last``: the number of the last one of all."""
    return frame("happened", {"events": events, "missed": missed, "last": last})


def frame(event: str, data: Json) -> bytes:
    """One server-sent event. JSON has no line breaks, so its data is one line."""
    return f"event: {event}\ndata: {document(data)}\n\n".encode()


def document(data: Json) -> str:
    """JSON in ASCII: a file name may hold lone surrogates, which UTF-8 has not."""
    return json.dumps(data, separators=(",", ":"))
