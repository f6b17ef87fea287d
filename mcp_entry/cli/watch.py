"""The command ``phalanx watch``: one line for each event of the team, as it happens.

It is made for programs that run it in the background, such as the shell of a Claude. It goes on when the supervisor
restarts and when a lost team comes back, and loses nothing meanwhile. It ends when what it was to watch for is so, or
when the team is brought down. For the monitor of the plugin, which wakes a lead, it has another form (``lead_watch``).
"""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import typer

from actors.backoff import Backoff
from actors.errors import InvalidRequestError, TeamNotRunningError, UnavailableError, UnknownInstanceError
from actors.marks import TEAM_MARK
from actors.status import Status
from mcp_entry.cli import completion
from mcp_entry.cli.lead_watch import watch_for_lead
from mcp_entry.cli.output import one_line, plain
from mcp_entry.cli.session import BROUGHT_DOWN, CliSession
from mcp_entry.launch import STOPPED
from supervisor.api.requests import MAX_WAIT_S, EventKind, EventsRequest, ListRequest, Until, WaitRequest
from supervisor.api.results import EventsResult, TeamEvent
from supervisor.api.verbs import RequestT, ResultT, TeamVerbs, Verb
from supervisor.rpc.client import SupervisorClient

WatchedState = Literal["idle", "attention", "failed"]
HELD = 3
"""The exit code when one of those that were to become idle cannot go on by itself, as that of ``wait``."""
_EVENT_OF: dict[WatchedState, EventKind] = {
    "idle": "became_idle",
    "attention": "needs_attention",
    "failed": "failed",
}
_REACHED: dict[WatchedState, str] = {
    "idle": "all of them are idle",
    "attention": "one needs attention",
    "failed": "one has failed",
}
_POLL_S = 60.0
_AT_ONCE_S = 0.001
_RETRY = Backoff(first_s=0.2, longest_s=5.0)
_LONGEST_TEXT = 1_000


def watch(
    team: CliSession,
    instances: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Ids or names of the instances to watch; default: all.",
            autocompletion=completion.instances,
        ),
    ] = None,
    *,
    until: Annotated[
        WatchedState | None,
        typer.Option(help="End when all of them are idle, one needs attention or one has failed; or is so already."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Begin after this event; 0: with all that are kept.")
    ] = None,
    for_lead: Annotated[
        bool,
        typer.Option("--for-lead", help="Only what a lead acts on; waits for a team and ends with its parent."),
    ] = False,
) -> int:
    """Print a line for each event of the team, as it happens.

    With --json each line is an object with the cursor for --since. Exits with 0 when --until is reached (without IDs as
    soon as one instance is so), with 3 when one that was to become idle cannot go on by itself, and with 4 when the
    team is brought down.
    """
    try:
        if for_lead:
            _check_alone(team, instances, until, since)
            asyncio.run(watch_for_lead(partial(team.context.connect, team.home)))
            return 0
        return asyncio.run(_watch(team, instances or [], until, since))
    except KeyboardInterrupt:
        return STOPPED


def _check_alone(team: CliSession, *others: object) -> None:
    """Raises ``InvalidRequestError`` for what does not go with ``--for-lead``."""
    if any(others) or team.output.as_json:
        raise InvalidRequestError("--for-lead goes with no ID and with none of --until, --since and --json.")
    if TEAM_MARK in team.context.environment:
        raise InvalidRequestError("--for-lead is for a lead outside of the team: an instance gets messages instead.")


async def _watch(team: CliSession, named: Sequence[str], until: WatchedState | None, since: str | None) -> int:
    client = await team.context.connect(team.home)
    try:
        ids = await _ids_of(client, named)
        if team.context.is_terminal() and not team.output.as_json:
            team.output.say(_greeting(team, named, until))
        return await _Watch(team, client, ids, until).run(since)
    except _TeamDownError:
        team.say_brought_down()
        return BROUGHT_DOWN
    finally:
        await client.close()


def _greeting(team: CliSession, named: Sequence[str], until: WatchedState | None) -> str:
    """For a person, who would see nothing before the first event."""
    whom = ", ".join(named) or f"the team in {team.home.root}"
    end = "" if until is None else f" until {_REACHED[until]}"
    return f"Watching {whom}{end}: a line for each event. Ctrl-C ends it."


async def _ids_of(client: SupervisorClient, named: Sequence[str]) -> list[str] | None:
    """Of instances that are named by id or name. Raises ``PhalanxError`` for an unknown or ambiguous name."""
    if not named:
        return None
    return [each.instance_id for each in (await client.list(ListRequest(instance_ids=list(named)))).instances]


class _TeamDownError(Exception):
    """The team was brought down, or is being so."""


class _Watch:
    def __init__(
        self, team: CliSession, client: SupervisorClient, ids: Sequence[str] | None, until: WatchedState | None
    ) -> None:
        """``ids``: only these instances; None: the whole team."""
        self._team = team
        self._client = client
        self._ids = list(ids) if ids else None
        self._until = until
        self._cursor = ""
        self._trouble = ""

    async def run(self, since: str | None) -> int:
        """Returns the exit code."""
        now = (await self._events(None, _AT_ONCE_S)).cursor
        self._cursor = now if since is None else since
        listening = asyncio.create_task(self._listen(int(now)), name="events")
        reached = asyncio.create_task(self._reached(), name="what is watched for")
        try:
            await asyncio.wait({listening, reached}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                return listening.result()
            code = reached.result()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            while await self._show_next(_AT_ONCE_S):  # the events of what was reached
                pass
            return code
        finally:
            for task in (listening, reached):
                task.cancel()
            await asyncio.gather(listening, reached, return_exceptions=True)

    async def _listen(self, now: int) -> int:
        """Shows events until one that happens from ``now`` on is what is watched for."""
        while True:
            events = await self._show_next(_POLL_S)
            if any(event.number > now and self._ends(event) for event in events):
                return 0

    def _ends(self, event: TeamEvent) -> bool:
        """Of named instances all must be idle at a time, which only the team can tell."""
        if self._until is None or (self._until == "idle" and self._ids is not None):
            return False
        return event.kind == _EVENT_OF[self._until]

    async def _reached(self) -> int:
        """Returns when what is watched for is so, or cannot be before somebody acts; never, where events tell it."""
        match self._until:
            case "idle":
                code = await self._waited("idle" if self._ids else "any_idle", MAX_WAIT_S)
            case "attention":
                code = await self._waited("needs_attention", _AT_ONCE_S)
            case "failed":
                listed = await self._ask(TeamVerbs.list, ListRequest(instance_ids=self._ids))
                code = 0 if any(each.status is Status.FAILED for each in listed.instances) else None
            case None:
                code = None
        if code is None:
            await asyncio.get_running_loop().create_future()
        return code or 0

    async def _waited(self, until: Until, timeout_s: float) -> int | None:
        """The exit code; None when events tell the rest: it is not so yet, or nobody is there yet."""
        request = WaitRequest(instance_ids=self._ids, until=until, timeout_seconds=timeout_s)
        while True:
            begun = time.monotonic()
            try:
                result = await self._ask(TeamVerbs.wait, request)
            except InvalidRequestError:
                if self._ids is not None:
                    raise
                return None
            if result.reached:
                return 0
            if until == "needs_attention":
                return None
            if time.monotonic() - begun < timeout_s:
                self._team.output.say(result.reason or "")
                return HELD

    async def _show_next(self, timeout_s: float) -> Sequence[TeamEvent]:
        answer = await self._events(self._cursor, timeout_s)
        self._trouble = ""
        if answer.missed:
            self._write({"missed": answer.missed}, f"{answer.missed} events before these are not kept any more")
        for event in answer.events:
            self._write(event.model_dump(mode="json", by_alias=True, exclude_defaults=True), in_words(event))
        self._cursor = answer.cursor
        return answer.events

    def _write(self, document: dict[str, Any], line: str) -> None:
        results = self._team.output.results
        if self._team.output.as_json:
            cursor = str(document.get("number", self._cursor))
            line = json.dumps({**document, "cursor": cursor}, ensure_ascii=True)
        elif results.is_terminal:
            results.print(plain(line))  # breaks it between words
            return
        results.file.write(f"{line}\n")
        results.file.flush()

    async def _events(self, cursor: str | None, timeout_s: float) -> EventsResult:
        request = EventsRequest(cursor=cursor, instance_ids=self._ids, timeout_seconds=timeout_s)
        return await self._ask(TeamVerbs.next_events, request)

    async def _ask(self, verb: Verb[RequestT, ResultT], request: RequestT) -> ResultT:
        """Asks until the team answers. Raises ``_TeamDownError``, and ``InvalidRequestError`` for what it refuses.

        An instance that was cleared away is watched no more. Raises ``UnknownInstanceError`` when none is left.
        """
        failures = 0
        while True:
            try:
                return await self._client.call(verb, request)
            except (TeamNotRunningError, UnavailableError) as error:
                if self._team.is_brought_down():
                    raise _TeamDownError from None
                self._say_once(str(error))
                failures += 1
                await asyncio.sleep(_RETRY.pause_s(failures))
            except UnknownInstanceError:
                asked = getattr(request, "instance_ids", None)
                await self._drop_those_gone()
                if asked is None or asked == self._ids:
                    raise
                request = request.model_copy(update={"instance_ids": self._ids})

    async def _drop_those_gone(self) -> None:
        listed = await self._ask(TeamVerbs.list, ListRequest(include_stopped=True))
        there = {each.instance_id for each in listed.instances}
        for gone in [each for each in self._ids or () if each not in there]:
            self._team.output.say(f"{gone} was cleared away and is watched no more.")
        self._ids = [each for each in self._ids or () if each in there]
        if not self._ids:
            raise UnknownInstanceError("None of the instances that were watched is left. `phalanx list` shows who is.")

    def _say_once(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._team.output.say(trouble)


def in_words(event: TeamEvent) -> str:
    """The event on one line, in which nothing controls the terminal."""
    name = f" ({event.name})" if event.name else ""
    who = f" {event.instance_id}{name}" if event.instance_id else ""
    about = event.message_id or (f"permission {event.permission_id}" if event.permission_id else "")
    what = f"{event.kind.replace('_', ' ')} {about}".rstrip()
    text = f": {one_line(event.text, _LONGEST_TEXT)}" if event.text else ""
    at = datetime.datetime.fromisoformat(event.at).astimezone().strftime("%H:%M:%S")
    return one_line(f"{event.number} {at}{who} {what}", _LONGEST_TEXT) + text
