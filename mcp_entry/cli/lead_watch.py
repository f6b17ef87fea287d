"""``phalanx watch --for-lead``: wakes a Claude that leads the team from outside, when there is something to do.

The monitor of the plugin for Claude Code runs it. Each line that it prints becomes a notification, which begins a turn
of that Claude, so a line is printed only for what its lead acts on: an instance became idle, needs attention or has
failed, a message of the lead did not arrive, somebody else met a conflict, a limit is reached. What came within a
moment, or soon after the line before, is one line.

*Whose it is*: what happens below an instance that leads is told to that instance. The lead outside hears of those that
it leads itself, and of requests for a permission that nobody above the instance may answer. *Seen already*: of all this
only what is still so when the line is made, as ``list`` tells it. An answer that was read is left out, and a request
that was answered.

It waits for a team where none runs, and starts none. It goes on when a team ends, restarts or is another one. It ends
with its parent, and when nobody reads its output any more. What agents say is cut and quoted, does not end its quotes,
controls no terminal, and closes no element of the notification that it becomes.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from actors.backoff import Backoff
from actors.errors import InvalidRequestError, PhalanxError
from actors.messages import MessageStatus
from actors.status import Status
from mcp_entry.cli.output import one_line
from supervisor.api.requests import DescribeRequest, EventKind, EventsRequest, ListRequest
from supervisor.api.results import InstanceDescription, InstanceInfo, TeamEvent, iso
from supervisor.api.verbs import TeamVerbs
from supervisor.rpc.client import SupervisorClient
from supervisor.team.access import QUESTION_TOOL

Connect = Callable[[], Awaitable[SupervisorClient]]
"""Raises ``TeamNotRunningError`` when no team runs."""
LEAD = "lead"
"""The sender of what a Claude sends through the entry."""
LONGEST_LINE = 500
_KINDS: Mapping[EventKind, str] = {
    "needs_attention": "needs attention",
    "failed": "failed",
    "message_final": "did not take a message of yours",
    "conflict": "is in conflict",
    "limit_reached": "is at a limit",
    "became_idle": "is idle",
}
"""What a lead acts on, the most urgent first, in words."""
_POLL_S = 60.0
_AT_ONCE_S = 0.001
_MOMENT_S = 1.0
_BETWEEN_LINES_S = 5.0
"""At least: a line costs a turn, and during a turn more may happen."""
_MOST_GATHERED = 1_000
"""More events than these wait for no others."""
_MOST_IN_WORDS = 4
_RETRY = Backoff(first_s=0.5, longest_s=5.0)
_FROM_THE_FIRST = "0"
_NO_ENDS = str.maketrans('<>"', "()'")
"""Of what agents say: it ends neither its quotes nor an element."""


class LeadWatch:
    """Follows the team of one home, whenever there is one."""

    def __init__(self, connect: Connect, tell: Callable[[str], None]) -> None:
        """``tell``: takes each line, without its end."""
        self._connect = connect
        self._tell = tell
        self._cursor = ""
        self._since = iso(time.time())
        """What happened before is not told: the lead looks at the team when it begins. It counts only where events are
        read from the first; otherwise the cursor tells what is new, because a clock may be set back."""
        self._reads_back = False
        """Events from before the watch may still come."""
        self._failures = 0
        self._told_at = float("-inf")
        self._gathered: dict[tuple[str | None, EventKind, str | None], TeamEvent] = {}
        """What is to be told; of one kind the last of an instance."""

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            with suppress(PhalanxError):  # there is no team, it is away, or it is of a version that does not answer
                async with self._connected() as client:
                    await self._begin(client)
                    while True:
                        await self._gather(client)
                        await self._tell_gathered(client)
            self._failures += 1
            await asyncio.sleep(_RETRY.pause_s(self._failures))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[SupervisorClient]:
        client = await self._connect()
        try:
            yield client
        finally:
            await client.close()

    async def _begin(self, client: SupervisorClient) -> None:
        """Takes a cursor. A team that came later, or is another one than before, is heard from its first event on."""
        try:
            if self._cursor or not self._failures:
                await self._hear(client, self._cursor or None, _AT_ONCE_S)
            else:
                await self._hear_from_the_first(client)
        except InvalidRequestError:
            await self._hear_from_the_first(client)
        while self._reads_back:
            await self._hear(client, self._cursor, _AT_ONCE_S)

    async def _hear_from_the_first(self, client: SupervisorClient) -> None:
        self._reads_back = True
        await self._hear(client, _FROM_THE_FIRST, _AT_ONCE_S)

    async def _gather(self, client: SupervisorClient) -> None:
        """Returns when something is to be told, and a moment is over in which more may have come."""
        clock = asyncio.get_running_loop().time
        while not self._gathered:
            await self._hear(client, self._cursor, _POLL_S)
        until = max(clock() + _MOMENT_S, self._told_at + _BETWEEN_LINES_S)
        while (left_s := until - clock()) > 0 and len(self._gathered) < _MOST_GATHERED:
            await self._hear(client, self._cursor, left_s)

    async def _hear(self, client: SupervisorClient, cursor: str | None, timeout_s: float) -> None:
        request = EventsRequest(cursor=cursor, kinds=list(_KINDS), timeout_seconds=timeout_s)
        answer = await client.call(TeamVerbs.next_events, request)
        self._reads_back = self._reads_back and bool(answer.events)
        for event in answer.events:
            if not self._reads_back or event.at >= self._since:
                self._gathered[event.instance_id, event.kind, event.message_id] = event
        self._cursor = answer.cursor
        self._failures = 0

    async def _tell_gathered(self, client: SupervisorClient) -> None:
        rows = {row.instance_id: row for row in (await client.list(ListRequest())).instances}
        events = [event for event in self._gathered.values() if _is_still_so(event, rows.get(event.instance_id or ""))]
        if any(event.parent_id for event in events):
            described = (await client.describe(DescribeRequest(include_stopped=True))).instances
            of_team = {one.instance_id: one for one in described}
            events = [event for event in events if _is_of_lead(event, rows[event.instance_id or ""], of_team)]
        self._since = max([self._since, *(event.at for event in self._gathered.values())])
        self._gathered.clear()
        if events:
            self._tell(in_words(events))
            self._told_at = asyncio.get_running_loop().time()


def _is_still_so(event: TeamEvent, row: InstanceInfo | None) -> bool:
    """Whether the lead can still act on it. ``row``: of the instance now; None when it has left the team."""
    if row is None:
        return False
    match event.kind:
        case "became_idle":
            return row.status is Status.READY and row.unread > 0
        case "needs_attention" if event.permission_id:
            return row.permission is not None and row.permission.permission_id == event.permission_id
        case "needs_attention":
            return row.needs_attention
        case "failed":
            return row.status is Status.FAILED
        case "message_final":
            return event.sender == LEAD and event.status is not MessageStatus.SUBMITTED
        case "conflict":
            return event.sender != LEAD  # its own merge has told it
        case _:
            return True


def _is_of_lead(event: TeamEvent, row: InstanceInfo, of_team: Mapping[str, InstanceDescription]) -> bool:
    """Whether no instance above this one is there to be told, or may answer what it asks."""
    above = [one for one in _above(event.parent_id, of_team) if one.status not in (Status.STOPPED, Status.FAILED)]
    asks_for_rights = row.dialog is not None or (row.permission is not None and row.permission.tool != QUESTION_TOOL)
    if event.kind == "message_final":
        return True
    if event.kind == "needs_attention" and asks_for_rights:
        return not any(one.asked.get("answers") == "permissions" for one in above)
    return not above


def _above(parent_id: str | None, of_team: Mapping[str, InstanceDescription]) -> Iterable[InstanceDescription]:
    while parent_id is not None and (one := of_team.get(parent_id)) is not None:
        yield one
        parent_id = one.parent_id


def in_words(events: Sequence[TeamEvent]) -> str:
    """One line of at most ``LONGEST_LINE`` characters; the most urgent first, and of many the ids alone."""
    urgency = list(_KINDS)
    ordered = sorted(events, key=lambda event: (urgency.index(event.kind), event.number))
    told, others = ordered[:_MOST_IN_WORDS], ordered[_MOST_IN_WORDS:]
    ids = ", ".join(dict.fromkeys(event.instance_id or "" for event in others))
    more = one_line(f"{len(others)} more: {ids}", LONGEST_LINE // 3) if others else ""
    share = (LONGEST_LINE - len(more)) // len(told) - len("; ")
    return one_line("; ".join([*(_told(event, share) for event in told), *([more] if more else [])]), LONGEST_LINE)


def _told(event: TeamEvent, most: int) -> str:
    name = f" ({event.name})" if event.name else ""
    about = event.message_id or (f"permissionId {event.permission_id}" if event.permission_id else "")
    head = one_line(f"{event.instance_id}{name} {_KINDS[event.kind]}{f' [{about}]' if about else ''}", most)
    room = most - len(head) - len(': ""')
    text = one_line(event.text.translate(_NO_ENDS), room) if room > 1 else ""
    return f'{head}: "{text}"' if text else head


async def until_nobody_listens(output: int, parent: int) -> None:
    """Returns when the process ``parent`` has ended, or who reads the pipe or socket ``output`` has closed it."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    mode = os.fstat(output).st_mode

    def look() -> None:
        """A pipe tells of its reader's end only; of a socket that is so when there is nothing to read."""
        if stat.S_ISFIFO(mode) or not _read(output):
            over.set()

    try:
        process = os.pidfd_open(parent)
    except ProcessLookupError:
        return
    loop.add_reader(process, over.set)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        loop.add_reader(output, look)
    try:
        await over.wait()
    finally:
        loop.remove_reader(output)
        loop.remove_reader(process)
        os.close(process)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


async def watch_for_lead(connect: Connect) -> None:
    """Prints lines to the standard output until nobody listens."""
    output = sys.stdout.fileno()
    watch = asyncio.create_task(LeadWatch(connect, _print).run(), name="watch for the lead")
    over = asyncio.create_task(until_nobody_listens(output, os.getppid()), name="until nobody listens")
    try:
        done, _ = await asyncio.wait({watch, over}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # what is left in the buffer goes nowhere
    finally:
        for task in (watch, over):
            task.cancel()
        await asyncio.gather(watch, over, return_exceptions=True)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
